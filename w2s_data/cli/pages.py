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
) -> None:
    """Write the HTML report of a run."""
    from w2s_reports import build_report

    target = output or run / "report.html"
    build_report(run, target)
    typer.echo(f"report: {target}")


def doctor() -> None:
    """Say what this installation can do: devices, libraries, and how to get what is missing."""
    from w2s_data.cli.tables import print_rows
    from w2s_data.doctor import diagnose

    diagnosis = diagnose()
    print_rows(diagnosis.rows())
    if not diagnosis.healthy:
        raise typer.Exit(1)
