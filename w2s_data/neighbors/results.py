"""What a `NeighborIndex` answers and what it leaves on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data.errors import FileFormatError, StoreError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.io import read_json, sha256_file
from w2s_data.utils.typing import FloatArray, IntArray

Metric = Literal["cosine", "inner_product", "l2"]
SCHEMA_VERSION = 1


@dataclass(frozen=True, repr=False)
class Neighbors:
    """The k nearest neighbours of n points, nearest first.

    Attributes
    ----------
    scores : float32 array (n, k)
        Under "cosine" (in [-1, 1]) and "inner_product", similarities: larger is nearer, and rows
        fall. Under "l2", Euclidean distances (>= 0): smaller is nearer, and rows rise.
    indices : int64 array (n, k)
        Rows of the fitted features; equal scores in ascending order.
    metric : str
    """

    scores: FloatArray
    indices: IntArray
    metric: str

    @property
    def larger_is_nearer(self) -> bool:
        """Whether scores are similarities (True) or distances."""
        return self.metric != "l2"

    def to_frame(self) -> pd.DataFrame:
        """One row a neighbour: row, rank (from 1), neighbor, similarity or distance."""
        n, k = self.indices.shape
        return pd.DataFrame(
            {
                "row": np.repeat(np.arange(n), k),
                "rank": np.tile(np.arange(1, k + 1), n),
                "neighbor": self.indices.ravel(),
                score_name(self.metric): self.scores.ravel(),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Metric, scores and indices, as plain JSON types."""
        return {
            "metric": self.metric,
            score_name(self.metric): self.scores.tolist(),
            "indices": self.indices.tolist(),
        }

    def __repr__(self) -> str:
        n, k = self.indices.shape
        return f"Neighbors({n} points, {k} nearest each, {self.metric})"


@dataclass(frozen=True, repr=False)
class NeighborRanges:
    """All points within a radius of n points, as compressed sparse rows.

    The neighbours of point i are `indices[indptr[i]:indptr[i + 1]]`, nearest first.

    Attributes
    ----------
    indptr : int64 array (n + 1,)
    indices : int64 array (total,)
        Rows of the fitted features.
    scores : float32 array (total,)
        Similarities (larger is nearer), or distances under "l2" (smaller is nearer).
    metric : str
    """

    indptr: IntArray
    indices: IntArray
    scores: FloatArray
    metric: str

    @property
    def counts(self) -> IntArray:
        """How many neighbours each point has, (n,)."""
        return np.diff(self.indptr)

    def to_frame(self) -> pd.DataFrame:
        """One row a pair: row, neighbor, similarity or distance."""
        return pd.DataFrame(
            {
                "row": np.repeat(np.arange(len(self.indptr) - 1), self.counts),
                "neighbor": self.indices,
                score_name(self.metric): self.scores,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Metric and the three arrays, as plain JSON types."""
        return {
            "metric": self.metric,
            "indptr": self.indptr.tolist(),
            "indices": self.indices.tolist(),
            score_name(self.metric): self.scores.tolist(),
        }

    def __repr__(self) -> str:
        n, pairs = len(self.indptr) - 1, len(self.indices)
        return f"NeighborRanges({n} points, {pairs} neighbours, {self.metric})"


def score_name(metric: str) -> str:
    """What scores of a metric are called: "distance" for l2, else "similarity".

    >>> score_name("cosine"), score_name("l2")
    ('similarity', 'distance')
    """
    return "distance" if metric == "l2" else "similarity"


def fingerprint(features: Any) -> str:
    """SHA-256 of the shape and the rows of features in float32, whatever the blocks.

    >>> fingerprint(np.eye(2)) == fingerprint(np.eye(2, dtype=int)) != fingerprint(np.eye(3))
    True
    """
    matrix = as_feature_matrix(features)
    digest = begun_fingerprint(matrix.shape)
    for _, block in matrix.blocks():
        digest.update(np.ascontiguousarray(block))
    return str(digest.hexdigest())


def begun_fingerprint(shape: tuple[int, int]) -> Any:
    """A hash that has seen the shape and waits for the rows."""
    return hashlib.sha256(f"float32 {shape[0]} {shape[1]}\n".encode())


def record_path(file: Path) -> Path:
    """Where the record of a saved index stands."""
    return file.with_name(file.name + ".json")


def read_record(file: Path) -> dict[str, Any]:
    """The JSON beside a saved index, once both are known to belong together."""
    path = record_path(file)
    for needed in (file, path):
        if not needed.is_file():
            raise StoreError(f"there is no saved index: {str(needed)!r} is missing")
    try:
        record: dict[str, Any] = read_json(path)
        version, checksum = record["schema"], record["sha256"]
    except (FileFormatError, KeyError, TypeError) as error:
        raise StoreError(f"the record {str(path)!r} of an index is damaged ({error})") from error
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"the index {str(file)!r} has schema version {version!r}; this release reads version "
            f"{SCHEMA_VERSION}"
        )
    if sha256_file(file) != checksum:
        raise StoreError(f"the index {str(file)!r} is damaged: its checksum is not the record's")
    return record
