"""Read a table from whatever names it: a file, a folder, a pattern, a URL, the hub."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
import pyarrow as pa

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.folders import natural_order, read_files, read_path
from w2s_data.data.readers.formats import format_of
from w2s_data.data.readers.hub import read_hub, read_one, read_splits
from w2s_data.data.readers.saved import SAVED_FILES
from w2s_data.data.readers.table import RawTable, frame_of, with_index
from w2s_data.errors import FileFormatError, InputError
from w2s_data.utils.storage import is_pattern, is_url, local_copy

# Suffixes of files that this module does not read: a missing one is not looked for on the hub,
# which takes half a minute without a network.
OTHER_SUFFIXES = (
    *(".zip", ".tar", ".7z", ".rar", ".xlsx", ".xls", ".ods", ".txt", ".npy", ".npz", ".pkl"),
    *(".pdf", ".xml", ".html", ".db", ".sqlite", ".toml", ".yaml", ".yml"),
)


def read_raw(data: Any, memory: MemoryLimit | None = None) -> RawTable:
    """Read a table file, a folder, pattern or URL of some, images, a table or a hub data set.

    Raise FileFormatError if nothing of that name exists, a file is not what its name promises, or
    the table does not fit in a quarter of the memory limit.
    """
    if isinstance(data, pd.DataFrame):
        frame, notes = with_index(data)
        return RawTable(frame, notes=notes)
    limit = memory or MemoryLimit.parse(None)
    if not isinstance(data, str | Path):
        return _read_object(data, limit)
    if is_url(data):
        return read_url(str(data), limit)
    path = Path(data).expanduser()
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long
        raise FileFormatError(f"{str(data)[:80]!r} is not a path: {error.strerror}") from error
    if exists:
        return read_path(path, limit)
    name = str(data)
    if is_pattern(name):
        return _read_pattern(path, limit)
    # A name with the suffix of a table is a path; the hub has NAME or OWNER/NAME, with :CONFIG.
    is_file_name = isinstance(data, Path) or format_of(path) is not None
    is_file_name |= path.suffix.lower() in OTHER_SUFFIXES
    if is_file_name or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", name):
        raise FileFormatError(_no_such_file(path))
    return read_hub(name, limit)


def _read_object(data: Any, limit: MemoryLimit) -> RawTable:
    """Read a table in memory: of Arrow, Polars and the like, or of the `datasets` library."""
    if (
        isinstance(data, Mapping)
        and data
        and all(hasattr(part, "with_format") for part in data.values())
    ):
        return read_splits(data, "data", limit)
    if hasattr(data, "with_format"):
        return read_one(data, "data", limit)
    if hasattr(data, "__arrow_c_stream__"):
        return RawTable(frame_of(pa.table(data)))
    lazy = "; collect() it first" if hasattr(data, "collect") else ""
    raise InputError(
        "data must be a path, a name, or a table of pandas, Polars, Arrow or datasets; got "
        f"{type(data).__name__}{lazy}"
    )


def read_url(url: str, limit: MemoryLimit) -> RawTable:
    """Read a table file at a URL, or the tables of a folder or pattern there.

    Image paths in the files are paths of this machine.
    """
    # Copied to the disk, from which Arrow maps them into memory.
    with local_copy(url, _is_table) as place:
        table = read_path(place, limit, shown=url)
        is_file = place.is_file()
    last = PurePosixPath(url.rstrip("/"))
    # A pattern is called after the folder it picks from, as on this machine.
    folder = last.parent if is_pattern(last.name) else last
    return replace(table, folder=None, name=table.name if is_file else folder.name)


def _is_table(name: str) -> bool:
    return format_of(Path(name)) is not None or name in SAVED_FILES


def _read_pattern(path: Path, limit: MemoryLimit) -> RawTable:
    """Read the tables that match a pattern such as data/part-*.parquet as one."""
    pattern = str(path)
    found = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    files = natural_order(match for match in found if match.is_file())
    tables = [match for match in files if format_of(match)]
    if not tables:
        raise FileFormatError(f"no table file matches {pattern!r}")
    root = Path(os.path.commonpath([match.parent for match in tables]))
    name = root.resolve().name
    return read_files(tables, root, limit, name, shown=str(root))


def _no_such_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"file {str(path)!r} not found: folder {str(path.parent)!r} does not exist"
    tables = sorted(p.name for p in path.parent.iterdir() if p.is_file() and format_of(p))
    close = difflib.get_close_matches(path.name, tables, n=1, cutoff=0.5)
    return f"file {str(path)!r} not found" + (f"; did you mean {close[0]!r}?" if close else "")
