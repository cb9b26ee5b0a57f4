"""Options of the commands, made from the settings of the stages.

A command names settings models among its parameters; `with_options` replaces each by one option per
field, and hands the validated model to the command.
"""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer
from pydantic.fields import FieldInfo

from w2s_data.cli.output import reserve_output, set_verbosity
from w2s_data.errors import InputError
from w2s_data.stages.fields import Shell
from w2s_data.stages.settings import Settings, read_settings

# `-o` is the run directory in every command that takes one.
# `--for` is a word of Python, which no field can be called.
SHORT = {"output": ("--output", "-o"), "purpose": ("--for",)}

CONTEXT = inspect.Parameter(
    "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)
QUIET = inspect.Parameter(
    "quiet",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--quiet", "-q", help="Draw no progress bars.")],
)
DEBUG = inspect.Parameter(
    "debug",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--debug", help="Show tracebacks.")],
)
JSON = inspect.Parameter(
    "as_json",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--json", help="Print results as JSON lines, and texts to stderr.")
    ],
)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option per field of each settings model among its parameters.

    `--quiet` and `--debug` work behind every command as they do before it, `--json` behind it; a
    parameter `progress` receives the progress switch.

    Examples
    --------
    >>> from w2s_data.stages.settings import ScoreSettings
    >>> @with_options
    ... def show(name: str, settings: ScoreSettings) -> None:
    ...     print(name, settings.teacher_l2)
    >>> show(name="digits", teacher_l2="0.5")
    digits 0.5
    >>> list(inspect.signature(show).parameters)[:6]
    ['context', 'name', 'teacher_l2', 'reference', 'precision', 'recalibrate']
    >>> list(inspect.signature(show).parameters)[6:]
    ['quiet', 'debug', 'as_json']
    """
    models: dict[str, type[Settings]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, Settings):
            models[parameter.name] = parameter.annotation
            parameters += [_option(n, f, parameter.annotation) for n, f in _fields(parameter)]
        elif parameter.name != "progress":
            parameters.append(parameter)
    asks_progress = "progress" in inspect.signature(command).parameters
    # A parameter without a default may not follow one with a default; options come by name anyway.
    first = next((i for i, p in enumerate(parameters) if p.default is not p.empty), len(parameters))
    parameters[first:] = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters[first:]]
    parameters = [CONTEXT, *parameters, QUIET, DEBUG, JSON]

    @functools.wraps(command)
    def run(
        context: typer.Context | None = None,
        *,
        quiet: bool = False,
        debug: bool = False,  # noqa: ARG001 - `main` looks for it among the arguments
        as_json: bool = False,
        **options: Any,
    ) -> None:
        progress = None if context is None else context.obj
        reserve_output(for_json=as_json)
        if quiet:
            progress = set_verbosity(quiet=True)
        if asks_progress:
            options["progress"] = progress
        for name, model in models.items():
            own = {n: options.pop(n) for n in model.model_fields if n in options}
            options[name] = _settings(model, own)
        command(**options)

    # typer reads the signature; nothing else does.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _fields(parameter: inspect.Parameter) -> list[tuple[str, FieldInfo]]:
    """Return the fields that are options; the path of the data is an argument of its own."""
    model = parameter.annotation
    fields = [(name, field) for name, field in model.model_fields.items() if name != "path"]
    # The model's own heading comes before that of the class which it extends.
    return sorted(fields, key=lambda named: _panel(named[0], model) != model.panel)


def _settings(model: type[Settings], given: dict[str, Any]) -> Settings:
    """Validate the options that were given; a bad one is named as it is spelled in the shell."""
    defaults = {name: _kind(field)[1] for name, field in model.model_fields.items()}
    # A shell hands over every option; only those that were given count as given.
    known = {name: value for name, value in given.items() if value != defaults[name]}
    try:
        settings: Settings = read_settings(model, known)
    except InputError as error:
        name, _, rest = str(error).partition(" ")
        raise InputError(f"--{name.replace('_', '-')} {rest}") from error
    return settings


def _option(name: str, field: FieldInfo, model: type[Settings]) -> inspect.Parameter:
    shell = _shell(field)
    kind, default = _kind(field)
    settings: dict[str, Any] = {"help": field.description, "rich_help_panel": _panel(name, model)}
    names = [*SHORT.get(name, ())]
    if kind is bool:
        flag = f"--{name.replace('_', '-')}"
        both = field.default is not False  # a flag that is on can only be switched off
        names = [f"{flag}/--no-{flag[2:]}" if both else flag]
    elif shell is not None:
        settings["metavar"] = shell.metavar
        words = re.findall(r"(?<![^|])[a-z0-9]+(?![^|])", shell.metavar)
        if words:
            settings["autocompletion"] = _completion(words)
    if default in (None, []):
        settings["show_default"] = False
    optional: Any = kind | None if default is None else kind
    annotation = Annotated[optional, typer.Option(*names, **settings)]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _completion(words: list[str]) -> Callable[[str], list[str]]:
    """Return what completes a word, or the last of several that commas join, in a shell.

    >>> _completion(["wandb", "mlflow"])("wandb,m")
    ['wandb,mlflow']
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",")
        return [f"{before}{comma}{word}" for word in words if word.startswith(begun)]

    return complete


def _panel(name: str, model: type[Settings]) -> str:
    """Return the heading of an option: that of the class which has the field, if it has its own."""
    home = next(base for base in model.__mro__ if name in vars(base).get("__annotations__", {}))
    return str(vars(home).get("panel", model.panel))


def _shell(field: FieldInfo) -> Shell | None:
    """Find how a field is given in a shell; an optional type holds the mark one level down."""
    marks = [*field.metadata, *(m for part in _parts(field.annotation) for m in part)]
    return next((mark for mark in marks if isinstance(mark, Shell)), None)


def _parts(annotation: Any) -> list[tuple[Any, ...]]:
    members = typing.get_args(annotation)
    return [part.__metadata__ for part in members if typing.get_origin(part) is Annotated]


def _kind(field: FieldInfo) -> tuple[Any, Any]:
    """Return the type of an option in a shell, and its default."""
    default, shell = field.default, _shell(field)
    if shell is not None and shell.repeated:
        return list[str], list(default or [])
    if shell is not None:  # the validator of the field reads the text
        return str, None if default is None else str(default)
    kinds = [kind for kind in _members(field.annotation) if kind is not types.NoneType]
    kind = kinds[0]
    return (kind if kind in (bool, int, float, str) or _is_literal(kind) else str), default


def _members(annotation: Any) -> list[Any]:
    """Return the plain types of a union of possibly annotated types."""
    if typing.get_origin(annotation) is Annotated:
        return _members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return [m for part in typing.get_args(annotation) for m in _members(part)]
    return [annotation]


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is Literal
