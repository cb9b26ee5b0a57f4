"""The items that a student learns from: weak and gold labels, weights, and what else is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.finetune.weak_labels import check_posterior
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import check_codes, check_weights
from w2s_data.utils.votes import abstains


@dataclass(frozen=True)
class Pool:
    """The items to train on: pseudo-labels, weights, and gold labels where there are any."""

    # (N, M, C), distributions of M teachers, one-hot where they are hard; or values (N, 1, 1)
    weak_proba: FloatArray
    sample_weight: FloatArray  # (N,)
    features: FeatureMatrix | None = None  # (N, D), for heads and methods that look at them
    groups: AnyArray | None = None  # (N,), reported on
    sources: AnyArray | None = None  # (N,)
    gold: IntArray | None = None  # (N,), class codes, -1 where there is no gold label
    posterior: FloatArray | None = None  # (N, C), of gold and weak labels together

    @property
    def n_rows(self) -> int:
        """Items N."""
        return len(self.weak_proba)

    @property
    def n_classes(self) -> int:
        """Classes C."""
        return int(self.weak_proba.shape[2])


def make_pool(
    labels: FloatArray,
    features: Any,
    *,
    sample_weight: AnyArray | None = None,
    groups: AnyArray | None = None,
    sources: AnyArray | None = None,
    gold: AnyArray | None = None,
    posterior: FloatArray | None = None,
) -> Pool:
    """Check what is known of the rows whose weak labels (N, M, C) are given."""
    n_rows, _, n_classes = labels.shape
    codes = np.full(n_rows, -1) if gold is None else gold
    codes = check_codes(codes, n_rows, n_classes, "gold", unknown=True)
    return Pool(
        labels,
        check_weights(sample_weight, n_rows),
        None if features is None else as_feature_matrix(features),
        _per_row("groups", groups, n_rows),
        _per_row("sources", sources, n_rows),
        codes,
        None if posterior is None else check_posterior(posterior, labels),
    )


def without_gold(pool: Pool, items: Sequence[Any] | None) -> tuple[Pool, Sequence[Any] | None]:
    """Leave out rows that have a gold label, and the influence of those without a weak one."""
    assert pool.gold is not None
    if (pool.gold >= 0).any():
        rest = np.flatnonzero(pool.gold < 0)
        if not len(rest):
            raise InputError("every row has a gold label, so that no weak label is left to learn")
        pool = Pool(
            pool.weak_proba[rest],
            pool.sample_weight[rest],
            None if pool.features is None else FeatureView(pool.features, rest),
            None if pool.groups is None else pool.groups[rest],
            None if pool.sources is None else pool.sources[rest],
        )
        items = None if items is None else [items[row] for row in rest.tolist()]
    return replace(pool, sample_weight=pool.sample_weight * _voted(pool.weak_proba)), items


def _voted(labels: FloatArray) -> BoolArray:
    """Whether a teacher votes on a row (N,), by labels (N, M, C)."""
    voted = ~np.asarray(abstains(labels).all(axis=1))
    # Where nobody ever votes there is nothing to leave out: the caller was warned of such labels.
    return voted if voted.any() else np.ones(len(labels), dtype=bool)


def _per_row(name: str, values: Any, n: int) -> AnyArray | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (n,):
        raise InputError(f"{name} must have shape ({n},); got {array.shape}")
    return array
