"""Output of the commands: the one place that writes to a terminal, and lets nothing be obeyed."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import typer

from w2s_data.stages.graph import EMBED
from w2s_data.utils.text import printable, printable_json

if TYPE_CHECKING:
    from w2s_data.run import Run

LONGEST = 2000  # characters of a message
PACKAGES = ("w2s_data", "w2s_selectors", "w2s_reports")
# Whether standard output is for JSON alone; every command sets it.
_json_alone = ContextVar("json_alone", default=False)


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text, with control characters of names, texts and messages as escapes.

    Where standard output is for JSON it goes to standard error.
    """
    typer.echo(printable(text, lines=True), err=err or _json_alone.get(), nl=nl)


def say_notes(run: Run) -> None:
    """Print what was decided when the data of a new run were read.

    A run that exists has said it, and warnings are logged at once.
    """
    for note in run.dataset().notes if EMBED.name not in run.manifest["stages"] else ():
        if not note.startswith("warning: "):
            say(f"note: {note}", err=True)


def tell(command: str, **record: Any) -> None:
    """Print what a command did as one line of JSON, where standard output is for JSON."""
    if _json_alone.get():
        from w2s_data.utils.io import jsonable

        line = json.dumps({"command": command, **jsonable(record)}, ensure_ascii=False)
        typer.echo(printable_json(line))


def reserve_output(for_json: bool) -> None:
    """Keep standard output for JSON lines, or for texts."""
    _json_alone.set(for_json)


def one_line(message: str) -> str:
    """Join the lines of a message; the middle of an endless one, such as a long name, is cut."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 300]} ... {line[-300:]}"


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at the time: under a display, above the bars."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """Ignore the stream that the base class sets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message as a terminal may show it."""
        return printable(super().format(record), lines=True)


def set_verbosity(quiet: bool) -> bool | None:
    """Return the progress switch of the stages, and send the log of the packages to standard error.

    Quiet commands log warnings only and draw no bars; None draws bars in a terminal.
    """
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in PACKAGES:
        log = logging.getLogger(package)
        log.handlers = [handler]
        log.setLevel(logging.WARNING if quiet else logging.INFO)
        log.propagate = False
    return False if quiet else None
