"""Types of settings: how a value is read from a shell, from TOML and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)


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
    return tuple(name.strip() for part in parts for name in part.split(",") if name.strip())


def _numbers(value: Any) -> Any:
    """Read ["web=0.1,crowd=2"] or a table of numbers; whole numbers stay whole."""
    if isinstance(value, Mapping):
        numbers = dict(value)
    else:
        pairs = [part.rpartition("=") for part in _names(value)]
        numbers = {name.strip(): _number(text.strip()) for name, _, text in pairs}
        if "" in numbers:  # a number without a name
            numbers = {"": None}
    is_number = (isinstance(n, int | float) and not isinstance(n, bool) for n in numbers.values())
    if not all(is_number):
        raise ValueError("numbers by name, NAME=NUMBER,...")
    return numbers


def _weak_columns(value: Any) -> Any:
    """Read ["p0,p1"] of one weak model, or ["small=p0,p1", "large=q0,q1"] of several."""
    if isinstance(value, Mapping):
        return {str(name): list(_names(columns)) for name, columns in value.items()}
    parts = [value] if isinstance(value, str) else list(value)
    if not any("=" in str(part) for part in parts):
        return list(_names(parts))
    models: dict[str, list[str]] = {}
    for part in parts:
        name, equals, columns = (piece.strip() for piece in str(part).partition("="))
        if not (name and equals and columns) or name in models or ";" in columns:
            raise ValueError("columns, or MODEL=COLUMN,... once per weak model")
        models[name] = list(_names(columns))
    return models


def _number(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        # A count of items stays a count: 500 is not the share 500.0.
        return int(text) if text.strip().lstrip("+-").isdigit() else float(text)
    except ValueError:
        return text


def _number_or(word: str) -> BeforeValidator:
    """Accept a number, also as text, or one word."""

    def read(value: Any) -> Any:
        number = _number(value)
        if number is None or number == word:
            return number
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"a number or {word!r}")
        return number

    return BeforeValidator(read)


def _located(value: Any, info: ValidationInfo) -> Any:
    """Resolve a path relative to the configuration file; leave other names unchanged."""
    if isinstance(value, bool | int | float):
        raise ValueError("a text")
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


def _is_table_name(path: Path) -> bool:
    from w2s_data.data.readers import format_of  # imports pandas, which --help does without

    return format_of(path) is not None


def _file(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, bool | int | float):
        raise ValueError("a path")
    base = (info.context or {}).get("base")
    if isinstance(value, str | Path):
        path = Path(value).expanduser()
        return base / path if base is not None else path
    return value


# Strict: `seeds = "5"` or `seeds = true` in a file is a slip, and typer converts options itself.
Whole = Annotated[int, Strict()]
Real = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), Shell("NAME,...", repeated=True)]
Numbers = Annotated[
    dict[str, int | float], BeforeValidator(_numbers), Shell("NAME=NUMBER,...", repeated=True)
]
WeakColumns = Annotated[
    list[str] | dict[str, list[str]],
    BeforeValidator(_weak_columns),
    Shell("COLUMN,...", repeated=True),
]
# A number or one word; the text of a shell is read as either.
Penalty = Annotated[float | Literal["cv"], _number_or("cv"), Shell("NUMBER|cv")]
Components = Annotated[int | float | Literal["mp"], _number_or("mp"), Shell("NUMBER|mp")]
AutoCount = Annotated[int | Literal["auto"], _number_or("auto"), Shell("NUMBER|auto")]
AutoNumber = Annotated[int | float | Literal["auto"], _number_or("auto"), Shell("NUMBER|auto")]

# A condition may name a group that holds a comma: only the option is repeated.
Conditions = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Shell("CONDITION", repeated=True),
]

# In Python an encoder or an array may stand where a shell and TOML have a name or a file.
Place = Annotated[
    Any, AfterValidator(_located), WithJsonSchema({"type": "string"}), Shell("PATH|NAME")
]
File = Annotated[Any, AfterValidator(_file), WithJsonSchema({"type": "string"}), Shell("FILE")]

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
