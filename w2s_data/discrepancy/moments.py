"""Second moments of weak and strong features side by side, block by block and by group of rows.

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

GROUP_BYTES = 256 * 2**20  # bound on the second moments of all groups together


@dataclass(frozen=True)
class Moments:
    """Rows, sums and products of [weak, strong] columns about one common origin.

    Attributes
    ----------
    n : int
    total : array (D,)
    product : array (D, D)
        Sums over rows, not yet centred; hence moments of disjoint rows add up.
    d_w : int
        The first `d_w` columns are weak.
    """

    n: int
    total: FloatArray
    product: FloatArray
    d_w: int

    @classmethod
    def of(cls, both: FloatArray, d_w: int) -> Self:
        """Moments of the rows of a float64 array (n, D)."""
        return cls(len(both), both.sum(axis=0), both.T @ both, d_w)

    @classmethod
    def zero(cls, dimensions: int, d_w: int) -> Self:
        """Moments of no rows."""
        return cls(0, np.zeros(dimensions), np.zeros((dimensions, dimensions)), d_w)

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n, self.total + other.total, self.product + other.product, self.d_w
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.n - other.n, self.total - other.total, self.product - other.product, self.d_w
        )

    @property
    def d_s(self) -> int:
        """Number of strong columns."""
        return len(self.total) - self.d_w

    @property
    def scatter(self) -> FloatArray:
        """Centred sums of products (D, D)."""
        return self.product - np.outer(self.total, self.total / max(self.n, 1))


def shared_variance(moments: Moments) -> float:
    """Sum of the squared sample canonical correlations, in [0, min(d_w, d_s)].

    Raises LinAlgError where a side is collinear.
    """
    from scipy.linalg import solve_triangular

    d, scatter = moments.d_w, moments.scatter
    half = solve_triangular(np.linalg.cholesky(scatter[:d, :d]), scatter[:d, d:], lower=True)
    full = solve_triangular(np.linalg.cholesky(scatter[d:, d:]), half.T, lower=True)
    return float(np.sum(full**2))


def two_fold(first: Moments, second: Moments) -> float:
    """Unbiased correlation dimension from two disjoint folds of rows.

    Raises
    ------
    InputError
        If a fold has no more than max(d_w, d_s) + 2 rows.
    """
    d_w, d_s = first.d_w, first.d_s
    smaller = min(first.n, second.n)
    if smaller <= max(d_w, d_s) + 2:
        raise InputError(
            f"two folds of {smaller} rows or more cannot tell {max(d_w, d_s)} dimensions apart; "
            f"needed are more than {2 * (max(d_w, d_s) + 2)} rows in all"
        )
    weak, strong = slice(0, d_w), slice(d_w, None)
    values = []
    for one, other in ((first, second), (second, first)):
        a, b = one.scatter, other.scatter
        for x, y, d_x, d_y in ((weak, strong, d_w, d_s), (strong, weak, d_s, d_w)):
            residual = a[y, y] - a[y, x] @ np.linalg.solve(a[x, x], a[x, y])
            trace = np.trace(np.linalg.solve(b[y, y], residual))
            values.append(d_y - trace * (other.n - d_y - 2) / (one.n - 1 - d_x))
    return float(np.mean(values))


def total_moments(
    weak: FeatureMatrix, strong: FeatureMatrix, row_numbers: IntArray | None = None
) -> tuple[Moments, FloatArray]:
    """Moments of all rows about an origin near their mean, and that origin (D,).

    `row_numbers` are what errors call the rows.

    Raises
    ------
    FeatureError
        NaN or infinite rows (named), or row counts that disagree.
    """
    d_w, d = weak.shape[1], weak.shape[1] + strong.shape[1]
    moments, origin = Moments.zero(d, d_w), np.zeros(d)
    for rows, one, other in paired_blocks(weak, strong):
        numbers = np.arange(rows.start, rows.stop) if row_numbers is None else row_numbers[rows]
        check_feature_block(one, numbers, "weak features", nonzero=False)
        check_feature_block(other, numbers, "strong features", nonzero=False)
        both = np.hstack([one, other]).astype(np.float64)
        if not moments.n:
            origin = both.mean(axis=0)
        moments += Moments.of(both - origin, d_w)
    return moments, origin


def group_moments(
    weak: FeatureMatrix,
    strong: FeatureMatrix,
    origin: FloatArray,
    maps: tuple[FloatArray, FloatArray],
    groups: IntArray,
) -> list[Moments]:
    """Moments of linearly mapped features, group of rows by group of rows.

    Parameters
    ----------
    maps : arrays (D_w, d_w), (D_s, d_s)
        Applied after `origin` is subtracted.
    groups : int array (N,)
        Values 0 ... K - 1.
    """
    d_w = maps[0].shape[1]
    found = [
        Moments.zero(d_w + maps[1].shape[1], d_w) for _ in range(int(groups.max(initial=0)) + 1)
    ]
    for rows, both in mapped_blocks(weak, strong, origin, maps):
        here = groups[rows]
        for group in np.unique(here):
            found[group] += Moments.of(both[here == group], d_w)
    return found


def mapped_blocks(
    weak: FeatureMatrix,
    strong: FeatureMatrix,
    origin: FloatArray,
    maps: tuple[FloatArray, FloatArray],
) -> Iterator[tuple[slice, FloatArray]]:
    """Yield (rows, float64 block (rows, d_w + d_s)) of linearly mapped features side by side."""
    split = weak.shape[1]
    for rows, one, other in paired_blocks(weak, strong):
        mapped = [
            (one.astype(np.float64) - origin[:split]) @ maps[0],
            (other.astype(np.float64) - origin[split:]) @ maps[1],
        ]
        yield rows, np.hstack(mapped)


def paired_blocks(
    weak: FeatureMatrix, strong: FeatureMatrix
) -> Iterator[tuple[slice, AnyArray, AnyArray]]:
    """Yield (rows, weak block, strong block) of the same rows, however each side is stored."""
    if weak.shape[0] != strong.shape[0]:
        raise FeatureError(
            f"row counts disagree: weak features have {weak.shape[0]}, strong features have "
            f"{strong.shape[0]}"
        )
    others = strong.blocks()
    right, right_block = next(others, (slice(0, 0), np.empty((0, strong.shape[1]))))
    for left, left_block in weak.blocks():
        start = left.start
        while start < left.stop:
            if start >= right.stop:
                right, right_block = next(others)
            stop = min(left.stop, right.stop)
            yield (
                slice(start, stop),
                left_block[start - left.start : stop - left.start],
                right_block[start - right.start : stop - right.start],
            )
            start = stop
