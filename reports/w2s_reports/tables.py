"""Escaping, tables and wrapping of the text formats, Markdown and terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from w2s_data.utils.text import printable

CELL = "\x1f"  # between the cells of a row; both ways of escaping remove it from data
WIDE = 110  # columns from which a terminal has room for intervals in every cell
# Characters that start markup in CommonMark or GitHub's tables.
SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!])")


def escape_markdown(text: Any) -> str:
    """Escape text so that Markdown shows it unchanged: one line, no markup, no HTML."""
    return SPECIAL.sub(r"\\\1", printable(" ".join(str(text).split())))


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Align a Markdown table: the first column to the left, all others to the right."""
    # Three dashes are the shortest rule of a table.
    widths = [max(3, *(len(cells[i]) for cells in rows)) for i in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        pairs = zip(cells, widths, strict=True)
        aligned = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(pairs)]
        return f"| {' | '.join(aligned)} |"

    rule = [":" + "-" * (w - 1) if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(rows[0]), line(rule), *map(line, rows[1:])])


def terminal_table(rows: Sequence[Sequence[str]], width: int) -> str:
    """Align a table for a terminal of some width; cells are folded where they do not fit."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Without vertical lines, seven columns fit into 80 characters.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for k, heading in enumerate(rows[0]):
        # Narrow terminals get their headings word by word, so that numbers keep their line.
        text = Text(heading if width >= WIDE else heading.replace(" ", "\n"))
        table.add_column(text, justify="right" if k else "left", overflow="fold")
    for cells in rows[1:]:
        # As Text, so that rich never parses names for markup.
        table.add_row(*map(Text, cells))
    return _print(table, width)


def align_rows(rows: Sequence[tuple[str, str]], width: int) -> str:
    """Align (topic, value) pairs in two columns, with control characters escaped."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return _print(table, width)


def wrap(text: str, width: int) -> str:
    """Wrap the lines that are longer than the terminal; tables, which fit, are left alone."""
    import textwrap

    lines = text.split("\n")
    # Only long lines: textwrap would also collapse the blanks of a table.
    wrapped = (textwrap.wrap(line, width) if len(line) > width else [line] for line in lines)
    return "\n".join(part for parts in wrapped for part in parts)


def _print(table: Any, width: int) -> str:
    from rich.console import Console

    # No colours, markup, emoji codes or highlights: text is printed as it is.
    console = Console(
        file=io.StringIO(), width=width, color_system=None, markup=False, emoji=False,
        highlight=False, legacy_windows=False,
    )  # fmt: skip
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
