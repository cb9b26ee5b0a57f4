"""Read a table from a file, or from several that hold its rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.columnar import read_arrow, read_parquet
from w2s_data.data.readers.content import Unreadable, read_content, table_bytes, too_large
from w2s_data.data.readers.delimited import read_delimited
from w2s_data.data.readers.formats import COMPRESSIONS, DELIMITED, FORMATS, JSON, format_of, stem_of
from w2s_data.data.readers.records import read_json
from w2s_data.data.readers.table import RawTable, class_names_in, frame_of, join_frames
from w2s_data.errors import FileFormatError, listing
from w2s_data.utils.reading import check_regular, parsing

SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")  # names of the files of one data set


def read_table(path: Path, limit: MemoryLimit, shown: str | None = None) -> RawTable:
    """Read CSV, TSV, JSON, Parquet or Arrow by the file's suffix, packed or not.

    Raise FileFormatError if it is not whole, or larger than the memory limit allows.
    """
    kind = format_of(path)
    shown = shown or str(path)
    if kind is None:
        raise FileFormatError(
            f"cannot tell the format of {shown!r} from its suffix; valid: {listing(FORMATS)}, "
            f"also packed: {listing(COMPRESSIONS)}"
        )
    what = kind.lstrip(".")
    with parsing(shown, what):
        check_regular(path)
        try:
            return _read(path, kind, limit)
        except Unreadable as error:  # its line is complete, however long
            raise FileFormatError(f"cannot read {shown!r} as {what}: {error}") from error


def _read(path: Path, kind: str, limit: MemoryLimit) -> RawTable:
    name, folder = stem_of(path), path.parent
    if kind in JSON:
        return RawTable(read_json(read_content(path, limit)), name=name, folder=folder)
    notes: list[str] = []
    if kind in DELIMITED:
        table, notes = read_delimited(read_content(path, limit), kind)
    elif kind == ".parquet":
        table = read_parquet(path, limit)
    else:
        table, notes = read_arrow(path, limit)
    return RawTable(
        frame_of(table),
        name=name,
        class_names=class_names_in(table.schema),
        folder=folder,
        notes=tuple(notes),
    )


def part_note(path: Path) -> tuple[str, ...]:
    """Return a warning if a file by its name is one of several that hold the rows."""
    shard = SHARD.search(stem_of(path))
    if shard is None or int(shard[2]) < 2:
        return ()
    return (
        f"warning: {path.name!r} is one of {int(shard[2])} files of a data set; pass the folder "
        f"{path.parent.name or '.'!r} to read all of them",
    )


def read_parts(
    paths: Sequence[Path], shown: Sequence[str], limit: MemoryLimit
) -> tuple[list[RawTable], tuple[str, ...]]:
    """Read files with the same columns; return their tables and the notes on all of them.

    Raise FileFormatError for a file with other columns, or if files are missing by their names.
    """
    _check_complete(paths)
    tables: list[RawTable] = []
    n_bytes = 0
    for path, name in zip(paths, shown, strict=True):
        table = read_table(path, limit, name)
        tables.append(table)
        n_bytes += int(table.frame.memory_usage(index=False).sum())
        if n_bytes > table_bytes(limit):
            raise FileFormatError(f"cannot read all of {len(paths)} files: {too_large(limit)}")
        _check_columns(tables, paths)
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return tables, tuple(notes)


def _check_complete(paths: Sequence[Path]) -> None:
    """Raise if names such as train-00001-of-00002 show that a file is missing."""
    found: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        if shard := SHARD.search(stem_of(path)):
            key = str(path.parent / stem_of(path)[: shard.start()]), int(shard[2])
            found.setdefault(key, set()).add(int(shard[1]))
    for (name, total), numbers in found.items():
        missing = sorted(set(range(total)) - numbers)
        if missing:
            raise FileFormatError(
                f"{Path(name).name!r} has {total} files by their names, and number "
                f"{listing(missing, 5)} is missing"
            )


def _check_columns(tables: Sequence[RawTable], paths: Sequence[Path]) -> None:
    """Raise if the last table has other columns than the first one."""
    # A file without lines has no columns that could differ.
    first = next((i for i, table in enumerate(tables) if len(table.frame.columns)), None)
    if first is None or not len(tables[-1].frame.columns):
        return
    one, other = tables[first], tables[-1]
    names = f"{paths[len(tables) - 1].name!r}", f"{paths[first].name!r}"
    expected, found = set(one.frame.columns), set(other.frame.columns)
    if expected != found:
        lacks = f"lacks {listing(sorted(expected - found))}" if expected - found else ""
        adds = f"adds {listing(sorted(found - expected))}" if found - expected else ""
        raise FileFormatError(
            f"{names[0]} {' and '.join(filter(None, (lacks, adds)))}, compared with {names[1]}; "
            "files of one table need the same columns: give a pattern that matches only these, or "
            "the path of one table"
        )
    if one.class_names != other.class_names:
        raise FileFormatError(
            f"{names[0]} and {names[1]} store other class names; give the path of one of them"
        )


def joined(tables: Sequence[RawTable]) -> pd.DataFrame:
    """Return the rows of several tables, in their order."""
    return join_frames([table.frame for table in tables])
