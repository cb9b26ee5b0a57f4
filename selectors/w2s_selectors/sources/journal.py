"""Batches on disk: paid items are written before anything else happens to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_data.errors import FileFormatError, InputError
from w2s_data.utils.io import atomic_path, digest_parts
from w2s_data.utils.reading import reading
from w2s_data.utils.typing import AnyArray
from w2s_selectors.sources.base import Batch

METADATA = b"w2s"  # key of the text in the metadata of the schema
CHECKSUM = b"w2s_checksum"  # of the batch and the text, since Parquet verifies neither
# Kind of an item -> its types, and the way into a cell and back: Arrow has no paths and arrays.
_KINDS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "text": (str, str, str),
    "bytes": (bytes, bytes, bytes),
    "path": (os.PathLike, os.fspath, Path),
    "vector": (np.ndarray | list | tuple, list, np.array),
}


def write_batch(path: Path, batch: Batch, metadata: str = "") -> None:
    """Write a batch and a text beside it into one Parquet file, atomically."""
    columns: dict[str, Any] = {"id": pa.array(batch.ids, pa.string())}
    if batch.items is not None:
        kinds = [_kind(item) for item in batch.items]
        for kind in sorted(set(kinds)):
            # One column per kind: a Parquet column has one type, a batch may mix kinds of items.
            columns[kind] = [
                _KINDS[kind][1](item) if kind == of else None
                for item, of in zip(batch.items, kinds, strict=True)
            ]
    if batch.strong_features is not None:
        columns["strong"] = _lists(batch.strong_features, np.float32)
    if batch.weak_proba is not None:
        columns["weak_proba"] = _lists(batch.weak_proba, np.float64)
    if batch.trust is not None:
        columns["trust"] = pa.array(batch.trust, pa.float64(), from_pandas=False)
    checksum = _checksum(batch, metadata)
    metadata_of = {METADATA: metadata.encode(), CHECKSUM: checksum.encode()}
    table = pa.table(columns).replace_schema_metadata(metadata_of)
    with atomic_path(path) as partial:
        # So that damage is found before a damaged page is decoded.
        pq.write_table(table, partial, write_page_checksum=True)


def read_batch(
    path: Path, error: type[InputError] = FileFormatError, advice: str = ""
) -> tuple[Batch, str]:
    """Read a batch and the text beside it; raise `error` if the file is damaged."""
    # Another Parquet file may be whole and still not be a batch: it lacks ids or metadata.
    with reading(path, "a batch of items", error=error, advice=advice):
        table = pq.read_table(path, page_checksum_verification=True)
        columns = table.to_pydict()
        ids = tuple(columns.pop("id"))
        metadata = table.schema.metadata[METADATA].decode()
        numbers = (columns.pop(name, None) for name in ("strong", "weak_proba", "trust"))
        strong, proba, trust = numbers
        batch = Batch(
            ids,
            items=tuple(_items(columns, len(ids))) if columns else None,
            strong_features=None if strong is None else np.array(strong, np.float32),
            weak_proba=None if proba is None else np.array(proba, np.float64),
            trust=None if trust is None else np.array(trust, np.float64),
        )
        if table.schema.metadata[CHECKSUM].decode() != _checksum(batch, metadata):
            raise ValueError("it has changed since it was written")
    return batch, metadata


def _checksum(batch: Batch, text: str) -> str:
    parts = [text.encode(), *(name.encode() for name in batch.ids)]
    for item in batch.items or ():
        kind = _kind(item)
        vector = np.asarray(item, dtype=np.float64).tobytes() if kind == "vector" else b""
        parts += [kind.encode(), vector or os.fsencode(item)]
    for rows, dtype in ((batch.strong_features, np.float32), (batch.weak_proba, np.float64)):
        parts.append(b"" if rows is None else np.asarray(rows, dtype=dtype).tobytes())
    if batch.trust is not None:
        parts.append(np.asarray(batch.trust, dtype=np.float64).tobytes())
    return digest_parts(parts)


def _lists(rows: AnyArray, dtype: type[np.generic]) -> Any:
    # Fixed-size lists from one flat buffer: no Python object per number.
    flat = pa.array(np.ascontiguousarray(rows, dtype=dtype).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])


def _items(columns: dict[str, Sequence[Any]], n: int) -> list[Any]:
    items = [None] * n
    for kind, values in columns.items():
        for row, value in enumerate(values):
            if value is not None:
                items[row] = _KINDS[kind][2](value)
    return items


def _kind(item: Any) -> str:
    for kind, (types, *_) in _KINDS.items():
        if isinstance(item, types):
            array = np.asarray(item) if kind == "vector" else None
            if array is None or (array.ndim == 1 and np.issubdtype(array.dtype, np.number)):
                return kind
    raise InputError(
        f"an item must be a text, bytes, a path or a vector to be stored; got {item!r:.60}"
    )
