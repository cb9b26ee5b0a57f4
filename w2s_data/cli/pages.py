"""Commands that only tell: report, doctor."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from w2s_data.cli import options as opt
from w2s_data.errors import InputError

if TYPE_CHECKING:
    from w2s_reports.gate import Outcome

STDOUT = Path("-")


class Format(StrEnum):
    """What a report is written as."""

    HTML = "html"
    JSON = "json"
    MARKDOWN = "markdown"


FILES = {
    Format.HTML: "report.html",
    Format.JSON: "report.json",
    Format.MARKDOWN: "report.md",
}


def report(
    run: opt.RunFolder,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File; RUN/report.html by default. - prints JSON or Markdown.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Another run, to put beside this one.")
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit 1 if this holds, e.g. 'density<0.2' or 'worst_group_gain<0'; repeatable."
        ),
    ] = None,
    kind: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.HTML,
    map: Annotated[
        bool | None,
        typer.Option(
            "--map/--no-map",
            help="Draw a map of the strong features; by default where they are at hand.",
            show_default=False,
        ),
    ] = None,
    strong_features: opt.StrongFeatures = None,
    show: opt.Open = False,
) -> None:
    """Write the report of a run; with --fail-on, exit 1 if the run is not good enough."""
    target = output or run / FILES[kind]
    if map is not False and (kind is Format.HTML or map or strong_features):
        _add_map(run, strong_features, required=bool(map))
    outcomes = write_report(
        run, target, kind, baseline, fail_on or (), projection=False if map is False else None
    )
    aside = target == STDOUT
    if not aside:
        typer.echo(f"report: {target}")
    if show and kind is Format.HTML:
        open_page(target)
    judge(outcomes, run, aside)


def write_report(
    run: Path,
    target: Path,
    kind: Format,
    baseline: Path | None,
    fail_on: Sequence[str],
    projection: bool | None = None,
) -> Sequence[Outcome]:
    """Write the report, and return what became of the conditions."""
    from w2s_data.utils.io import atomic_path
    from w2s_reports import build_report, render, summarize
    from w2s_reports.gate import Outcome

    if kind is Format.HTML:
        if target == STDOUT:
            raise InputError("-o - prints JSON or Markdown: say --format json or markdown")
        return build_report(
            run, target, baseline=baseline, fail_on=fail_on, projection=projection
        ).gate
    summary = summarize(run, baseline=baseline, fail_on=fail_on)
    text = render(summary, cast(Any, kind.value))
    if target == STDOUT:
        typer.echo(text, nl=False)
    elif target.is_dir():
        raise InputError(f"{str(target)!r} is a folder; name a file, e.g. {FILES[kind]!r}")
    else:
        with atomic_path(target) as partial:
            partial.write_text(text, encoding="utf-8", newline="\n")
    return tuple(Outcome(**outcome) for outcome in summary["gate"])


def judge(outcomes: Sequence[Outcome], run: Path, aside: bool = False) -> None:
    """Say what became of each condition, and end with 1 if one holds.

    Raises
    ------
    GateError
        If a condition is about a number that the run does not have.
    """
    from w2s_reports.gate import GateError

    for outcome in outcomes:
        typer.echo(str(outcome), err=aside)
    missing = [outcome for outcome in outcomes if outcome.failed is None]
    if missing:
        reason = missing[0].reason.replace(" RUN", f" {run}")
        raise GateError(f"{missing[0].condition!r} cannot be checked: {reason}")
    failed = [outcome.condition for outcome in outcomes if outcome.failed]
    if failed:
        typer.echo(f"gate failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


def _add_map(folder: Path, strong_features: Path | None, *, required: bool) -> None:
    """Project the run's strong features; where that is not required, a line says why not."""
    from w2s_data.run import Run
    from w2s_reports.stage import ensure_projection

    if not Run.exists(folder):
        return  # the report says what is missing
    run = Run.open(folder)
    if "score" not in run.manifest["stages"] and not required:
        return
    try:
        ensure_projection(run, strong_features)
    except InputError as error:
        if required or strong_features is not None:
            raise
        typer.echo(f"no map: {error}", err=True)


def open_page(path: Path) -> None:
    """Show a page in a browser, or say that there is none."""
    import webbrowser

    try:
        opened = webbrowser.open(path.resolve().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        typer.echo(f"no browser could be started; open {path} yourself", err=True)


def doctor() -> None:
    """Say what this installation can do: devices, libraries, and how to get what is missing."""
    from w2s_data.cli.doctor import diagnose
    from w2s_reports.tables import align_rows

    diagnosis = diagnose()
    typer.echo(align_rows(diagnosis.rows(), shutil.get_terminal_size().columns))
    if not diagnosis.healthy:
        raise typer.Exit(1)
