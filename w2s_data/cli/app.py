"""The program, and what its commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from w2s_data._version import __version__
from w2s_data.cli.output import say, set_verbosity


class _PlainFlags:
    """Shows flags without a type: they take no value, and <bool> would suggest one."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, with an empty type behind each flag."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = " "
        return parameters


class Command(_PlainFlags, TyperCommand):
    """A command of the program."""


class _Group(_PlainFlags, TyperGroup):
    """The program itself."""


app = typer.Typer(
    name="w2s",
    cls=_Group,
    help="Measure what your data is worth for weak-to-strong training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Draw no progress bars.")] = False,
) -> None:
    if version:
        say(f"w2s-data {__version__}")
        raise typer.Exit
    # Behind a command the same switch may be given again; see `with_options`.
    context.obj = set_verbosity(quiet)
