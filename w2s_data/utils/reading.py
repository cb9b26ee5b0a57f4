"""Read what others wrote: whatever goes wrong is one error that names the file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from w2s_data.errors import FileFormatError, InputError, MissingExtraError, first_line

# Errors of a parser that met another structure than it was written for; their own words, such as
# "'int' object is not subscriptable", would tell a user nothing.
_STRUCTURAL = (TypeError, AttributeError, IndexError, AssertionError)


@contextmanager
def reading(
    path: str | os.PathLike[str],
    kind: str,
    *,
    error: type[InputError] = FileFormatError,
    advice: str = "",
) -> Iterator[None]:
    """Turn every failure of a block that reads a file into one error of one line.

    Parameters
    ----------
    path : path
        Anything but a regular file is refused before the block: a pipe or a device may never end.
    kind : str
        The expected content, to follow "cannot read ... as".
    error : type of InputError
        Errors of bad input that the block itself raises pass through unchanged.
    advice : str
        The next step, to end the line.

    Examples
    --------
    >>> with reading("nowhere.json", "JSON"):
    ...     pass
    Traceback (most recent call last):
    w2s_data.errors.FileFormatError: cannot read 'nowhere.json' as JSON: no such file or directory
    """
    with parsing(os.fspath(path), kind, error=error, advice=advice):
        check_regular(path)
        yield


@contextmanager
def parsing(
    name: str, kind: str, *, error: type[InputError] = FileFormatError, advice: str = ""
) -> Iterator[None]:
    """Turn every failure of a block that parses content into one error, as `reading` does.

    >>> import json
    >>> with parsing("s3://bucket/a.json", "JSON", advice="write it again"):
    ...     json.loads("{")["schema"]
    Traceback (most recent call last):
    w2s_data.errors.FileFormatError: cannot read 's3://bucket/a.json' as JSON: Expecting property
    name enclosed in double quotes: line 1 column 2 (char 1); write it again
    """
    try:
        yield
    except (InputError, MissingExtraError):
        raise
    except Exception as reason:  # parsers of damaged bytes raise nearly everything
        ending = f"; {advice}" if advice else ""
        raise error(f"cannot read {name!r} as {kind}: {reason_of(reason)}{ending}") from reason


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise an OSError unless the path is a file with content of its own."""
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is a pipe or a device; copy its content into a file")


def reason_of(error: Exception) -> str:
    """Say in a few words why something could not be read.

    >>> reason_of(KeyError("schema"))
    "it has no 'schema'"
    >>> reason_of(RecursionError("maximum recursion depth exceeded"))
    'it is nested too deeply'
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, _STRUCTURAL):
        return f"its structure is another one ({first_line(error)})"
    return first_line(_problem(error) or error)


def _problem(error: Any) -> str:
    """Return the first problem that pydantic found, with its place; else an empty text."""
    if not hasattr(error, "errors"):
        return ""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"])) or "the content"
    return f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}"
