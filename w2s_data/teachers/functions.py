"""Functions of users: found by name, in a file or an installed module."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from w2s_data.errors import InputError, first_line, unknown
from w2s_data.utils.io import digest_parts, sha256_file


def find_function(name: str) -> Callable[[Any], Any]:
    """Load FILE.py:FUNCTION or MODULE:FUNCTION; the code of the file or module is run.

    Raise InputError if there is no such file, module or function, or its code fails.
    """
    # A run records functions of Python as MODULE:FUNCTION#HASH.
    place, colon, function = name.partition("#")[0].rpartition(":")
    if not colon or not place or not function.isidentifier():
        raise InputError(
            f"rules {name!r} must be FILE.py:FUNCTION or MODULE:FUNCTION, such as 'rules.py:label'"
        )
    module = _from_file(Path(place)) if place.endswith(".py") else _imported(place)
    found = vars(module).get(function)
    if not callable(found):
        functions = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        raise InputError(f"{place}: {unknown('function', function, functions)}")
    return found  # type: ignore[no-any-return]


def code_hash(function: Any) -> str:
    """Return a hash of what a function computes, by which another one of its name is told.

    >>> code_hash(lambda x: x + 1) == code_hash(lambda x: x + 2)
    False
    """
    return digest_parts(_code_parts(getattr(function, "__code__", None)))[:16]


def _code_parts(code: CodeType | None) -> Iterator[bytes]:
    if code is None:  # an object that can be called
        return
    yield code.co_code
    yield repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a function inside, whose repr has an address
            yield from _code_parts(constant)
        else:
            yield repr(constant).encode()


def file_hash(name: str) -> str | None:
    """Return the SHA-256 of FILE in FILE.py:FUNCTION; None for a module."""
    place = name.rpartition(":")[0]
    if not place.endswith(".py"):
        return None
    _check_file(Path(place))
    return sha256_file(place)


def place_of(error: BaseException) -> str:
    """Return "FILE:LINE" of the code that raised, without the folder."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _from_file(path: Path) -> ModuleType:
    _check_file(path)
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    # Not by an importer: it could run bytecode of the file as it was a moment ago.
    with _running(str(path), path.parent):
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    return module


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"file {str(path)!r} not found; name a Python file relative to the TOML")


def _imported(name: str) -> ModuleType:
    with _running(name):
        return importlib.import_module(name)


@contextmanager
def _running(name: str, folder: Path | None = None) -> Iterator[None]:
    """Run code of a user: it finds modules beside it, and its errors become one line."""
    added = [] if folder is None else [str(folder.absolute())]
    sys.path[:0] = added
    try:
        yield
    except Exception as error:
        raise InputError(
            f"cannot load {name!r}: {type(error).__name__}: {first_line(error)} ({place_of(error)})"
        ) from error
    finally:
        for entry in added:
            sys.path.remove(entry)
