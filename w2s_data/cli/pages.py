"""Commands that only tell: report, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from w2s_data.cli import options as opt


def report(
    run: opt.RunFolder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; RUN/report.html by default.")
    ] = None,
    map: Annotated[
        bool | None,
        typer.Option(
            "--map/--no-map",
            help="Draw a map of the strong features; by default where they are at hand.",
            show_default=False,
        ),
    ] = None,
    strong_features: opt.StrongFeatures = None,
) -> None:
    """Write the HTML report of a run."""
    from w2s_reports import build_report

    target = output or run / "report.html"
    if map is not False:
        _add_map(run, strong_features, required=bool(map))
    build_report(run, target, projection=False if map is False else None)
    typer.echo(f"report: {target}")


def _add_map(folder: Path, strong_features: Path | None, *, required: bool) -> None:
    """Project the run's strong features; where that is not required, a line says why not."""
    from w2s_data.errors import InputError
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


def doctor() -> None:
    """Say what this installation can do: devices, libraries, and how to get what is missing."""
    from w2s_data.cli.tables import print_rows
    from w2s_data.doctor import diagnose

    diagnosis = diagnose()
    print_rows(diagnosis.rows())
    if not diagnosis.healthy:
        raise typer.Exit(1)
