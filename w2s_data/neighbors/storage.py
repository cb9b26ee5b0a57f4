"""Indexes on disk: the index itself, and a JSON record that vouches for it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from w2s_data.compute import faiss as _faiss
from w2s_data.errors import StoreError, first_line
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.io import atomic_path, sha256_file, write_json
from w2s_data.utils.reading import reading

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class _Parameters:
    metric: Literal["cosine", "inner_product", "l2"]


@dataclass(frozen=True)
class _Record:
    """Types of what a record must hold."""

    parameters: _Parameters
    kind: Literal["flat", "ivf", "hnsw"]
    shape: tuple[int, int]
    fingerprint: str
    sha256: str
    n_lists: int | None
    n_probe: int | None
    recall: float | None
    bits: int | None


def write_index(file: Path, index: Any, record: dict[str, Any]) -> None:
    """Write an index, then its record with the checksum of the index; each is whole or absent."""
    with atomic_path(file) as partial:
        _faiss.write_index(index, os.fspath(partial))
    versions = {"schema": SCHEMA_VERSION, "faiss": _faiss.faiss_status()[0]}
    write_json(record_path(file), versions | record | {"sha256": sha256_file(file)})


def read_index(file: Path, features: Any, metric: str | None) -> tuple[Any, dict[str, Any]]:
    """Return an index and its record; refuse that of other features, and of another metric."""
    record = _read_record(file)
    built = record["parameters"]["metric"]
    if metric not in (None, built):
        raise StoreError(
            f"the index {str(file)!r} was built with metric {built!r}, not {metric!r}: fit a new "
            "one"
        )
    if features is not None and fingerprint(features) != record["fingerprint"]:
        shape, given = tuple(record["shape"]), as_feature_matrix(features).shape
        raise StoreError(
            f"the index {str(file)!r} (shape {shape}) was built from other features than "
            f"these (shape {given}): fit a new one"
        )
    try:
        return _faiss.read_index(os.fspath(file)), record
    except RuntimeError as error:
        raise StoreError(
            f"faiss cannot read the index {str(file)!r}: {first_line(error)}"
        ) from error


def record_path(file: Path) -> Path:
    """Return the path of the record of a saved index."""
    return file.with_name(file.name + ".json")


def _read_record(file: Path) -> dict[str, Any]:
    path = record_path(file)
    for needed in (file, path):
        if not needed.is_file():
            raise StoreError(f"there is no saved index: {str(needed)!r} is missing")
    with reading(path, "the record of an index", error=StoreError, advice="fit a new one"):
        content = path.read_bytes()
        record: dict[str, Any] = json.loads(content)
        if (version := record["schema"]) != SCHEMA_VERSION:
            raise StoreError(
                f"the index {str(file)!r} has schema version {version!r}; this release reads "
                f"version {SCHEMA_VERSION}"
            )
        if sha256_file(file) != record["sha256"]:
            raise StoreError(
                f"the index {str(file)!r} is damaged: its checksum is not the record's"
            )
        TypeAdapter(_Record).validate_json(content, strict=True)
        return record


def fingerprint(features: Any) -> str:
    """Return the SHA-256 of the shape and the rows in float32; blocks do not matter."""
    matrix = as_feature_matrix(features)
    digest = start_fingerprint(matrix.shape)
    for _, block in matrix.blocks():
        digest.update(np.ascontiguousarray(block))
    return str(digest.hexdigest())


def start_fingerprint(shape: tuple[int, int]) -> Any:
    """Return a hash of the shape, to be updated with the rows."""
    return hashlib.sha256(f"float32 {shape[0]} {shape[1]}\n".encode())
