"""The program, and what its commands share."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, TextIO

import typer

from w2s_data._version import __version__


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at the time: under a display, above the bars."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """It has no stream of its own."""


app = typer.Typer(
    name="w2s",
    help="What your data is worth for weak-to-strong training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    if version:
        typer.echo(f"w2s-data {__version__}")
        raise typer.Exit
    handler = _StandardError()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in ("w2s_data", "w2s_selectors", "w2s_reports"):
        log = logging.getLogger(package)
        log.handlers = [handler]
        log.setLevel(logging.WARNING if quiet else logging.INFO)
        log.propagate = False
    # None draws progress bars only where somebody watches.
    context.obj = False if quiet else None
