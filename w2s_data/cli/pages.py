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
    show: opt.Open = False,
) -> None:
    """Write the HTML report of a run."""
    from w2s_reports import build_report

    target = output or run / "report.html"
    build_report(run, target)
    typer.echo(f"report: {target}")
    if show:
        open_page(target)


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
    from w2s_data.cli.tables import print_rows
    from w2s_data.doctor import diagnose

    diagnosis = diagnose()
    print_rows(diagnosis.rows())
    if not diagnosis.healthy:
        raise typer.Exit(1)
