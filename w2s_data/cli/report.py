"""Commands that describe: report, doctor."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from w2s_data.cli.options import with_options
from w2s_data.cli.output import say, tell
from w2s_data.cli.stages import RunFolder
from w2s_data.stages.settings import ComputeSettings, ReportSettings


@with_options
def report(
    run: RunFolder,
    settings: ReportSettings,
    computed: ComputeSettings,
    progress: bool | None = None,
) -> None:
    """Write the report of a run; with --fail-on, exit 1 if the run is not good enough."""
    from w2s_data.audit import computing
    from w2s_data.run import Run
    from w2s_reports.stage import report_stage

    opened = Run.open(run, wait=computed.wait, thorough=True)
    with computing(computed, opened, progress) as compute:
        result = report_stage(opened, settings, compute).summary
    tell("report", state="done", run=str(run), summary=result)
    print_report(result, opened.path, show=settings.open and settings.format == "html")


def print_report(result: dict[str, Any], run: Path, *, show: bool = False) -> None:
    """Print where a report is, or the report itself, and the outcome of its conditions."""
    if result["no_map"]:
        say(f"no map: {result['no_map']}", err=True)
    say(result["text"], nl=False)
    to_stdout = result["path"] is None
    if not to_stdout:
        say(f"report: {result['path']}")
        if show:
            open_page(Path(result["path"]))
    judge(result["gate"], run, aside=to_stdout)


def judge(gate: Sequence[dict[str, Any]], run: Path, aside: bool = False) -> None:
    """Print the outcome of each condition, and exit with 1 if one holds.

    Raises
    ------
    GateError
        If a condition is about a number that the run does not have.
    """
    from w2s_reports.gate import GateError, Outcome

    outcomes = [Outcome(**outcome) for outcome in gate]
    for outcome in outcomes:
        say(str(outcome), err=aside)
    missing = [outcome for outcome in outcomes if outcome.failed is None]
    if missing:
        reason = missing[0].reason.replace(" RUN", f" {run}")
        raise GateError(f"{missing[0].condition!r} cannot be checked: {reason}")
    failed = [outcome.condition for outcome in outcomes if outcome.failed]
    if failed:
        say(f"gate failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def open_page(path: Path) -> None:
    """Show a page in a browser, or say that there is none."""
    import webbrowser

    try:
        opened = webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        say(f"no browser could be started; open {path} yourself", err=True)


@with_options
def doctor(
    run: Annotated[
        Path | None, typer.Argument(help="Run directory to check; else the installation is.")
    ] = None,
) -> None:
    """Check the installation, or every file of a run, and say how to repair what is wrong."""
    healthy = _check_installation() if run is None else _check_run(run)
    if not healthy:
        raise typer.Exit(1)


def _check_installation() -> bool:
    from w2s_data.cli.doctor import diagnose
    from w2s_reports.tables import align_rows

    diagnosis = diagnose()
    say(align_rows(diagnosis.rows(), shutil.get_terminal_size().columns))
    tell("doctor", state="done", run=None, summary=diagnosis.to_dict())
    return diagnosis.healthy


def _check_run(run: Path) -> bool:
    from w2s_data.stages.inspection import inspect_run
    from w2s_data.utils.lock import holder

    if (writer := holder(run)) is not None:  # whose files may change while they are checked
        say(f"written by: {writer}")
    problems = inspect_run(run)
    for problem in problems:
        say(f"problem: {problem}")
    say(f"healthy: {'no' if problems else 'yes'}")
    summary = {"healthy": not problems, "problems": [str(one) for one in problems]}
    tell("doctor", state="done", run=str(run), summary=summary)
    return not problems
