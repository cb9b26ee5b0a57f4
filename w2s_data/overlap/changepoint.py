r"""The exact two-segment change point of sorted values, in O(n log n).

Sort the values and split them in two so that the summed squared deviation from the two segment
means is least:

.. math:: \arg\min_k \sum_{i\le k}(x_{(i)}-\bar x_{1..k})^2 + \sum_{i>k}(x_{(i)}-\bar x_{k+1..n})^2

With centred values and S_k the sum of the k smallest, this is the same as the largest
``S_k**2 / k + S_k**2 / (n - k)``: one cumulative sum, no search. It is the l2 change point of the
sorted signal and at once exact one-dimensional 2-means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from w2s_data.errors import InputError, rows
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

UNIFORM_EXPLAINED = 0.75  # share of variance that a split of evenly spread values explains


@dataclass(frozen=True)
class ChangePoint:
    """Where sorted values split in two.

    Attributes
    ----------
    index : int or None
        Size k of the lower segment, 1 <= k < n; None when there is no change point
        (fewer than two values, or all equal).
    lower, upper : float
        Largest value of the lower and smallest of the upper segment; NaN without a change point.
    explained : float
        Share of the variance that the split explains, in [0, 1]; 0 without a change point.
        Uniform values give 0.75, so only clearly more indicates two clusters.
    """

    index: int | None
    lower: float
    upper: float
    explained: float

    @property
    def found(self) -> bool:
        """Whether there is a change point at all."""
        return self.index is not None


NO_CHANGE_POINT = ChangePoint(index=None, lower=np.nan, upper=np.nan, explained=0.0)
# The grid of `ruptures.Binseg(min_size=2, jump=5)`, the published search.
MIN_SIZE, JUMP = 2, 5


def change_point(values: AnyArray) -> ChangePoint:
    """Find the exact l2 change point of the sorted values.

    Parameters
    ----------
    values : array (n,)
        In any order; a NaN or infinite one raises InputError.

    Returns
    -------
    ChangePoint
        `NO_CHANGE_POINT` for fewer than two values or constant ones. Equal values are never
        separated: ``lower < upper`` always holds.

    Examples
    --------
    >>> change_point([0.1, 0.9, 0.2, 0.8, 0.15])
    ChangePoint(index=3, lower=0.2, upper=0.8, explained=0.983...)
    >>> change_point([1.0, 1.0, 1.0]).found
    False
    """
    ordered = np.sort(_finite(values))
    n = len(ordered)
    if n < 2 or ordered[0] == ordered[-1]:
        return NO_CHANGE_POINT
    between, spread = _between(ordered, np.arange(1, n))
    k = int(np.argmax(between)) + 1
    # Within a run of equal values the gain is convex, so its largest value stands at an end of
    # the run; only rounding can put it inside.
    if ordered[k - 1] == ordered[k]:
        left, right = (
            int(np.searchsorted(ordered, ordered[k], side)) for side in ("left", "right")
        )
        k = left if right == n or (left > 0 and between[left - 1] >= between[right - 1]) else right
    return _described(ordered, k, float(between[k - 1]), spread)


def binseg_change_point(values: FloatArray) -> ChangePoint:
    """Find the change point on the coarse grid that the published method searched.

    Only split sizes that are multiples of 5 with at least 2 values on either side count, and ties
    go to the largest, as in Algorithm 1 of Shin, Cooper, Sala, *Weak-to-Strong Generalization
    Through the Data-Centric Lens*, ICLR 2025. Kept for parity; `change_point` is exact.
    """
    ordered = np.sort(values)
    n = len(ordered)
    grid = np.arange(JUMP, n - MIN_SIZE + 1, JUMP)
    if not len(grid) or ordered[0] == ordered[-1]:  # fewer than 7 values leave the grid empty
        return NO_CHANGE_POINT
    between, spread = _between(ordered, grid)
    best = len(grid) - 1 - int(np.argmax(between[::-1]))
    return _described(ordered, int(grid[best]), float(between[best]), spread)


def _between(ordered: FloatArray, size: IntArray) -> tuple[FloatArray, float]:
    """Return n times the variance between segments for each split size, and in all.

    S^2 / k + S^2 / (n - k), with S the sum of the k smallest centred values.
    """
    n, values = len(ordered), np.asarray(ordered, dtype=np.float64)
    # A large offset would cancel the digits that decide. First the middle of the range: the mean
    # of numbers with such an offset is rounded itself.
    values = values - (0.5 * values[0] + 0.5 * values[-1])
    centred = values - values.mean()
    below = np.cumsum(centred)[size - 1]
    # As floats, whatever the platform: the product of two sizes overflows 32-bit integers.
    between = below * below * (n / (size * (n - size).astype(np.float64)))
    return between, float(centred @ centred)


def _described(ordered: FloatArray, k: int, gain: float, spread: float) -> ChangePoint:
    return ChangePoint(
        index=k,
        lower=float(ordered[k - 1]),
        upper=float(ordered[k]),
        explained=min(1.0, gain / spread) if spread > 0 else 0.0,  # either sum is rounded
    )


def _finite(values: AnyArray) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"values must be one-dimensional; got shape {array.shape}")
    bad = ~np.isfinite(array)
    if bad.any():
        raise InputError(f"values are NaN or infinite in {rows(np.flatnonzero(bad))}")
    return array
