"""Results of a `NeighborIndex`: nearest neighbours, and points within a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data.utils.typing import FloatArray, IntArray

Metric = Literal["cosine", "inner_product", "l2"]


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

    def to_frame(self) -> pd.DataFrame:
        """Return one row per neighbour: row, rank (from 1), neighbor, similarity or distance."""
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
        """Return metric, scores and indices as plain JSON types."""
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
        """Number of neighbours of each point, (n,)."""
        return np.diff(self.indptr)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per pair: row, neighbor, similarity or distance."""
        return pd.DataFrame(
            {
                "row": np.repeat(np.arange(len(self.indptr) - 1), self.counts),
                "neighbor": self.indices,
                score_name(self.metric): self.scores,
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return metric and the three arrays as plain JSON types."""
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
    """Name the scores of a metric: "distance" for l2, else "similarity".

    >>> score_name("cosine"), score_name("l2")
    ('similarity', 'distance')
    """
    return "distance" if metric == "l2" else "similarity"
