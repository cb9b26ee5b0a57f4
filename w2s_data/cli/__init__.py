"""The command `w2s`: the roof of the house, which may call every room."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from w2s_data.cli.app import Command, app
from w2s_data.cli.pipeline import demo, run
from w2s_data.cli.report import doctor as doctor_command
from w2s_data.cli.report import report
from w2s_data.cli.stages import embed, forecast, gain, groups, score, select
from w2s_data.errors import InputError, MissingExtraError

__all__ = ["main"]

INTERRUPTED = 130  # exit code of a program that Ctrl-C ended: 128 and the signal's number

for _command in (embed, score, forecast, select, gain, groups, report, run, demo):
    app.command(cls=Command)(_command)
app.command("doctor", cls=Command)(doctor_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given, prog_name="w2s", standalone_mode=False)
    except (InputError, MissingExtraError, OSError) as error:
        if "--debug" in given:
            raise
        _fail(str(error))
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:
        # Errors of the command line itself: their class depends on the version of typer.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        _fail(message())
    if code == INTERRUPTED:  # typer may raise after Ctrl-C, or return this code
        typer.echo("interrupted; the same command resumes from here", err=True)
    sys.exit(code or 0)


def _fail(message: str) -> NoReturn:
    """Print an error as one line, and exit with 2."""
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)
