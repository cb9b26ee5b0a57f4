"""The program, and what its commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from w2s_data._version import __version__
from w2s_data.cli.output import say, set_verbosity
from w2s_data.errors import InputError
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import DataSettings


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

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments; an option of another command is named as such."""
        try:
            return super().parse_args(ctx, args)
        # The class of an unknown option depends on the version of typer.
        except Exception as error:
            option = str(getattr(error, "option_name", ""))
            owners = _commands_with(ctx, option)
            if not owners:
                raise
            raise InputError(_belongs_elsewhere(str(self.name), option, owners)) from error


def _commands_with(ctx: Any, option: str) -> list[str]:
    """Return the commands of the program that have an option."""
    commands = ctx.parent.command.commands if ctx.parent is not None else {}
    return [n for n, c in commands.items() if any(option in p.opts for p in c.params)]


def _belongs_elsewhere(command: str, option: str, owners: list[str]) -> str:
    """Say which command has an option, and why this one needs none."""
    field = option.removeprefix("--").replace("-", "_")
    text = f"`w2s {command}` has no {option}"
    if field in EmbedSettings.model_fields:
        return (
            f"{text}, since a run remembers its features; `w2s embed RUN {option} ...` names others"
        )
    if field == "labels":
        return (
            f"{text}; `w2s run CONFIG {option} FILE` and `w2s score RUN {option} FILE` add labels"
        )
    if field in DataSettings.model_fields:
        return (
            f"{text}, since the columns of a run are fixed; `w2s score DATA {option} ...` makes one"
        )
    names = ", ".join(f"`w2s {owner}`" for owner in owners)
    return f"{text}; {names} {'have' if len(owners) > 1 else 'has'} it"


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
