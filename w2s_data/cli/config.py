"""A configuration of `w2s run`: a TOML file whose keys are the options of the commands.

Nothing is listed twice: sections and keys are read from the signatures of the stages. Columns and
splits are options of [data]; `--weak` and `--weak-features` are encoder and features of [weak], the
strong ones of [strong]; what `w2s embed` takes besides is for the whole run, [run]; the rest
belongs to its stage.
"""

from __future__ import annotations

import difflib
import enum
import inspect
import os
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, OptionInfo, ParameterInfo

from w2s_data.cli import options as opt
from w2s_data.cli.analysis import forecast, groups
from w2s_data.cli.pages import report
from w2s_data.cli.scoring import embed, score
from w2s_data.cli.selection import select
from w2s_data.cli.training import gain
from w2s_data.errors import FileFormatError, InputError, unknown

STAGES: dict[str, Callable[..., Any]] = {
    "embed": embed,
    "score": score,
    "forecast": forecast,
    "select": select,
    "gain": gain,
    "groups": groups,  # which describe the student too
    "report": report,
}
ROLES = ("weak", "strong")
WHOLE = ("data", *ROLES, "run")  # sections of no single stage
FIRST = "embed"  # makes the run, which the others are given
MAKING = ("output", "overwrite")  # options of the stage that makes a run and of no other
SETTLED = (*MAKING, "seed")  # what no later stage may change


@dataclass(frozen=True)
class Key:
    """A key of a section: how its value is read, and which (stage, parameter) it is given to."""

    annotation: Any
    metavar: str
    given_to: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Config:
    """What a pipeline is to do.

    Attributes
    ----------
    options : mapping from stage to keyword arguments
        Of the stages that are on, in their order.
    off : tuple of str
        Stages that are switched off.
    """

    options: Mapping[str, dict[str, Any]]
    off: tuple[str, ...] = ()


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Config:
    """Read and check a configuration.

    Parameters
    ----------
    source : path of a TOML file, or mapping from section to mapping
        Paths in a file are relative to its folder.
    overrides : sequence of "SECTION.KEY=VALUE"

    Raises
    ------
    FileFormatError
        If the file is missing or not TOML.
    InputError
        For an unknown section or key, and for a value of the wrong type.

    Examples
    --------
    >>> config = load_config({"data": {"path": "example:digits"}, "gain": {"enabled": False}})
    >>> config.options["embed"], config.off
    ({'data': 'example:digits'}, ('gain',))
    """
    if isinstance(source, Mapping):
        content, where, base = source, "configuration", Path()
    else:
        content, where, base = _parse(Path(source)), os.fspath(source), Path(source).parent
    sections = {name: content[name] for name in content}
    given = [_override(text) for text in overrides]
    places = {(section, key): "--set" for section, key, _ in given}
    reader = _Reader(where, base, places)
    for section, key, value in given:
        if section not in reader.keys:
            raise InputError(f"--set: {unknown('section', section, list(reader.keys))}")
        if isinstance(sections.get(section, {}), Mapping):
            sections[section] = {**sections.get(section, {}), key: value}
    return reader.read(sections)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileFormatError(
            f"cannot read the configuration {os.fspath(path)!r}: {error.strerror}; "
            "`w2s run --example` prints one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{os.fspath(path)!r} is not TOML: {error}") from error


def _override(text: str) -> tuple[str, str, Any]:
    name, equals, value = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise InputError(f"--set reads SECTION.KEY=VALUE, e.g. gain.seeds=2; got {text!r}")
    try:
        return section, _spelled(key), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:  # a text without quotes, as one writes it in a shell
        return section, _spelled(key), value


def _spelled(key: str) -> str:
    return key.strip().replace("-", "_")


class _Reader:
    """Turns sections into the arguments of stages, or says where they are wrong."""

    def __init__(self, where: str, base: Path, places: Mapping[tuple[str, str], str]) -> None:
        self.where, self.base, self.places = where, base, places
        self.keys = config_keys()

    def read(self, sections: Mapping[str, Any]) -> Config:
        for name, table in sections.items():
            if name not in self.keys:
                raise InputError(f"{self.where}: {unknown('section', name, list(self.keys))}")
            if not isinstance(table, Mapping):
                raise InputError(f"{self.where}: {name} is a section, [{name}]; got {table!r}")
        options: dict[str, dict[str, Any]] = {stage: {} for stage in STAGES}
        off = []
        for name in self.keys:  # those of the whole run first, so that a stage's own win
            for key, value in sections.get(name, {}).items():
                if name not in WHOLE and key == "enabled":
                    if self._value(name, key, value, Key(bool, "")) is False:
                        off.append(name)
                    continue
                known = self._key(name, _spelled(key))
                read = self._value(name, _spelled(key), value, known)
                for stage, parameter in known.given_to:
                    options[stage][parameter] = read
        if "data" not in options[FIRST]:
            raise InputError(
                f"{self.where}, [data]: path is missing: a file, a folder, example:NAME or a hub "
                "data set"
            )
        return Config({s: given for s, given in options.items() if s not in off}, tuple(off))

    def _key(self, section: str, key: str) -> Key:
        known = self.keys[section]
        if key in known:
            return known[key]
        message = unknown("key", key, [*known, *(() if section in WHOLE else ("enabled",))])
        other = [name for name, keys in self.keys.items() if key in keys]
        if other and not difflib.get_close_matches(key, known, n=1, cutoff=0.8):
            message = f"there is no key {key!r} here; it belongs to [{other[0]}]"
        raise InputError(f"{self._place(section, key)}: {message}")

    def _value(self, section: str, key: str, value: Any, known: Key) -> Any:
        try:
            return _read(value, known, self.base)
        except TypeError as error:
            place = self._place(section, key)
            raise InputError(f"{place}: {key} must be {error}; got {value!r}") from error

    def _place(self, section: str, key: str) -> str:
        return f"{self.places.get((section, key), self.where)}, [{section}]"


def config_keys() -> dict[str, dict[str, Key]]:
    """The sections of a configuration and their keys."""
    keys: dict[str, dict[str, Key]] = {
        name: {} for name in (*WHOLE, *(stage for stage in STAGES if stage != FIRST))
    }
    for stage, command in STAGES.items():
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            info = _info(parameter)
            if info is None:
                continue
            section, name = _home(stage, parameter.name, info)
            if section is not None:
                key = keys[section].setdefault(
                    name, Key(typing.get_args(parameter.annotation)[0], _metavar(info))
                )
                key.given_to.append((stage, parameter.name))
            shared = stage not in (FIRST, "report") and name not in MAKING
            if shared and name in keys["run"]:
                keys["run"][name].given_to.append((stage, parameter.name))
    return keys


def _info(parameter: inspect.Parameter) -> ParameterInfo | None:
    found = [x for x in typing.get_args(parameter.annotation) if isinstance(x, ParameterInfo)]
    return found[0] if found else None


def _home(stage: str, parameter: str, info: ParameterInfo) -> tuple[str | None, str]:
    """The section that an option belongs to, None if a later stage has it from the run."""
    name = _long_name(info) or parameter
    if isinstance(info, ArgumentInfo):
        return ("data", "path") if stage == FIRST else (None, name)
    making = stage == FIRST
    if info.rich_help_panel == opt.DATA:
        return ("data" if making else None), name
    role, _, rest = name.partition("_")
    if role in ROLES:
        return (role if making or rest else None), rest or "encoder"
    if making:
        return "run", name
    return (None if stage != "report" and name in SETTLED else stage), name


def _metavar(info: ParameterInfo) -> str:
    return opt.PLACE if isinstance(info, ArgumentInfo) else info.metavar or ""


def _long_name(info: ParameterInfo) -> str:
    """The name behind an option's dashes, where it is not the parameter's."""
    spelled = (info.default, *(info.param_decls or ())) if isinstance(info, OptionInfo) else ()
    for text in spelled:
        if isinstance(text, str) and text.startswith("--"):
            return _spelled(text.partition("/")[0].removeprefix("--"))
    return ""


def _read(value: Any, key: Key, base: Path) -> Any:
    """A TOML value as the parameter's, or a TypeError that says what was expected."""
    kinds = typing.get_args(key.annotation) if _is_union(key.annotation) else (key.annotation,)
    kind = next(kind for kind in kinds if kind is not types.NoneType)
    if typing.get_origin(kind) is list:
        item = Key(typing.get_args(kind)[0], "")
        return [_read(part, item, base) for part in (value if isinstance(value, list) else [value])]
    if kind is str:
        return _text(value, key.metavar, base)
    if kind is Path and isinstance(value, str):
        return base / Path(value).expanduser()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in [choice.value for choice in kind]:
            raise TypeError(f"one of {', '.join(repr(choice.value) for choice in kind)}")
        return kind(value)
    if type(value) is not kind:
        expected = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
        raise TypeError(expected.get(kind, kind.__name__))
    return value


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (types.UnionType, typing.Union)


def _text(value: Any, metavar: str, base: Path) -> str:
    """A value as the text that the option would be given in a shell."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str):
        return _located(value, base) if metavar == opt.PLACE else value
    if metavar.startswith(opt.NUMBER_OR):
        if is_number:
            return str(value)
        raise TypeError(f"a number or {metavar.removeprefix(opt.NUMBER_OR)!r}")
    if metavar == opt.COLUMNS and isinstance(value, Mapping):
        return ";".join(f"{name}={_listed(columns)}" for name, columns in value.items())
    if metavar in (opt.NAMES, opt.COLUMNS):
        return _listed(value)
    if metavar == opt.NUMBERS:
        if isinstance(value, Mapping) and all(
            isinstance(n, int | float) and not isinstance(n, bool) for n in value.values()
        ):
            return ",".join(f"{name}={number}" for name, number in value.items())
        raise TypeError("a table of numbers, { name = number }")
    raise TypeError("a text")


def _listed(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return ",".join(value)
    raise TypeError("a list of texts")


def _located(text: str, base: Path) -> str:
    """A name as it is, or the path of a table or of what has this name beside the configuration."""
    from w2s_data.data.readers import format_of

    path = base / Path(text).expanduser()
    without_layer = base / Path(text.partition("@")[0]).expanduser()
    is_there = path.exists() or without_layer.exists()
    return str(path) if is_there or format_of(path) is not None else text
