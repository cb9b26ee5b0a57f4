"""Features of pairs: the difference between the features of the two items.

A linear probe without intercept on a difference ranks the items, and swapping the two items
swaps its probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import FeatureError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.utils.typing import IntArray

if TYPE_CHECKING:
    from w2s_data.compute.base import Engine
    from w2s_data.encoders.base import Encoder


def turned_features(base: FeatureMatrix, labels: IntArray) -> FeatureView:
    """Turn differences chosen minus rejected into first minus second, given which came first."""
    return FeatureView(base, signs=np.where(labels == 0, 1, -1).astype(np.float32))


def pair_features(first: Any, second: Any) -> FeatureView:
    """Return the features of pairs: those of the first items minus those of the second.

    Both are arrays (N, D), memory maps or feature stores; FeatureError if the shapes differ.

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
    return FeatureView(one, minus=two)


def embed_pairs(
    first: Sequence[Any],
    second: Sequence[Any],
    encoder: Encoder,
    path: str | Path,
    *,
    prompts: Sequence[Any] = (),
    overwrite: bool = False,
    progress: bool | None = None,
    engine: Engine | None = None,
) -> FeatureView:
    """Encode the items of pairs into one store, each once; return the features of the pairs.

    `first` and `second` are as `W2SDataset.pairs` returns them; `prompts` are stored as well, by
    which pairs are grouped; the others are as for `embed`.
    """
    from w2s_data.encoders.base import ItemError
    from w2s_data.features.store import embed

    items = [*first, *second, *prompts]
    try:
        store = embed(items, encoder, path, overwrite=overwrite, progress=progress, engine=engine)
    except ItemError as error:
        # Both items of a pair have the row number of the pair.
        places = [*range(len(first)), *range(len(second)), *range(len(prompts))]
        raise error.moved_to(places) from error
    return FeatureView(store.select(first), minus=store.select(second))
