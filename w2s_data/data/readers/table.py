"""Tables as they were read, and frames of Arrow's tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from w2s_data.data.readers.content import Unreadable
from w2s_data.errors import listing
from w2s_data.utils.typing import AnyArray

EXACT = 2**53  # floats hold each whole number up to it


@dataclass(frozen=True)
class RawTable:
    """A table as it was read, with the facts that its format states about the columns."""

    frame: pd.DataFrame
    name: str = "data"
    roles: Mapping[str, str] = field(default_factory=dict)  # e.g. the class folder is the label
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # behind class codes
    folder: Path | None = None  # of relative item paths
    fixed_splits: AnyArray | None = None  # that came with the data; None where a row has none
    notes: tuple[str, ...] = ()


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return the frame of an Arrow table; a named index of pandas is a column.

    Raise Unreadable if a column name is repeated.
    """
    names = table.column_names
    if len(set(names)) < len(names):
        repeated = sorted(name for name, count in Counter(names).items() if count > 1)
        raise Unreadable(f"it has more than one column {listing(repeated)}; rename all but one")
    index = index_columns(table.schema)
    # Counted, since pandas stores an index that is a range by its bounds alone.
    ranges = {name: _range(bounds) for name, bounds in index.items() if bounds is not None}
    unnamed = [n for n in index if n.startswith("__index_level_") and n in names]
    table = table.drop_columns(unnamed)
    frame = _with_exact_integers(table)
    for name, values in ranges.items():
        if name not in frame.columns and len(values) == len(frame):
            frame.insert(0, name, values)
    return frame


def index_columns(schema: pa.Schema) -> dict[str, Mapping[str, Any] | None]:
    """Return the columns that were an index of pandas, and the bounds of a named range."""
    try:
        stored = (schema.pandas_metadata or {}).get("index_columns", [])
    except ValueError:  # damaged metadata; the columns themselves are whole
        return {}
    found: dict[str, Mapping[str, Any] | None] = {}
    for entry in stored:
        if isinstance(entry, str):
            found[entry] = None
        elif isinstance(entry, dict) and entry.get("name"):
            found[str(entry["name"])] = entry
    return found


def _range(bounds: Mapping[str, Any]) -> AnyArray:
    return np.arange(bounds.get("start", 0), bounds.get("stop", 0), bounds.get("step", 1))


def _with_exact_integers(table: pa.Table) -> pd.DataFrame:
    """Convert to pandas; whole numbers beside missing ones stay exact, though not floats."""
    # Without pandas' metadata, which would take the index out of the columns.
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    for name in table.column_names:
        column = table[name]
        if not column.null_count or not pa.types.is_integer(column.type):
            continue
        bounds = pc.min_max(column).as_py()
        if max(abs(bounds["min"] or 0), abs(bounds["max"] or 0)) >= EXACT:
            frame[name] = pd.Series(column.to_pylist(), dtype=object)
    return frame


def with_index(frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a frame whose named index levels are columns, and a note on one left out."""
    named = [name for name in frame.index.names if name is not None]
    kept = [name for name in named if name not in frame.columns]
    # By position, since two unnamed levels share their name.
    levels = {name: frame.index.get_level_values(frame.index.names.index(name)) for name in kept}
    plain = frame.reset_index(drop=True)
    for name, values in reversed(levels.items()):
        plain.insert(0, name, values)
    if named or isinstance(frame.index, pd.RangeIndex) or frame.index.dtype.kind in "iu":
        return plain, ()
    return plain, ("the index has no name and is left out; name it to use it as a column",)


def class_names_in(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names that the `datasets` library stores in a file's metadata."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return {}
    try:
        features = json.loads(stored).get("info", {}).get("features") or {}
    except (ValueError, AttributeError):
        return {}
    return class_names_of(features)


def class_names_of(features: Any) -> dict[str, tuple[str, ...]]:
    """Return the class names among the features of a data set of the `datasets` library."""
    if not isinstance(features, dict):
        return {}
    return {
        column: tuple(map(str, feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def join_frames(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put frames below each other; whole numbers stay exact beside missing ones."""
    if len(frames) < 2:
        return frames[0] if frames else pd.DataFrame()
    types = [frame.dtypes for frame in frames]
    for name in {name for frame in frames for name in frame.columns}:
        kinds = {dtypes[name].kind if name in dtypes else "f" for dtypes in types}
        for frame in frames if "f" in kinds and kinds & {"i", "u"} else ():
            is_integer = name in frame and frame[name].dtype.kind in "iu"
            if is_integer and (frame[name].abs() >= EXACT).any():
                frame[name] = frame[name].astype(object)
    return pd.concat(frames, ignore_index=True)
