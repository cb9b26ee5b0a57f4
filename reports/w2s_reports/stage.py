"""The report as a stage of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from w2s_data.compute.context import Compute
from w2s_data.errors import InputError
from w2s_data.run import Run
from w2s_data.stages.checks import NOTHING, Known
from w2s_data.stages.graph import PAGE, SCORE
from w2s_data.stages.settings import ReportSettings
from w2s_data.utils.stage import StageResult
from w2s_reports.ahead import drawing
from w2s_reports.artefacts import parsing_results
from w2s_reports.gate import check_source, parse
from w2s_reports.map import projection_stage
from w2s_reports.render import render
from w2s_reports.report import build_report, check_target, write_text
from w2s_reports.summary import summarize

STDOUT = "-"
SUFFIXES = {"html": ".html", "json": ".json", "markdown": ".md"}


def report_stage(
    run: Run, settings: ReportSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Write the report of a run, with a map of the strong features where they are available.

    The report is not recorded in the manifest: it is written again after each stage. The result has
    the path of the report (None for standard output), the text that goes there, the gate's outcomes
    and the reason where there is no map.
    """
    settings = settings or ReportSettings()
    check_report(settings, Known(task=run.manifest["data"].get("task", "classification")))
    is_page = settings.format == "html"
    target = settings.to or run.path / Path(PAGE).with_suffix(SUFFIXES[settings.format])
    to_stdout = str(target) == STDOUT
    reason = _add_map(run, settings, compute) if is_page or settings.map else ""
    result: dict[str, Any] = {"path": None if to_stdout else str(target), "no_map": reason}
    conditions: dict[str, Any] = {"baseline": settings.baseline, "fail_on": settings.fail_on}
    if is_page:
        projection = False if settings.map is False else None
        report = build_report(run, target, projection=projection, **conditions)
        return StageResult(result | {"text": "", "gate": report.summary["gate"]})
    summary = summarize(run, **conditions)
    with parsing_results(run.path):
        text = render(summary, settings.format)
    if not to_stdout:
        write_text(target, text)
    return StageResult(result | {"text": text if to_stdout else "", "gate": summary["gate"]})


def check_report(settings: ReportSettings, known: Known = NOTHING) -> None:
    """Raise for an unreadable condition, a baseline that is not a run, or no place to write."""
    dataset = known.dataset
    task = known.task if dataset is None else dataset.task
    for condition in (parse(text, task) for text in settings.fail_on):
        if dataset is not None and dataset.sources is not None:
            check_source(condition, dataset.sources[dataset.rows("pool")])
    if settings.baseline is not None:
        Run.open(settings.baseline)
    if settings.to is None:
        return
    if str(settings.to) != STDOUT:
        check_target(Path(settings.to))
    elif settings.format == "html":
        raise InputError("standard output takes JSON or Markdown: set format to json or markdown")


def _add_map(run: Run, settings: ReportSettings, compute: Compute | None) -> str:
    """Project the run where that is possible; return why not, "" if there is nothing to say."""
    if settings.map is False or (not run.follows(SCORE) and not settings.map):
        return ""
    compute = compute or Compute(seed=run.seed)
    try:
        if run.follows(SCORE):
            with drawing(run, compute) as ahead:
                if ahead is not None:
                    ahead.finish()
        projection_stage(run, compute)
    except InputError as error:
        if settings.map:
            raise
        return str(error)
    return ""
