"""Errors and warnings: one line that names the cause and the next step.

Every class below `InputError` is a `ValueError`; the shell turns it into exit code 2
and prints the line without a traceback.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from types import ModuleType


class InputError(ValueError):
    """An input cannot be used; the message is one line to act on."""


class ColumnError(InputError):
    """A column is missing, misspelt or holds the wrong kind of value."""


class FileFormatError(InputError):
    """A file is missing, truncated or not in the format its name promises."""


class EmptyDataError(InputError):
    """A table or a split holds no rows."""


class UnfilledError(InputError):
    """A table to fill in holds no label."""


class DuplicateIdError(InputError):
    """Two rows carry the same id."""


class SplitError(InputError):
    """The splits cannot serve their purpose: a single class, no labels, an empty pool."""


class FeatureError(InputError):
    """Features hold NaN, infinities or zero rows, or their shape does not fit."""


class ProbabilityError(InputError):
    """Weak probabilities leave [0, 1] or do not sum to one."""


class EncoderError(InputError):
    """An encoder cannot be loaded, or an item cannot be encoded."""


class StoreError(InputError):
    """A feature store is damaged or belongs to another encoder."""


class RunError(InputError):
    """A run directory is damaged or belongs to another data set."""


class BusyError(InputError):
    """Another process is writing a run, a feature store or a checkpoint."""


class EngineError(InputError):
    """A cluster cannot be reached, its workers die or wait, or they have other versions."""


class NotApplicableError(InputError):
    """A stage does not apply to the data; other stages may."""


class UnscoredError(RunError, NotApplicableError):
    """A stage requires scores, and the run has none of its present items and features."""


class WriteError(InputError, OSError):
    """A file cannot be written: the disk is full, or the folder is read-only."""


class MissingExtraError(ImportError):
    """An optional dependency is missing; the message names the command that installs it."""


class DegenerateDataWarning(UserWarning):
    """The input is valid but leaves a result undefined or empty; the message says which."""


class UndertrainedWarning(DegenerateDataWarning):
    """The loss of a training was still falling at its end."""


def listing(names: Iterable[object], limit: int = 12, *, quoted: bool = True) -> str:
    """Join names by commas, cut after `limit`; in quotes unless they are words of the sentence.

    >>> listing(["text", "label"])
    "'text', 'label'"
    >>> listing(range(5), limit=3)
    '0, 1, 2 and 2 more'
    """
    all_names = [repr(name) if quoted else str(name) for name in names]
    shown = ", ".join(all_names[:limit])
    return shown if len(all_names) <= limit else f"{shown} and {len(all_names) - limit} more"


def rows(indices: Iterable[int], limit: int = 8) -> str:
    """Name rows (counted from 0) for an error message.

    >>> rows([4])
    'row 4'
    >>> rows([1, 5, 9], limit=2)
    'rows 1, 5 and 1 more'
    """
    found = [int(i) for i in indices]  # the repr of numpy's integers names their type
    return f"{'row' if len(found) == 1 else 'rows'} {listing(found, limit)}"


def counted(n: int, one: str, many: str = "") -> str:
    """Say how many there are of something, in the plural unless it is one.

    >>> counted(1, "image"), counted(2000, "image"), counted(2, "class", "classes")
    ('1 image', '2,000 images', '2 classes')
    """
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def first_line(message: object, limit: int = 200) -> str:
    """Return the first line of a message, cut to a length that fits a terminal.

    >>> first_line(RuntimeError("CUDA error: out of memory\\nCompile with ..."))
    'CUDA error: out of memory'
    """
    lines = str(message).strip().splitlines()
    # Some errors, such as KeyboardInterrupt, have no message.
    line = lines[0] if lines else type(message).__name__
    return line if len(line) <= limit else f"{line[:limit]}..."


def unknown(what: str, name: str, valid: Sequence[str]) -> str:
    """Return a message for an unknown name, with the nearest valid one.

    >>> unknown("column", "lable", ["text", "label"])
    "there is no column 'lable'; did you mean 'label'? Valid: 'text', 'label'"
    """
    # A lower cutoff than the default .6: "conf" should find "confidence".
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if not valid:
        return f"there is no {what} {name!r}"
    hint = f"; did you mean {close[0]!r}? Valid: " if close else "; valid: "
    return f"there is no {what} {name!r}{hint}{listing(valid)}"


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency; raise with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, extra) from error


def find(module: str, extra: str) -> None:
    """Raise as `require` does if an optional dependency is missing, but import nothing."""
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra)


def _missing(module: str, extra: str) -> MissingExtraError:
    package = module.partition(".")[0]
    return MissingExtraError(
        f"this needs {package!r}, which is not installed: pip install 'w2s-data[{extra}]'"
    )
