"""Parquet shards of a feature store and the manifest that names them.

A shard is written beside its final name, moved into place, and only then named in the manifest.
A file that the manifest does not name does not exist for the store.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from w2s_data.encoders.base import Kind
from w2s_data.errors import StoreError, listing
from w2s_data.utils.constants import LARGEST_COUNT
from w2s_data.utils.io import json_bytes, jsonable
from w2s_data.utils.reading import parsing
from w2s_data.utils.storage import Storage
from w2s_data.utils.typing import AnyArray, FloatArray

logger = logging.getLogger("w2s_data")

SCHEMA_VERSION = 1  # of the manifest; a store of another version is refused
MANIFEST = "manifest.json"
REPAIR = "pass its encoder to embed again"  # in errors of a shard
KEY_BYTES = 16
# 16 raw bytes per item: numpy sorts and compares fixed-width strings, but not void types.
KEY_DTYPE = np.dtype(f"S{KEY_BYTES}")


@dataclass(frozen=True)
class Shard:
    """One file of the store: its rows, its hash, and the hash of its keys."""

    file: str
    rows: int
    sha256: str
    keys_sha256: str
    cut: int = 0  # texts that were too long for the encoder
    limit: int | None = None  # tokens that were kept of those
    flat: int = 0  # images that are almost black, or of one colour


@dataclass(frozen=True)
class Manifest:
    """Content of a store: how its vectors were made, and its shards in stored order."""

    kind: Kind
    encoder: dict[str, Any]
    dim: int | None = None
    shards: tuple[Shard, ...] = ()

    @classmethod
    def read(cls, folder: Storage) -> Self:
        """Read the manifest of a folder.

        Raise StoreError if it is missing, damaged or of another version.
        """
        if MANIFEST not in folder.names():
            raise StoreError(f"{str(folder)!r} is not a feature store: it has no {MANIFEST}")
        with parsing(
            f"{folder}/{MANIFEST}",
            "the manifest of a feature store",
            error=StoreError,
            advice="embed into another folder, or with overwrite=True",
        ):
            content = folder.read(MANIFEST)
            version = json.loads(content)["schema"]
            if version != SCHEMA_VERSION:
                raise StoreError(
                    f"feature store {str(folder)!r} has schema version {version!r}; "
                    f"this release reads version {SCHEMA_VERSION}"
                )
            # Strict: a text is no number of rows. Further keys are ignored.
            manifest = TypeAdapter(cls).validate_json(content, strict=True)
            manifest.check()
            return manifest

    def check(self) -> None:
        """Raise ValueError where the entries contradict themselves."""
        files = [shard.file for shard in self.shards]
        if len(set(files)) < len(files) or not all(map(is_shard_name, files)):
            raise ValueError(f"its shards are {listing(files, 3)}")
        sizes = [shard.rows for shard in self.shards] + ([self.dim or 0] if files else [])
        if not all(0 < size <= LARGEST_COUNT for size in sizes):
            raise ValueError("a shard without rows or columns")

    def write(self, folder: Storage) -> None:
        """Write the manifest, atomically."""
        content = {"schema": SCHEMA_VERSION, "dtype": "float32", **jsonable(self)}
        folder.write(MANIFEST, json_bytes(content))


class Shards:
    """Read the shards of one folder, each checksum verified once, and append to them."""

    def __init__(self, folder: Storage, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._verified: set[str] = set()
        self._keys: dict[str, AnyArray] = {}
        self._last: tuple[str, FloatArray] | None = None

    @property
    def starts(self) -> AnyArray:
        """First stored row of each shard, and the number of rows at the end."""
        return np.cumsum([0, *(shard.rows for shard in self.manifest.shards)])

    @property
    def keys(self) -> AnyArray:
        """Keys of all items in stored order."""
        parts = [self._keys_of(shard) for shard in self.manifest.shards]
        return np.concatenate([np.empty(0, KEY_DTYPE), *parts])

    def vectors(self, index: int) -> FloatArray:
        """Return the vectors of one shard, read-only; the last shard read stays in memory.

        Raise StoreError if the shard is missing or damaged.
        """
        shard = self.manifest.shards[index]
        if self._last is None or self._last[0] != shard.file:
            column = self._read_column(shard, "vector")
            with self._parsing(shard):
                flat = column.flatten().to_numpy(zero_copy_only=True)  # hence read-only
                self._last = shard.file, flat.reshape(shard.rows, self.manifest.dim)
        return self._last[1]

    def is_sound(self, shard: Shard) -> bool:
        """Read a shard's file again; return whether its checksum matches."""
        try:
            self._bytes(shard, verify=True)
        except StoreError:
            return False
        return True

    def clean(self) -> None:
        """Drop damaged shards from the manifest, and remove files that it does not name."""
        sound = []
        for shard in self.manifest.shards:
            try:
                self._keys_of(shard)
            except StoreError as error:
                logger.warning("%s (%d rows)", error, shard.rows)
            else:
                sound.append(shard)
        if len(sound) < len(self.manifest.shards):
            self.manifest = replace(self.manifest, shards=tuple(sound))
            self.manifest.write(self.folder)
        # A file without an entry was written by a process killed before its manifest.
        named = {shard.file for shard in sound}
        for name in self.folder.names():
            if is_shard_name(name) and name not in named:
                self.folder.remove(name)
        self.folder.tidy()

    def append(self, keys: AnyArray, vectors: FloatArray, **counts: Any) -> None:
        """Write one shard, then name it in the manifest; `counts` are fields of `Shard`."""
        dim = vectors.shape[1]
        if self.manifest.dim not in (None, dim):
            raise StoreError(
                f"the encoder gave {dim} dimensions; the store {str(self.folder)!r} has "
                f"{self.manifest.dim}"
            )
        # The lowest free number, so that a recomputed shard keeps its place in the order.
        taken = {shard.file for shard in self.manifest.shards}
        number = next(i for i in range(len(taken) + 1) if _file_name(i) not in taken)
        content = _encode_parquet(keys, vectors)
        self.folder.write(_file_name(number), content.to_pybytes())
        shard = Shard(
            file=_file_name(number),
            rows=len(keys),
            sha256=hashlib.sha256(content).hexdigest(),
            keys_sha256=hashlib.sha256(keys.tobytes()).hexdigest(),
            **counts,
        )
        shards = sorted([*self.manifest.shards, shard], key=lambda shard: shard.file)
        self.manifest = replace(self.manifest, dim=dim, shards=tuple(shards))
        self.manifest.write(self.folder)
        # Just written: no need to read the shard back.
        self._verified.add(shard.file)
        self._keys[shard.file] = keys

    def _keys_of(self, shard: Shard) -> AnyArray:
        if shard.file not in self._keys:
            column = self._read_column(shard, "key")
            with self._parsing(shard):
                raw = np.frombuffer(column.buffers()[1], dtype=KEY_DTYPE)
                # A copy, since a view of the few keys would keep the whole file in memory.
                self._keys[shard.file] = raw[column.offset : column.offset + shard.rows].copy()
        return self._keys[shard.file]

    def _read_column(self, shard: Shard, name: str) -> Any:
        content = pa.BufferReader(self._bytes(shard, verify=shard.file not in self._verified))
        with self._parsing(shard):
            column = pq.ParquetFile(content).read(columns=[name])[name].combine_chunks()
            if len(column) != shard.rows or column.null_count:
                raise ValueError(f"{len(column)} rows, where the manifest has {shard.rows}")
            return column

    def _parsing(self, shard: Shard) -> AbstractContextManager[None]:
        path = f"{self.folder}/{shard.file}"
        return parsing(path, "a shard", error=StoreError, advice=REPAIR)

    def _bytes(self, shard: Shard, *, verify: bool) -> bytes:
        path = f"{self.folder}/{shard.file}"
        try:
            content = self.folder.read(shard.file)
        except OSError as error:
            raise StoreError(
                f"shard {path!r} cannot be read ({error.strerror or error}); {REPAIR}"
            ) from error
        if verify and hashlib.sha256(content).hexdigest() != shard.sha256:
            raise StoreError(
                f"shard {path!r} is damaged: its checksum is not the manifest's; {REPAIR}"
            )
        self._verified.add(shard.file)
        return content


def is_shard_name(name: str) -> bool:
    """Return whether a file name is that of a shard.

    >>> is_shard_name("part-00012.parquet"), is_shard_name("items.parquet")
    (True, False)
    """
    return re.fullmatch(r"part-\d+\.parquet", name) is not None


def _file_name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _encode_parquet(keys: AnyArray, vectors: FloatArray) -> pa.Buffer:
    """Encode keys and vectors as one row group, which pandas reads as a column of lists."""
    # Nothing is nullable, which doubles the speed of reading.
    n_rows, dim = vectors.shape
    element = pa.field("element", pa.float32(), nullable=False)
    schema = pa.schema(
        [
            pa.field("key", pa.binary(KEY_BYTES), nullable=False),
            pa.field("vector", pa.list_(element, dim), nullable=False),
        ]
    )
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = [
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(KEY_BYTES), n_rows, [None, pa.py_buffer(keys.tobytes())]
        ),
        pa.FixedSizeListArray.from_arrays(flat, type=schema.field("vector").type),
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        sink,
        row_group_size=n_rows,  # one group, so that a column is one buffer
        compression="none",  # floats do not compress
        use_dictionary=False,
        write_statistics=False,
    )
    return sink.getvalue()
