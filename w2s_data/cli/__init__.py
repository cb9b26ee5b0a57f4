"""The command `w2s`: the roof of the house, which may call every room."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from typer.main import get_command

from w2s_data.cli.app import Command, app
from w2s_data.cli.apply import apply
from w2s_data.cli.boundary import guarded
from w2s_data.cli.labels import export, next_rows, plan
from w2s_data.cli.pipeline import demo, run
from w2s_data.cli.report import doctor as doctor_command
from w2s_data.cli.report import report
from w2s_data.cli.stages import embed, forecast, gain, groups, score, select, sweep, teach
from w2s_data.finetune.levels.precision import n_processes
from w2s_data.finetune.levels.together import led

__all__ = ["main"]

NEW_OBJECTS = 50_000  # after which Python looks for garbage among them; by default 700 to 2,000

for _command in (
    *(embed, teach, score, forecast, select, gain, groups, sweep),
    *(plan, apply, export, report, run, demo),
):
    app.command(cls=Command)(_command)
app.command("next", cls=Command)(next_rows)
app.command("doctor", cls=Command)(doctor_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2.

    With several processes of `accelerate launch` the first runs it, and the others help it train.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        # Imports make hundreds of thousands of objects that stay: to search them for cycles as
        # often as Python does by default takes seven hundredths of a demo.
        gc.set_threshold(NEW_OBJECTS)

    def command() -> int:
        return guarded(
            lambda: _program()(args=given, prog_name="w2s", standalone_mode=False),
            debug="--debug" in given,
        )

    code = command() if n_processes() == 1 else guarded(led(command), debug="--debug" in given)
    if arguments is None:
        # The process ends with its command: what the interpreter's last collections would search
        # for cycles, most of it imported modules, takes longer than many a command.
        gc.freeze()
    sys.exit(code)


@cache
def _program() -> Callable[..., Any]:
    """Return the program with all its commands, which typer would make again for each call."""
    return get_command(app)
