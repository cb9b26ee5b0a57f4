"""A run's report: one summary, delivered as HTML, JSON or Markdown."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_data.errors import InputError
from w2s_data.run import Run
from w2s_data.stages.checks import check_writable
from w2s_data.stages.graph import PAGE, PROJECTION
from w2s_data.utils.io import atomic_path
from w2s_reports import formats
from w2s_reports.artefacts import Artefacts, parsing_results, read_artefacts
from w2s_reports.figures import build_figures
from w2s_reports.gate import Outcome
from w2s_reports.map import projection_stage
from w2s_reports.points import MAX_POINTS, example_images, group_pictures, point_columns
from w2s_reports.render import Drawing, compact_json, render
from w2s_reports.summary import summarize
from w2s_reports.summary.examples import shown_rows

# Most that the points may add to the page; Plotly takes 4.8 of the 8 MB a page may have.
POINTS_BYTES = 2_600_000


@dataclass(frozen=True, repr=False)
class Report:
    """Report of a run: page, JSON and Markdown of one `summary` of plain JSON types.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data import Run, load_dataset
    >>> from w2s_data.stages import score_stage
    >>> data = load_dataset("example:gaussian_overlap?n=200")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(f"{folder}/run", data)
    ...     _ = score_stage(run)
    ...     report = build_report(run)
    >>> report.summary["data"]["name"], len(report.to_html()) > 1_000_000
    ('gaussian_overlap', True)
    """

    summary: dict[str, Any]
    drawing: Drawing = field(compare=False)

    @property
    def gate(self) -> tuple[Outcome, ...]:
        """Results of the conditions of `fail_on`."""
        return tuple(Outcome(**outcome) for outcome in self.summary["gate"])

    def to_html(self) -> str:
        """Render one self-contained page: no network request, one copy of plotly.js."""
        return render(self.summary, "html", drawing=self.drawing)

    def to_json(self) -> str:
        """Render the summary as indented JSON."""
        return render(self.summary, "json")

    def to_markdown(self) -> str:
        """Render the summary as headings and tables."""
        return render(self.summary, "markdown")

    def write_html(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, whole or not at all, and return its path; a folder is an InputError."""
        return write_text(path, self.to_html())

    def _repr_html_(self) -> str:
        title = html.escape(f"Weak-to-strong report: {self.summary['data']['name']}")
        return (
            # An iframe keeps the styles and scripts of page and notebook apart.
            f'<iframe title="{title}" srcdoc="{html.escape(self.to_html())}" '
            'sandbox="allow-scripts allow-downloads" '
            'style="width:100%;height:720px;border:0"></iframe>'
        )

    def __repr__(self) -> str:
        data, overlap = self.summary["data"], self.summary["overlap"]
        result, n = (
            f"overlap density {formats.format_estimate(overlap['density'], 'density')}",
            "n_scored",
        )
        if overlap["hint"]:
            result, n = "not scored", "n_items"
        return f"Report({data['name']!r}, {result}, {formats.count(data[n])} points)"


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a report in any format, whole or not at all; return its path."""
    target = Path(path)
    check_target(target)
    with atomic_path(target) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
    return target


def check_target(path: Path) -> None:
    """Raise unless a file of this name can be written."""
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; name a file, e.g. 'report.html'")
    check_writable(path.parent)


def build_report(
    run: str | os.PathLike[str] | Any,
    path: str | os.PathLike[str] | None = None,
    *,
    max_points: int = MAX_POINTS,
    baseline: str | os.PathLike[str] | Any = None,
    fail_on: Sequence[str] = (),
    projection: bool | None = None,
    thorough: bool = True,
) -> Report:
    """Build the report of a run, whichever of its stages are finished, and write its page.

    Parameters
    ----------
    run : path or object with a `path`
        The run directory. A stage that was not run is a line with the command that adds it.
    path : path, optional
        Where the page goes; by default `report.html` in the run directory.
    max_points : int
        Points drawn at most, sampled in proportion to region and source; fewer where their ids
        and texts would make the page too large. Numbers always use every point.
    baseline : path or object with a `path`, optional
        Another run: a section puts the two side by side.
    fail_on : sequence of str
        Conditions such as "density<0.2", shown in the verdict with their results; see
        `Report.gate`.
    projection : bool, optional
        Whether the page has a map of the strong features: by default where the run holds one;
        True makes it first from the features stored in the run, False leaves it out.
    thorough : bool
        Hash every file of the run before it is believed. False does so where a file's size or time
        is not the recorded one.

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
    >>> from w2s_data import Run, load_dataset
    >>> from w2s_data.stages import score_stage
    >>> data = load_dataset("example:gaussian_overlap?n=200")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(f"{folder}/run", data)
    ...     _ = score_stage(run)
    ...     report = build_report(run, f"{folder}/page.html", max_points=100)
    ...     Path(f"{folder}/page.html").stat().st_size > 1_000_000
    True
    """
    if max_points < 1:
        raise InputError(f"max_points must be at least 1; got {max_points!r}")
    if projection:
        projection_stage(Run.open(run if isinstance(run, str | os.PathLike) else run.path))
    artefacts = read_artefacts(run, thorough=thorough)
    if projection is False:
        artefacts = artefacts.without(PROJECTION.name)
    summary = summarize(artefacts, baseline=baseline, fail_on=fail_on)
    with parsing_results(artefacts.path):
        report = Report(summary, _drawing(artefacts, summary, max_points))
        page = report.to_html()
    # Written last, so that an error before leaves the previous page in place.
    write_text(artefacts.path / PAGE if path is None else path, page)
    return report


def _drawing(artefacts: Artefacts, summary: Mapping[str, Any], max_points: int) -> Drawing:
    points = point_columns(artefacts, max_points)
    # Halving stays close to the budget in few steps; long ids are the usual reason.
    while len(points["id"]) > 1 and len(compact_json(points)) > POINTS_BYTES:
        points = point_columns(artefacts, len(points["id"]) // 2)
    rows = shown_rows(summary["examples"])
    figures = build_figures(artefacts, summary, points)
    images = example_images(artefacts, rows)
    return Drawing(figures, points, images, group_pictures(artefacts))
