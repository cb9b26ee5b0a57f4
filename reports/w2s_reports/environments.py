"""Templates of the three formats, and the words, functions and formats that they use.

An environment is kept, since to compile the templates of a page takes longer than to fill them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from w2s_data.utils.text import printable
from w2s_reports import formats, tables
from w2s_reports.axes import scale, value_scale
from w2s_reports.gate import Outcome
from w2s_reports.words import words_of

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

Kind = Literal["html", "markdown", "terminal", "json"]

# Sections that are told otherwise where labels are values: templates of their own.
OF_VALUES = ("gain", "fit", "posterior", "teachers", "groups", "examples", "forecast")
MOST_ROWS = 30  # of a table in a terminal
# Formats whose names templates use as they are.
FILTERS = (
    "amount",
    "count",
    "day",
    "difference_unit",
    "duration",
    "number",
    "percent",
    "price",
    "reward_title",
    "signed",
)


def place(section: str, regression: bool) -> str:
    """Return the name of a section's template: one of its own where labels are values.

    >>> place("gain", True), place("gain", False)
    ('values/gain', 'gain')
    """
    return f"values/{section}" if section in OF_VALUES and regression else section


def _environment(
    kind: Kind, regression: bool, finalize: Callable[[Any], Any] | None = None
) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from w2s_reports.compiled import compiled_templates

    environment = Environment(
        # Undefined names raise: a renamed key must not become a blank.
        loader=PackageLoader("w2s_reports"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=compiled_templates(kind),
    )
    sureness = "confidence" if regression else "margin"
    environment.globals |= {"sureness": sureness, "words": words_of(sureness)}
    environment.globals["variant"] = "values/" if regression else ""
    environment.globals["place"] = functools.partial(place, regression=regression)
    environment.filters |= {name: getattr(formats, name) for name in FILTERS}
    environment.filters |= {
        "value": formats.format_value,
        "interval": formats.format_interval,
        "estimate": formats.format_estimate,
        "outcome": lambda outcome: str(Outcome(**outcome)),
        "known_columns": _known_columns,
    }
    return environment


@functools.cache
def text_environment(kind: Kind, regression: bool, width: int = 80) -> Environment:
    """Templates of a text format, in which every value is escaped by the rules of that format."""
    from markupsafe import Markup

    escape = tables.escape_markdown if kind == "markdown" else printable

    def finalize(value: Any) -> Markup:
        # The result counts as safe, which keeps Jinja from escaping it for HTML as well.
        return value if isinstance(value, Markup) else Markup(escape(value))

    def spread(cells: Sequence[Any]) -> list[Markup]:
        # A list among the cells stands for columns that are there on a condition.
        lists = (cell if isinstance(cell, list) else [cell] for cell in cells)
        return [finalize(cell) for cells in lists for cell in cells]

    def row(*cells: Any) -> Markup:
        return Markup(tables.CELL.join(spread(cells)))

    def table(*header: Any, caller: Callable[[], str]) -> Markup:
        # Not splitlines(), which would also split at characters of the data.
        lines = [line for line in str(caller()).split("\n") if line]
        rows: list[Sequence[str]] = [spread(header), *(line.split(tables.CELL) for line in lines)]
        if kind == "markdown":
            return Markup(f"\n\n{tables.markdown_table(rows)}\n\n")
        return Markup(tables.terminal_table(rows, width) + "\n\n")

    environment = _environment(kind, regression, finalize)
    environment.globals |= {"row": row, "table": table, "MOST_ROWS": MOST_ROWS}
    environment.globals["wide"] = width >= tables.WIDE
    return environment


@functools.cache
def page_environment(regression: bool) -> Environment:
    """Templates of the page, in which every value is escaped for HTML."""
    environment = _environment("html", regression)
    environment.filters["code"] = _code
    environment.globals |= {"scale": scale, "value_scale": value_scale}
    return environment


def _known_columns(columns: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Select the columns (title, key, ...) for which a row has a number."""

    def value(cell: Any) -> Any:
        return cell["value"] if isinstance(cell, Mapping) else cell

    return [column for column in columns if any(value(row[column[1]]) is not None for row in rows)]


def _code(text: str) -> Markup:
    """Mark the `backticked` parts of a text as commands; everything in it is escaped."""
    from markupsafe import Markup, escape

    pieces = [escape(piece) for piece in text.split("`")]
    pieces[1::2] = [Markup("<code>{}</code>").format(piece) for piece in pieces[1::2]]
    return Markup("").join(pieces)
