"""TODO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import FeatureError
from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, FeatureMatrix, as_feature_matrix
from w2s_data.utils.typing import FloatArray, IntArray

if TYPE_CHECKING:
    from w2s_data.compute.base import Engine
    from w2s_data.encoders.base import Encoder


@dataclass(frozen=True)
class PairFeatures:
    """Differences first minus second of the features of N pairs, a `FeatureMatrix`."""

    first: FeatureMatrix
    second: FeatureMatrix

    @property
    def shape(self) -> tuple[int, int]:
        """Pairs N and feature dimensions D."""
        return self.first.shape

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, float32 block) in order."""
        for chosen, block in self.first.blocks(max_bytes):
            yield chosen, block - self.second.take(np.arange(chosen.start, chosen.stop))

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows as a float32 array."""
        return self.first.take(rows) - self.second.take(rows)


@dataclass(frozen=True)
class TurnedFeatures:
    """Differences chosen minus rejected of N pairs, turned to first minus second.

    Attributes
    ----------
    base : FeatureMatrix (N, D)
    signs : array (N,)
        1 where the chosen item comes first, -1 where the rejected one does.
    """

    base: FeatureMatrix
    signs: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Pairs N and feature dimensions D."""
        return self.base.shape

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, float32 block) in order."""
        for chosen, block in self.base.blocks(max_bytes):
            yield chosen, block * self.signs[chosen, None]

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows as a float32 array."""
        return self.base.take(rows) * self.signs[rows, None]


def turned_features(base: FeatureMatrix, labels: IntArray) -> TurnedFeatures:
    """Differences chosen minus rejected in the drawn order of the pairs, which the labels tell.

    >>> chosen_minus_rejected = as_feature_matrix([[1.0, 2.0], [3.0, 4.0]])
    >>> turned_features(chosen_minus_rejected, np.array([0, 1])).take([0, 1]).tolist()
    [[1.0, 2.0], [-3.0, -4.0]]
    """
    return TurnedFeatures(base, np.where(labels == 0, 1, -1).astype(np.float32))


def pair_features(first: Any, second: Any) -> PairFeatures:
    """Features of pairs: those of the first items minus those of the second.

    Parameters
    ----------
    first, second : array (N, D), memory map or FeatureStore

    Raises
    ------
    FeatureError
        If the shapes differ.

    Examples
    --------
    >>> pair_features([[1.0, 2.0]], [[0.5, 3.0]]).take([0])
    array([[ 0.5, -1. ]], dtype=float32)
    """
    one, two = as_feature_matrix(first, "first"), as_feature_matrix(second, "second")
    if one.shape != two.shape:
        raise FeatureError(
            f"the two items of a pair need features of one shape; got {one.shape} and {two.shape}"
        )
    return PairFeatures(one, two)


def embed_pairs(
    first: Sequence[Any],
    second: Sequence[Any],
    encoder: Encoder,
    path: str | Path,
    *,
    overwrite: bool = False,
    progress: bool | None = None,
    engine: Engine | None = None,
) -> PairFeatures:
    """Encode the items of pairs into one store, each once, and return the pairs' features.

    Parameters
    ----------
    first, second : sequences of N items, as `W2SDataset.pairs` returns them
    encoder, path, overwrite, progress, engine
        See `embed`.
    """
    from w2s_data.encoders.base import ItemError
    from w2s_data.features.store import embed

    items = [*first, *second]
    try:
        store = embed(items, encoder, path, overwrite=overwrite, progress=progress, engine=engine)
    except ItemError as error:
        raise error.moved_to([*range(len(first)), *range(len(second))]) from error
    return PairFeatures(store.select(first), store.select(second))
