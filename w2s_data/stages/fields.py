"""Types of settings: how a value is read from a shell, from TOML and in Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)

from w2s_data.utils.constants import LARGEST_COUNT, LARGEST_SEED, MOST_PENALTY

NOT_EMPTY = "a text that is not empty"


@dataclass(frozen=True)
class Shell:
    """How an option is shown and given in a shell.

    Attributes
    ----------
    metavar : str
        Stands for the value in the help.
    repeated : bool
        Whether the option can be given several times.
    """

    metavar: str
    repeated: bool = False


def _names(value: Any) -> Any:
    """Split "a,b"; a list may hold such texts, as a repeated option does."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        raise ValueError("a list of names")
    return _different([name.strip() for part in parts for name in part.split(",") if name.strip()])


def _different(names: list[str]) -> tuple[str, ...]:
    """Return the names; a name that stands twice was meant to be another one."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"different names, but {twice!r} is there twice")
    return tuple(names)


def _class_names(value: Any) -> Any:
    """Split "neg,pos"; in a list of several names commas are part of the names."""
    if isinstance(value, str) or (isinstance(value, list | tuple) and len(value) == 1):
        text = value if isinstance(value, str) else str(value[0])
        return _different([name.strip() for name in text.split(",")]) if text.strip() else ()
    if not isinstance(value, list | tuple) or not all(_is_label(name) for name in value):
        raise ValueError("a list of names")
    return _different([str(name) for name in value])


def _is_label(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _class_map(value: Any) -> Any:
    """Read ["0=neg,1=pos"], ["0=neg", "1=pos"] or a table of classes."""
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        parts = [part.partition("=") for part in _names(value)]
        _different([name.strip() for name, _, _ in parts])
        pairs = [(name.strip(), text.strip() if equals else None) for name, equals, text in parts]
    if not all(_is_label(name) and _is_label(text) for name, text in pairs):
        raise ValueError("classes by spelling, LABEL=CLASS,...")
    return {str(name): str(text) for name, text in pairs}


def _numbers(value: Any) -> Any:
    """Read ["web=0.1,crowd=2"] or a table of numbers; whole numbers stay whole."""
    if isinstance(value, Mapping):
        numbers = dict(value)
    else:
        pairs = [part.rpartition("=") for part in _names(value)]
        names = _different([name.strip() for name, _, _ in pairs])
        numbers = dict(zip(names, (_number(text.strip()) for _, _, text in pairs), strict=True))
    good = (is_number(number) and _is_finite(number) for number in numbers.values())
    if "" in numbers or not all(good):
        raise ValueError("numbers by name, NAME=NUMBER,...")
    return numbers


def _is_finite(number: float) -> bool:
    """Whether a number is a float, or an integer that could be one."""
    # Compared, since isfinite cannot take an integer beyond the floats.
    return abs(number) <= sys.float_info.max


def is_number(value: Any) -> bool:
    """Whether a value is a number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _weak_columns(value: Any) -> Any:
    """Read ["p0,p1"] of one weak model, or ["small=p0,p1", "large=q0,q1"] of several."""
    expected = "columns, or MODEL=COLUMN,... once per weak model"
    if isinstance(value, Mapping):
        models = {str(name): list(_names(columns)) for name, columns in value.items()}
    else:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError(expected)
        if not any("=" in str(part) for part in parts):
            return list(_names(parts))
        models = {}
        for part in parts:
            name, equals, columns = (piece.strip() for piece in str(part).partition("="))
            if not (name and equals and columns) or name in models or ";" in columns:
                raise ValueError(expected)
            models[name] = list(_names(columns))
    _different([column for columns in models.values() for column in columns])
    return models


BOTH = "both"  # a value for every role to which it applies
_ROLES = ("strong", "weak")


def _by_role(read: Callable[[Any], Any], expected: str) -> BeforeValidator:
    """Read "cls", ["strong=cls", "weak=mean"] or a table by role; a text may hold "=" itself."""

    def one(value: Any) -> tuple[str, Any]:
        role, equals, text = value.partition("=") if isinstance(value, str) else ("", "", "")
        return (role, text) if equals and role in _ROLES else (BOTH, value)

    def read_all(value: Any) -> Any:
        if value is None:
            return None
        several = value if isinstance(value, list | tuple) else [value]
        pairs = list(value.items()) if isinstance(value, Mapping) else [one(v) for v in several]
        read_pairs = {role: read(v) for role, v in pairs}
        unknown = set(read_pairs) - {BOTH, *_ROLES}
        if unknown or None in read_pairs.values() or len(read_pairs) < len(pairs):
            raise ValueError(f"{expected}, or strong=VALUE and weak=VALUE, each once")
        return read_pairs

    return BeforeValidator(read_all)


def _as_text(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _as_count(value: Any) -> Any:
    number = _number(value)
    return number if type(number) is int and 1 <= number <= LARGEST_COUNT else None


def _as_share(value: Any) -> Any:
    number = _number(value)
    return float(number) if is_number(number) and 0 <= number <= 1 else None


def _as_flag(value: Any) -> Any:
    return {"true": True, "false": False}.get(str(value).lower())


def _number(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        # A count of items stays a count: 500 is not the share 500.0.
        return int(text) if text.strip().lstrip("+-").isdecimal() else float(text)
    except ValueError:
        return text


def _number_or(word: str, allowed: str, accepts: Callable[[Any], bool]) -> BeforeValidator:
    """Accept a number in a range, also as text, or one word."""

    def read(value: Any) -> Any:
        number = _number(value)
        if number is None or number == word:
            return number
        if not is_number(number) or not _is_finite(number) or not accepts(number):
            raise ValueError(f"{allowed} or {word!r}")
        return number

    return BeforeValidator(read)


def _size(value: Any) -> Any:
    """Refuse a memory limit that cannot be read, in the words of who reads it."""
    from w2s_data.compute.memory import MemoryLimit

    if isinstance(value, str | int) and not isinstance(value, bool):
        MemoryLimit.parse(value)
        return str(value)
    return value


def located(value: Any, info: ValidationInfo) -> Any:
    """Resolve a path relative to the configuration file; leave other names unchanged."""
    _check_name(value, "a text")
    base = (info.context or {}).get("base")
    if base is None or not isinstance(value, str):
        return value
    path = base / Path(value).expanduser()
    # A layer may follow a model's folder: models/minilm@6.
    without_layer = base / Path(value.partition("@")[0]).expanduser()
    if path.exists() or without_layer.exists():
        return str(path)
    # A table that is not there is named by its whole path; other names may be on a hub.
    return str(path) if "://" not in value and _is_table_name(path) else value


def _check_name(value: Any, expected: str) -> None:
    """Refuse what is neither a text nor an object that Python may hand over."""
    names = isinstance(value, list) and all(isinstance(part, str) for part in value)
    if names or isinstance(value, bool | int | float | dict):
        raise ValueError(expected)
    if isinstance(value, str) and not value.strip():
        raise ValueError(NOT_EMPTY)


def _is_table_name(path: Path) -> bool:
    from w2s_data.data.readers import format_of  # imports pandas, which --help does without

    return format_of(path) is not None


def _file(value: Any, info: ValidationInfo) -> Any:
    _check_name(value, "a path")
    base = (info.context or {}).get("base")
    if isinstance(value, str | Path):
        path = Path(value).expanduser()
        return base / path if base is not None else path
    return value


def _files(value: Any, info: ValidationInfo) -> Any:
    """Split "a.csv,b.csv" and resolve each path; tables that Python hands over are kept."""
    parts = value if isinstance(value, list | tuple) else [value]
    listed = [part for one in parts for part in (_names(one) if isinstance(one, str) else [one])]
    return tuple(_file(part, info) for part in listed)


# Strict: `seeds = "5"` or `seeds = true` in a file is a slip, and typer converts options itself.
Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=1, le=LARGEST_COUNT)]
Seed = Annotated[int, Strict(), Field(ge=0, le=LARGEST_SEED)]
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Strict(), Field(gt=0, lt=1)]
UpToOne = Annotated[float, Strict(), Field(ge=0, le=1)]
BelowOne = Annotated[float, Strict(), Field(ge=0, lt=1)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Size = Annotated[str, BeforeValidator(_size), Strict()]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), Shell("NAME,...", repeated=True)]
Trackers = Annotated[
    tuple[Literal["wandb", "mlflow", "tensorboard", "trackio"], ...],
    BeforeValidator(_names),
    Shell("wandb|mlflow|tensorboard|trackio", repeated=True),
]
ClassNames = Annotated[
    tuple[str, ...], BeforeValidator(_class_names), Shell("NAME,...", repeated=True)
]
ClassMap = Annotated[
    dict[str, str], BeforeValidator(_class_map), Shell("LABEL=CLASS,...", repeated=True)
]
Numbers = Annotated[
    dict[str, int | float], BeforeValidator(_numbers), Shell("NAME=NUMBER,...", repeated=True)
]
WeakColumns = Annotated[
    list[str] | dict[str, list[str]],
    BeforeValidator(_weak_columns),
    Shell("COLUMN,...", repeated=True),
]
# A number or one word; the text of a shell is read as either. The ranges are those of the classes
# that take the numbers, which a test compares.
Penalty = Annotated[
    float | Literal["cv"],
    _number_or("cv", "a number from 0 to 1e9", lambda number: 0 <= number <= MOST_PENALTY),
    Shell("NUMBER|cv"),
]
Rate = Annotated[
    float | Literal["auto"],
    _number_or("auto", "a number above 0, at most 1", lambda number: 0 < number <= 1),
    Shell("NUMBER|auto"),
]
Clip = Annotated[
    float | Literal["none"],
    _number_or("none", "a number above 0", lambda number: number > 0),
    Shell("NUMBER|none"),
]
Bits = Annotated[Literal[4, 8], BeforeValidator(_number), Shell("4|8")]
Components = Annotated[
    int | float | Literal["mp"],
    _number_or(
        "mp",
        "a whole number above 0, a share between 0 and 1",
        lambda number: 0 < number < 1 or (isinstance(number, int) and 1 <= number <= LARGEST_COUNT),
    ),
    Shell("NUMBER|mp"),
]
AutoCount = Annotated[
    int | Literal["auto"],
    _number_or(
        "auto",
        "a whole number above 0",
        lambda number: isinstance(number, int) and 1 <= number <= LARGEST_COUNT,
    ),
    Shell("NUMBER|auto"),
]
Similarity = Annotated[
    int | float | Literal["auto"],
    _number_or("auto", "a cosine above -1, at most 1", lambda number: -1 < number <= 1),
    Shell("NUMBER|auto"),
]

# Settings of the encoders, by role; a text alone is for both.
RoleText = Annotated[
    dict[str, str], _by_role(_as_text, "a text"), Shell("[ROLE=]TEXT", repeated=True)
]
RoleCount = Annotated[
    dict[str, int],
    _by_role(_as_count, "an integer >= 1"),
    Shell("[ROLE=]NUMBER", repeated=True),
]
RoleShare = Annotated[
    dict[str, float],
    _by_role(_as_share, "a number from 0 to 1"),
    Shell("[ROLE=]NUMBER", repeated=True),
]
RoleFlag = Annotated[
    dict[str, bool],
    _by_role(_as_flag, "true or false"),
    Shell("[ROLE=]true|false", repeated=True),
]

# A condition may name a group that holds a comma: only the option is repeated.
Conditions = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Shell("CONDITION", repeated=True),
]

# In Python an encoder or an array may stand where a shell and TOML have a name or a file.
Place = Annotated[
    Any, AfterValidator(located), WithJsonSchema({"type": "string"}), Shell("PATH|NAME")
]
File = Annotated[Any, AfterValidator(_file), WithJsonSchema({"type": "string"}), Shell("FILE")]
Files = Annotated[
    tuple[Any, ...],
    BeforeValidator(_files),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
    Shell("FILE,...", repeated=True),
]

# Spelled out, since types cannot be computed; a test compares them with the registry.
PolicyName = Literal[
    "auto",
    "thompson",
    "kl_ucb",
    "ucb1",
    "overlap_ucb",
    "epsilon_greedy",
    "round_robin",
    "random",
]
