"""Linear fits from second moments: labelled, pool and test rows with their target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.discrepancy.moments import Moments, paired_blocks
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.utils.linalg import eigh
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_feature_block

# Directions whose variance is below this part of the largest are rounding: float32 features
# leave 1e-14 of it.
RANK = 1e-12


def set_moments(
    strong: FeatureMatrix,
    weak: FeatureMatrix,
    target: FloatArray,
    sets: Sequence[Any],
    intercept: bool,
) -> list[Moments]:
    """Sum over the rows of each set, with columns [strong, weak, target]."""
    d_s, d = strong.shape[1], strong.shape[1] + weak.shape[1] + 1
    origin = np.zeros(d)
    sums, members = [Moments.zero(d, d_s) for _ in sets], []
    for rows in sets:
        members.append(np.zeros(strong.shape[0], dtype=bool))
        members[-1][rows] = True
    for rows, one, other in paired_blocks(strong, weak):
        if intercept and not rows.start:
            # Sums about a mean lose no digits to an offset; without an intercept it matters.
            means = one.mean(axis=0), other.mean(axis=0), target[rows].mean()
            origin = np.hstack(means).astype(np.float64)
        for k, member in enumerate(members):
            here = np.flatnonzero(member[rows])
            both = np.column_stack([one[here], other[here], target[rows][here]]).astype(np.float64)
            check_feature_block(both, here + rows.start, "features", nonzero=False)
            sums[k] += Moments.of(both - origin, d_s)
    return sums


@dataclass(frozen=True)
class Side:
    """Columns and penalty of a learner."""

    columns: slice
    penalty: float


@dataclass(frozen=True)
class LinearFit:
    """One regression: its inverse, and the map from sums of products to coefficients."""

    columns: slice
    n: int
    centre: FloatArray  # means of all columns, or 0 without an intercept
    inverse: FloatArray  # K = (X'X + penalty)^+
    spread: FloatArray  # K X'X K, the covariance of the coefficients for noise 1
    coefficients: FloatArray  # of the noiseless target


def fitted(moments: Moments, side: Side, intercept: bool) -> LinearFit:
    """Fit the target on the columns of one side."""
    own, scatter = side.columns, about(moments, intercept)
    values, vectors = eigh(scatter[own, own])
    # With a penalty nothing is singular; without, directions that no row has stay 0.
    kept = values > max(values[-1], 0.0) * RANK
    total = np.where(kept, values + side.penalty, np.inf)
    inverse = (vectors / total) @ vectors.T
    spread = (vectors * np.where(kept, values, 0.0) / total**2) @ vectors.T
    centre = moments.total / moments.n if intercept else np.zeros(len(moments.total))
    return LinearFit(own, moments.n, centre, inverse, spread, inverse @ scatter[own, -1])


def about(moments: Moments, intercept: bool) -> FloatArray:
    """Return sums of products, centred where an intercept is fitted."""
    return moments.scatter if intercept else moments.product
