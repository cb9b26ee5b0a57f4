"""Rendering: one summary as a page, as Markdown, as terminal text or as JSON.

Each format but JSON is a folder of templates with one file per section. To add a section: a key in
the summary, a template of its name in the folders, a line in `SECTIONS`. To add a figure: a
function in `figures`, and `{{ figure("name") }}` in the section's HTML template.
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from w2s_data.errors import InputError, unknown
from w2s_data.stages.posterior import is_joining_worse
from w2s_data.utils.io import jsonable
from w2s_data.utils.text import printable, printable_json
from w2s_reports import tables
from w2s_reports.artefacts import parsing_results
from w2s_reports.downloads import csv_tables
from w2s_reports.environments import Kind, page_environment, place, text_environment
from w2s_reports.palette import REGIONS, tokens
from w2s_reports.summary import summarize_stage

if TYPE_CHECKING:
    from w2s_reports.figures import Figure

TITLES = {
    "verdict": "Advice",
    "comparison": "Comparison",
    "gain": "Gain",
    "fit": "Predictions",
    "posterior": "Trust",
    "teachers": "Teachers",
    "shift": "Shift",
    "overlap": "Overlap",
    "sources": "Sources",
    "selection": "Selection",
    "groups": "Groups",
    "discrepancy": "Discrepancy",
    "plan": "Plan",
    "labels": "Labels",
    "sweeps": "Sweeps",
    "examples": "Examples",
    "provenance": "Provenance",
}
# A terminal shows what a stage printed, and neither examples nor settings.
TERMINAL = (
    "verdict",
    "overlap",
    "groups",
    "forecast",
    "selection",
    "gain",
    "plan",
    "labels",
    "sweeps",
)
STAGES = {
    # Stages and sections have different names where a section covers more than its stage.
    "score": "overlap",
    "groups": "groups",
    "forecast": "forecast",
    "select": "selection",
    "gain": "gain",
    "plan": "plan",
    "next": "labels",
    "export": "labels",
    "sweep": "sweeps",
}
# Stages that no section of the page is about, and the template of each.
UNTOLD = {"embed": "embed", "teach": "taught"}
# Sections that a hint replaces, and the part of the summary that has it.
HINTED = {
    name: name
    for name in (
        *("selection", "gain", "fit", "posterior", "shift", "sources", "discrepancy", "plan"),
        "labels",
    )
}
ON_PAGE = HINTED | {"overlap": "overlap", "examples": "overlap"}
IN_TERMINAL = HINTED | {"overlap": "overlap", "forecast": "forecast", "groups": "group_analysis"}
# Sections that only some runs have.
OPTIONAL = ("comparison", "fit", "teachers", "sweeps")
SCRIPTS = (
    *("page", "copy", "points", "figures", "map", "pointing", "tables", "examples", "search"),
    "downloads",
)
# Scripts for parts that a page has only once the run is scored.
OF_SCORED_ITEMS = ("map", "pointing", "examples", "search")


@dataclass(frozen=True)
class Drawing:
    """The parts of a page that are not in the summary: figures, drawn points, pictures."""

    figures: dict[str, Figure] = field(default_factory=dict)
    points: dict[str, Any] = field(default_factory=lambda: {"id": [], "n_scored": 0})
    images: dict[int, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)  # of groups, by their names


def render(
    summary: Mapping[str, Any],
    kind: Kind = "html",
    sections: Sequence[str] | None = None,
    *,
    drawing: Drawing | None = None,
) -> str:
    r"""Render a summary in one of four formats.

    Parameters
    ----------
    summary : dict
        The result of `w2s_reports.summarize`.
    kind : "html", "markdown", "terminal" or "json"
    sections : sequence of str, optional
        Names of the sections to render, in this order; by default all that the format has.
    drawing : Drawing, optional
        Figures, points and pictures of a page; without it the page has text and tables only.

    Raises
    ------
    InputError
        If the format or a section does not exist.

    Examples
    --------
    >>> render({"plan": {"hint": "Not known yet."}}, "terminal", ["plan"])
    'Not known yet.\n'
    """
    if kind == "json":
        chosen = summary if sections is None else {name: summary[name] for name in sections}
        content = json.dumps(jsonable(chosen), indent=2, ensure_ascii=False, allow_nan=False)
        return f"{printable_json(content)}\n"
    if kind not in ("html", "markdown", "terminal"):
        raise InputError(unknown("format", str(kind), ["html", "markdown", "terminal", "json"]))
    names = TERMINAL if kind == "terminal" else tuple(TITLES)
    if sections is None:
        sections = [name for name in names if name not in OPTIONAL or summary.get(name)]
    for name in sections:
        if name not in names:
            raise InputError(unknown("section", name, list(names)))
    if kind == "html":
        return _page(summary, sections, drawing or Drawing())
    if kind == "markdown":
        environment = text_environment(kind, _is_regression(summary))
        text = environment.get_template("markdown/report.md")
        return _tidy(text.render(s=summary, sections=_headed(sections, summary, HINTED)))
    return "\n".join(_terminal(name, summary) for name in sections)


def render_stage(name: str, summary: Mapping[str, Any]) -> str:
    """Render the result of one stage for a terminal.

    Parameters
    ----------
    name : str
        Name of the stage: embed, teach, score, groups, forecast, select, gain, plan, next,
        export or sweep.
    summary : dict
        Result of the stage function; for embed, the shape (N, D) of each role's features.

    Examples
    --------
    >>> print(render_stage("embed", {"weak": (1797, 9), "strong": (1797, 64)}), end="")
    weak features: 1,797 x 9
    strong features: 1,797 x 64
    """
    with parsing_results(name):
        if name in UNTOLD:
            return _terminal(UNTOLD[name], summary)
        return _terminal(STAGES[name], summarize_stage(name, summary))


def stage_line(name: str, summary: Mapping[str, Any]) -> str:
    """Render the result of one stage, the "verdict", or a "step" of it, in one line.

    Examples
    --------
    >>> stage_line("embed", {"weak": (1797, 9), "strong": (1797, 64)})
    '1,797 items; weak features of 9 dimensions, strong of 64'
    """
    template = text_environment("terminal", False).get_template("terminal/lines.txt")
    with parsing_results(name):
        none_wrong = name == "score" and is_joining_worse(summary.get("posterior") or {})
        return template.render(name=name, s=summary, none_wrong=none_wrong).strip()


def _terminal(section: str, summary: Mapping[str, Any]) -> str:
    # 80 columns where the output is not a terminal.
    width = shutil.get_terminal_size().columns
    if hint := section in IN_TERMINAL and summary[IN_TERMINAL[section]]["hint"]:
        return tables.wrap(_tidy(printable(hint)), width)
    regression = _is_regression(summary)
    environment = text_environment("terminal", regression, width)
    template = environment.get_template(f"terminal/{place(section, regression)}.txt")
    return tables.wrap(_tidy(template.render(s=summary)), width)


def _headed(
    names: Sequence[str], summary: Mapping[str, Any], hinted: Mapping[str, str]
) -> list[tuple[str, str, str | None]]:
    """Return name and title of sections, and the hint that stands for one without numbers."""
    return [(n, TITLES[n], summary[hinted[n]]["hint"] if n in hinted else None) for n in names]


def _tidy(text: str) -> str:
    """Remove the blank lines that conditions and loops of a template leave behind."""
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"


def _is_regression(summary: Mapping[str, Any]) -> bool:
    return bool((summary.get("data") or {}).get("task") == "regression")


def _page(summary: Mapping[str, Any], sections: Sequence[str], drawing: Drawing) -> str:
    """Assemble a self-contained page: no network request, one copy of plotly.js."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    figures = drawing.figures
    # 4.8 MB, packed 2: left out where nothing is drawn.
    plotly = get_plotlyjs() if figures else ""
    unscored = OF_SCORED_ITEMS if not drawing.points["id"] else ()
    script = _script([name for name in SCRIPTS if name not in unscored])
    template = page_environment(_is_regression(summary)).get_template("html/report.html")
    return template.render(
        s=summary,
        title_of=TITLES.get,
        sections=_headed(sections, summary, ON_PAGE),
        figures=figures,
        points=drawing.points,
        images=drawing.images,
        pictures=drawing.pictures,
        tables=csv_tables(summary),
        regions={region.key: region for region in REGIONS},
        themes=(tokens(0), tokens(1)),
        style=Markup(_asset("report.css")),
        script=Markup(script),
        # The page's security policy allows these two scripts and no other.
        hashes=[_csp_hash(plotly), _csp_hash(script)],
        blocks={
            "figures": Markup(
                packed(compact_json({name: figure.spec() for name, figure in figures.items()}))
            ),
            "points": Markup(packed(compact_json(drawing.points))),
            "light": Markup(compact_json(tokens(0))),
            "plotly": Markup(_packed_once(plotly)),
            "summary": Markup(packed(printable_json(compact_json(jsonable(summary))))),
        },
    )


def _script(names: Sequence[str]) -> str:
    """Join the page's own scripts: they share one scope, which nothing else on the page sees."""
    parts = "".join(_asset(f"js/{name}.js") for name in names)
    return f'"use strict";\n(async () => {{\n{parts}}})();\n'


def _asset(name: str) -> str:
    return (resources.files("w2s_reports") / "templates" / "html" / name).read_text("utf-8")


def compact_json(value: Any) -> str:
    """Return compact JSON that can stand inside a script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return _script_safe(text)


def _script_safe(text: str) -> str:
    # Only '<' can end or nest a script element; inside JSON strings its escape means the same.
    return text.replace("<", "\\u003c")


def packed(text: str) -> str:
    """Return a text packed by gzip, in base64; the same bytes every time."""
    # Two levels more take up to ten times as long, and save 2 %.
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode()


_packed_once = functools.cache(packed)  # of plotly.js, which takes a quarter of a second


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
