"""A run's report: one summary, delivered as HTML, JSON or Markdown.

To add a section: a key in the summary, a partial `templates/_name.html`, a line in `SECTIONS`.
To add a figure: a function in `figures`, and `{{ figure("name") }}` in the partial.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_data.errors import InputError
from w2s_data.run import Run
from w2s_data.utils.io import atomic_path, jsonable
from w2s_reports import formats
from w2s_reports.artefacts import Artefacts, read_artefacts
from w2s_reports.downloads import tables
from w2s_reports.figures import Figure, build_figures
from w2s_reports.gate import Outcome
from w2s_reports.markdown import to_markdown
from w2s_reports.palette import REGIONS, tokens
from w2s_reports.points import MAX_POINTS, example_images, point_columns
from w2s_reports.stage import ensure_projection
from w2s_reports.summary import summarize_artefacts
from w2s_reports.summary.examples import shown_rows

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

# What the points may add to the page; Plotly takes 4.8 of the 8 MB a page may have.
POINTS_BYTES = 2_600_000

SECTIONS = (
    ("verdict", "Verdict"),
    ("gain", "Gain"),
    ("overlap", "Overlap"),
    ("sources", "Sources"),
    ("selection", "Selection"),
    ("groups", "Groups"),
    ("discrepancy", "Discrepancy"),
    ("examples", "Examples"),
    ("provenance", "Provenance"),
)
SCRIPTS = (
    *("page", "points", "figures", "map", "pointing", "tables", "examples", "search"),
    "downloads",
)
# Scripts for what a page has only once the run is scored.
OF_SCORED_ITEMS = ("map", "pointing", "examples", "search")


@dataclass(frozen=True)
class Drawing:
    """What only a page needs: figures, the drawn points and the examples' pictures."""

    figures: dict[str, Figure]
    points: dict[str, Any]
    images: dict[int, str]


@dataclass(frozen=True, repr=False)
class Report:
    """A finished report; the page, the JSON and the Markdown all say what `summary` says.

    Attributes
    ----------
    summary : dict
        Plain JSON types; see `summarize`.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import LinearProbe, OverlapDetector, Run, load_dataset
    >>> from w2s_data.stages import embed_stage, score_stage
    >>> data = load_dataset("example:gaussian_overlap?n=200")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(f"{folder}/run", data)
    ...     features = embed_stage(run, data, {})
    ...     _ = score_stage(run, data, features, OverlapDetector(random_state=0), LinearProbe())
    ...     report = build_report(run)
    >>> report.summary["data"]["name"], len(report.to_html()) > 1_000_000
    ('gaussian_overlap', True)
    """

    summary: dict[str, Any]
    drawing: Drawing = field(compare=False)

    @property
    def gate(self) -> tuple[Outcome, ...]:
        """What became of each condition of `fail_on`."""
        return tuple(Outcome(**outcome) for outcome in self.summary["gate"])

    def to_html(self) -> str:
        """One self-contained page: no network request, one copy of plotly.js."""
        return _render(self)

    def to_json(self) -> str:
        """The summary as indented JSON."""
        return _indented(self.summary)

    def to_markdown(self) -> str:
        """The summary as headings and tables."""
        return to_markdown(self.summary)

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, whole or not at all, and return where.

        Raises
        ------
        InputError
            If `path` is a folder.
        """
        target = Path(path)
        if target.is_dir():
            raise InputError(f"{str(target)!r} is a folder; name a file, e.g. 'report.html'")
        with atomic_path(target) as partial:
            partial.write_text(self.to_html(), encoding="utf-8", newline="\n")
        return target

    def _repr_html_(self) -> str:
        title = html.escape(f"Weak-to-strong report: {self.summary['data']['name']}")
        return (
            f'<iframe title="{title}" srcdoc="{html.escape(self.to_html())}" '
            'sandbox="allow-scripts allow-downloads" '
            'style="width:100%;height:720px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        density = self.summary["overlap"]["density"]
        spread = formats.interval(density["low"], density["high"])
        said = f"overlap density {formats.percent(density['value'])}"
        n = self.summary["data"]["n_scored"]
        if self.summary["overlap"]["hint"]:
            said, spread, n = "not scored", "", self.summary["data"]["n_items"]
        return (
            f"Report({self.summary['data']['name']!r}, {said}{f' ({spread})' if spread else ''}, "
            f"{formats.count(n)} points)"
        )


def build_report(
    run: str | os.PathLike[str] | Any,
    path: str | os.PathLike[str] | None = None,
    *,
    max_points: int = MAX_POINTS,
    baseline: str | os.PathLike[str] | Any = None,
    fail_on: Sequence[str] = (),
    projection: bool | None = None,
) -> Report:
    """Build the report of a run, whichever of its stages are finished, and write its page.

    Parameters
    ----------
    run : path or object with a `path`
        The run directory. What a stage would have added that was not run is a line with the
        command that adds it.
    path : path, optional
        Where the page goes; by default `report.html` in the run directory.
    max_points : int
        Points drawn at most, sampled in proportion to region and source; fewer where their ids
        and texts would make the page too large. Numbers always use every point.
    baseline : path or object with a `path`, optional
        Another run: a section puts the two side by side.
    fail_on : sequence of str
        Conditions such as "density<0.2", shown in the verdict with what became of them; see
        `Report.gate`.
    projection : bool, optional
        Whether the page has a map of the strong features: by default where the run holds one;
        True makes it first from the features stored in the run, False leaves it out.

    Returns
    -------
    Report
        The same summary as HTML, JSON and Markdown; displays itself in a notebook.

    Raises
    ------
    RunError
        If there is no run, or its tables disagree.
    InputError
        If `max_points` is not positive, `path` is a folder, or a map is asked for whose features
        are not stored in the run.
    GateError
        If a condition cannot be read, or names a metric that does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import LinearProbe, OverlapDetector, Run, load_dataset
    >>> from w2s_data.stages import embed_stage, score_stage
    >>> data = load_dataset("example:gaussian_overlap?n=200")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(f"{folder}/run", data)
    ...     features = embed_stage(run, data, {})
    ...     _ = score_stage(run, data, features, OverlapDetector(random_state=0), LinearProbe())
    ...     report = build_report(run, f"{folder}/page.html", max_points=100)
    ...     Path(f"{folder}/page.html").stat().st_size > 1_000_000
    True
    """
    if max_points < 1:
        raise InputError(f"max_points must be at least 1; got {max_points!r}")
    if projection:
        ensure_projection(Run.open(run if isinstance(run, str | os.PathLike) else run.path))
    artefacts = read_artefacts(run)
    if projection is False:
        artefacts = artefacts.without("projection")
    summary = summarize_artefacts(artefacts, baseline=baseline, fail_on=fail_on)
    report = Report(summary, _drawing(artefacts, summary, max_points))
    report.write_html(artefacts.path / "report.html" if path is None else path)
    return report


def spell(summary: Mapping[str, Any], kind: str) -> str:
    """A summary as "json" or "markdown", with a line break at its end."""
    return to_markdown(summary) if kind == "markdown" else _indented(summary) + "\n"


def _indented(summary: Mapping[str, Any]) -> str:
    return json.dumps(jsonable(summary), indent=2, ensure_ascii=False, allow_nan=False)


def _drawing(artefacts: Artefacts, summary: Mapping[str, Any], max_points: int) -> Drawing:
    points = point_columns(artefacts, max_points)
    while len(points["id"]) > 1 and len(_json(points)) > POINTS_BYTES:
        points = point_columns(artefacts, len(points["id"]) // 2)
    rows = shown_rows(summary["examples"])
    figures = build_figures(artefacts, summary, points)
    return Drawing(figures, points, example_images(artefacts, rows))


def _render(report: Report) -> str:
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    figures = report.drawing.figures
    plotly = get_plotlyjs() if figures else ""
    unscored = OF_SCORED_ITEMS if report.summary["overlap"]["hint"] else ()
    script = _script([name for name in SCRIPTS if name not in unscored])
    page = _environment().get_template("report.html")
    return page.render(
        s=report.summary,
        sections=_sections(report.summary),
        figures=figures,
        points=report.drawing.points,
        images=report.drawing.images,
        tables=tables(report.summary),
        regions={region.key: region for region in REGIONS},
        themes=(tokens(0), tokens(1)),
        style=Markup(_asset("report.css")),
        plotly=Markup(plotly),
        script=Markup(script),
        hashes=[_csp_hash(plotly), _csp_hash(script)],
        blocks={
            "figures": Markup(_json({name: f.spec() for name, f in figures.items()})),
            "points": Markup(_json(report.drawing.points)),
            "light": Markup(_json(tokens(0))),
            "summary": Markup(_script_safe(report.to_json())),
        },
    )


def _sections(summary: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """All sections; with a baseline, the comparison after the verdict."""
    compared = (("comparison", "Comparison"),) if summary["comparison"] else ()
    return (*SECTIONS[:1], *compared, *SECTIONS[1:])


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("w2s_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    spelled = (
        *("amount", "count", "day", "duration", "interval", "number", "number_interval"),
        *("number_span", "percent", "price", "signed", "signed_interval"),
        *("spelled", "spelled_interval"),
    )
    environment.filters |= {name: getattr(formats, name) for name in spelled}
    environment.filters["code"] = _code
    environment.globals["scale"] = scale
    return environment


def scale(rows: list[dict[str, Any]], *keys: str, start: float | None = 0.0) -> tuple[float, float]:
    """The axis that interval marks of a column share: tenths that hold every value.

    >>> scale([{"low": 0.22, "high": 0.41}], "low", "high")
    (0.0, 0.5)
    """
    values = [row[key] for row in rows for key in keys if row[key] is not None] or [0.0, 1.0]
    low = min(0.9, math.floor(min(values) * 10) / 10) if start is None else start
    high = math.ceil(max(values) * 10 - 1e-9) / 10
    return low, min(1.0, max(low + 0.1, high))


def _code(text: str) -> Markup:
    """Text whose `backticked` parts are commands; everything in it is escaped."""
    from markupsafe import Markup, escape

    pieces = [escape(piece) for piece in text.split("`")]
    pieces[1::2] = [Markup("<code>{}</code>").format(piece) for piece in pieces[1::2]]
    return Markup("").join(pieces)


def _script(names: Sequence[str]) -> str:
    """The page's own script: its parts share one scope and nothing else on the page sees it."""
    parts = "".join(_asset(f"js/{name}.js") for name in names)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return (resources.files("w2s_reports") / "templates" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """Compact JSON that can stand inside a script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _script_safe(text)


def _script_safe(text: str) -> str:
    # Only '<' can end or nest a script element; inside JSON strings its escape means the same.
    return text.replace("<", "\\u003c")


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
