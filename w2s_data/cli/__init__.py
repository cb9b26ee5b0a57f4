"""The command `w2s`: the roof of the house, which may call every room."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from w2s_data.cli.analysis import forecast, groups
from w2s_data.cli.app import app
from w2s_data.cli.outcome import telling
from w2s_data.cli.pages import doctor, report
from w2s_data.cli.pipeline import demo, run, run_pipeline
from w2s_data.cli.scoring import embed, score
from w2s_data.cli.selection import select
from w2s_data.cli.training import gain
from w2s_data.errors import InputError, MissingExtraError

__all__ = ["main", "run_pipeline"]

INTERRUPTED = 130

for _stage in (embed, score, groups, forecast, select, gain):
    app.command()(telling(_stage))
for _command in (report, run, demo, doctor):
    app.command()(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="w2s")
    except (InputError, MissingExtraError, OSError) as error:
        if "--debug" in given:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            typer.echo("interrupted; the same command goes on from here", err=True)
        raise
