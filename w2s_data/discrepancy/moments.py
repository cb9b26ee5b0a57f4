"""Second moments of strong and weak features side by side, block by block and by group of rows.

Only D x D matrices are kept, in float64; N x D is never in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from w2s_data.errors import FeatureError, InputError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

# Bound on the second moments of all groups together: at 768 + 768 dimensions 14 groups fit.
GROUP_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Moments:
    """Sums (D,) and products (D, D) over n rows of [strong, weak] columns about one origin."""

    # Not yet centred, so that moments of disjoint rows add up.
    n: int
    total: FloatArray
    product: FloatArray
    d_s: int  # the first columns are strong

    @classmethod
    def of(cls, both: FloatArray, d_s: int) -> Self:
        """Sum over the rows of a float64 array (n, D)."""
        return cls(len(both), both.sum(axis=0), both.T @ both, d_s)

    @classmethod
    def zero(cls, dimensions: int, d_s: int) -> Self:
        """Start a sum of moments."""
        return cls(0, np.zeros(dimensions), np.zeros((dimensions, dimensions)), d_s)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n, self.total + other.total, self.product + other.product, self.d_s
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.n - other.n, self.total - other.total, self.product - other.product, self.d_s
        )

    @property
    def d_w(self) -> int:
        """Number of weak columns."""
        return len(self.total) - self.d_s

    @property
    def scatter(self) -> FloatArray:
        """Centred sums of products (D, D)."""
        return self.product - np.outer(self.total, self.total / max(self.n, 1))


def shared_variance(moments: Moments) -> float:
    """Sum the squared sample canonical correlations; in [0, min(d_s, d_w)]."""
    from scipy.linalg import solve_triangular

    d, scatter = moments.d_s, moments.scatter
    # tr(S^-1 C W^-1 C') by triangular factors: no inverse, and an error where a side is collinear.
    half = solve_triangular(np.linalg.cholesky(scatter[:d, :d]), scatter[:d, d:], lower=True)
    full = solve_triangular(np.linalg.cholesky(scatter[d:, d:]), half.T, lower=True)
    return float(np.sum(full**2))


def two_fold(first: Moments, second: Moments) -> float:
    """Estimate the correlation dimension from two disjoint folds of rows.

    One fold gives the residual covariance R of Y given X, the other the precision P of Y, with the
    inverse-Wishart factor (n - d_y - 2): d_y - tr(P R), averaged over both orders of the folds and
    both directions. Without bias for Gaussian features; its spread is up to nine times that of the
    closed form on few rows, and about equal on many.
    """
    d_s, d_w = first.d_s, first.d_w
    smaller = min(first.n, second.n)
    if smaller <= max(d_s, d_w) + 2:  # where the mean of an inverse Wishart matrix is infinite
        raise InputError(
            f"two folds of {smaller} rows or more do not determine {max(d_s, d_w)} dimensions: "
            f"more than {2 * (max(d_s, d_w) + 2)} rows are needed in all"
        )
    strong, weak = slice(0, d_s), slice(d_s, None)
    values = []
    for one, other in ((first, second), (second, first)):
        a, b = one.scatter, other.scatter
        for x, y, d_x, d_y in ((strong, weak, d_s, d_w), (weak, strong, d_w, d_s)):
            # Residual and precision are of different rows, so that their errors do not correlate.
            residual = a[y, y] - a[y, x] @ np.linalg.solve(a[x, x], a[x, y])
            trace = np.trace(np.linalg.solve(b[y, y], residual))
            values.append(d_y - trace * (other.n - d_y - 2) / (one.n - 1 - d_x))
    return float(np.mean(values))


def total_moments(
    strong: FeatureMatrix, weak: FeatureMatrix, row_numbers: IntArray | None = None
) -> tuple[Moments, FloatArray]:
    """Return moments of all rows about an origin near their mean, and that origin (D,).

    Errors call the rows by `row_numbers`.
    """
    d_s, d = strong.shape[1], strong.shape[1] + weak.shape[1]
    moments, origin = Moments.zero(d, d_s), np.zeros(d)
    for rows, one, other in paired_blocks(strong, weak):
        numbers = np.arange(rows.start, rows.stop) if row_numbers is None else row_numbers[rows]
        check_feature_block(one, numbers, "strong features", nonzero=False)
        check_feature_block(other, numbers, "weak features", nonzero=False)
        both = np.empty((len(one), d))
        both[:, :d_s], both[:, d_s:] = one, other
        # Sums about the mean of the first block lose no digits to a large common offset; float64,
        # because the rank is decided at 1e-14 of a variance, the square of float32's rounding.
        if not moments.n:
            origin = both.mean(axis=0)
        both -= origin
        moments += Moments.of(both, d_s)
    return moments, origin


def group_moments(
    strong: FeatureMatrix,
    weak: FeatureMatrix,
    *,
    origin: FloatArray,
    maps: tuple[FloatArray, FloatArray],
    groups: IntArray,
) -> list[Moments]:
    """Return the moments of mapped features for each group of rows, `groups` (N,) from 0 to K - 1.

    The maps (D_s, d_s) and (D_w, d_w) are applied after `origin` is subtracted.
    """
    d_s = maps[0].shape[1]
    n_groups = int(groups.max(initial=0)) + 1
    moments = [Moments.zero(d_s + maps[1].shape[1], d_s) for _ in range(n_groups)]
    for rows, both in mapped_blocks(strong, weak, origin=origin, maps=maps):
        here = groups[rows]
        for group in np.unique(here):
            moments[group] += Moments.of(both[here == group], d_s)
    return moments


def mapped_blocks(
    strong: FeatureMatrix,
    weak: FeatureMatrix,
    *,
    origin: FloatArray,
    maps: tuple[FloatArray, FloatArray],
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield (rows, float64 block (rows, d_s + d_w)) of linearly mapped features side by side."""
    origins = origin[: strong.shape[1]], origin[strong.shape[1] :]
    cuts = slice(0, maps[0].shape[1]), slice(maps[0].shape[1], None)
    for rows, *blocks in paired_blocks(strong, weak):
        both = np.empty((len(blocks[0]), maps[0].shape[1] + maps[1].shape[1]))
        for block, own, linear, cut in zip(blocks, origins, maps, cuts, strict=True):
            both[:, cut] = (block - own) @ linear  # in float64, as the origin is
        yield rows, both


def paired_blocks(
    strong: FeatureMatrix, weak: FeatureMatrix
) -> Iterator[tuple[slice, AnyArray, AnyArray]]:
    """Yield (rows, strong block, weak block) of the same rows, however each side is stored."""
    if strong.shape[0] != weak.shape[0]:
        raise FeatureError(
            f"row counts disagree: strong features have {strong.shape[0]}, weak features have "
            f"{weak.shape[0]}"
        )
    others = weak.blocks()
    right, right_block = next(others, (slice(0, 0), np.empty((0, weak.shape[1]))))
    for left, left_block in strong.blocks():
        start = left.start
        while start < left.stop:
            if start >= right.stop:  # blocks hold equal bytes, so that the sides differ in rows
                right, right_block = next(others)
            stop = min(left.stop, right.stop)
            yield (
                slice(start, stop),
                left_block[start - left.start : stop - left.start],
                right_block[start - right.start : stop - right.start],
            )
            start = stop
