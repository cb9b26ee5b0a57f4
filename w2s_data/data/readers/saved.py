"""Read folders that `save_to_disk` of the `datasets` library wrote, without that library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.files import joined, read_parts
from w2s_data.data.readers.parts import join_splits
from w2s_data.data.readers.table import RawTable, class_names_of
from w2s_data.errors import FileFormatError, listing
from w2s_data.utils.encoding import decode

_DICT = "dataset_dict.json"
_STATE = "state.json"
_INFO = "dataset_info.json"
SAVED_FILES = (_DICT, _STATE, _INFO)


def is_saved(folder: Path) -> bool:
    """Return whether a folder holds a saved data set, or a dictionary of them."""
    return (folder / _DICT).is_file() or (folder / _STATE).is_file()


def read_saved(folder: Path, limit: MemoryLimit, shown: str) -> RawTable:
    """Read all files of a saved data set; the splits of a dictionary are kept as of the hub.

    Raise FileFormatError if a file is missing, or the descriptions are damaged.
    """
    name = folder.resolve().name
    if not (folder / _DICT).is_file():
        return _read_one(folder, limit, shown, name)
    names = _json(folder / _DICT, shown).get("splits")
    if not isinstance(names, list) or not names:
        raise FileFormatError(f"{_DICT} of {shown!r} names no splits; save the data set again")
    parts = {split: _read_one(folder / split, limit, f"{shown}/{split}", split) for split in names}
    frames = {split: part.frame for split, part in parts.items()}
    first = next(iter(parts.values()))
    notes = tuple(dict.fromkeys(note for part in parts.values() for note in part.notes))
    return join_splits(frames, name, first.class_names, notes)


def _read_one(folder: Path, limit: MemoryLimit, shown: str, name: str) -> RawTable:
    state = _json(folder / _STATE, shown)
    files = [entry.get("filename") for entry in state.get("_data_files") or [] if entry]
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise FileFormatError(
            f"{shown!r} keeps a selection of rows apart, as old versions of datasets did; load it "
            "and save it again"
        )
    if not all(isinstance(file, str) and Path(file).name == file for file in files):
        raise FileFormatError(f"{_STATE} of {shown!r} does not name its files; save it again")
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise FileFormatError(
            f"{shown!r} lacks {len(missing)} of its {len(files)} files ({listing(missing, 3)}); "
            "copy the whole folder"
        )
    tables, notes = read_parts(
        [folder / file for file in files], [f"{shown}/{file}" for file in files], limit
    )
    info = _json(folder / _INFO, shown) if (folder / _INFO).is_file() else {}
    class_names = tables[0].class_names if tables else class_names_of(info.get("features"))
    frame = joined(tables) if tables else pd.DataFrame()
    split = state.get("_split")
    more = _count_note(info, split, len(frame))
    return RawTable(frame, name=name, class_names=class_names, folder=folder, notes=notes + more)


def _count_note(info: Mapping[str, Any], split: Any, n_rows: int) -> tuple[str, ...]:
    """Return a note where the rows are not as many as the description states."""
    stated = (info.get("splits") or {}).get(split) if isinstance(split, str) else None
    count = stated.get("num_examples") if isinstance(stated, dict) else None
    if not isinstance(count, int) or count == n_rows:
        return ()
    # No error, since `filter` and `select` of the library leave the old count there.
    return (
        f"split {split!r} held {count:,} rows when it was published, and holds {n_rows:,} here",
    )


def _json(path: Path, shown: str) -> dict[str, Any]:
    try:
        value = json.loads(decode(path.read_bytes()))
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"cannot read {path.name} of {shown!r}: {error}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{path.name} of {shown!r} is not a JSON object; save it again")
    return value
