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
from typing import Literal

import numpy as np

from w2s_data.errors import InputError, rows
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray


@dataclass(frozen=True)
class ChangePoint:
    """Where sorted values split in two.

    Attributes
    ----------
    index : int or None
        Size k of the lower segment, 1 <= k < n; None when there is no change point
        (fewer than two values, or all equal).
    lower : float
        Largest value of the lower segment; NaN without a change point.
    upper : float
        Smallest value of the upper segment; NaN without a change point.
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
REFERENCE_MINIMUM = 7  # fewer values leave the published grid empty


def find_change_point(values: FloatArray, rule: Literal["changepoint", "binseg"]) -> ChangePoint:
    """Return the exact change point of finite values, or that of the published grid."""
    if rule == "changepoint":
        return change_point(values)
    if len(values) < REFERENCE_MINIMUM or values.min() == values.max():
        return NO_CHANGE_POINT
    return binseg_change_point(values)


def change_point(values: AnyArray) -> ChangePoint:
    """Find the exact l2 change point of the sorted values.

    Parameters
    ----------
    values : array (n,)
        Finite numbers in any order.

    Returns
    -------
    ChangePoint
        `NO_CHANGE_POINT` for fewer than two values or constant ones. Equal values are never
        separated: ``lower < upper`` always holds.

    Raises
    ------
    InputError
        If a value is NaN or infinite.

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
    centred = _centred(ordered)
    size = np.arange(1, n)
    between = _explained_by(np.cumsum(centred)[:-1], size, n)
    k = int(np.argmax(between)) + 1
    # Within a run of equal values the gain is convex, so its largest value stands at an end of
    # the run; only rounding can put it inside.
    if ordered[k - 1] == ordered[k]:
        left, right = (
            int(np.searchsorted(ordered, ordered[k], side)) for side in ("left", "right")
        )
        k = left if right == n or (left > 0 and between[left - 1] >= between[right - 1]) else right
    return _described(ordered, k, float(between[k - 1]), float(centred @ centred))


def binseg_change_point(values: AnyArray, min_size: int = 2, jump: int = 5) -> ChangePoint:
    """Find the change point on the coarse grid that the published method searched.

    Only split sizes that are multiples of `jump` with at least `min_size` values on either side
    count, and ties go to the largest: the partition that
    ``ruptures.Binseg(model="l2", min_size=2, jump=5)`` makes with one break point. Kept for
    parity with published results; `change_point` is exact.

    Parameters
    ----------
    values : array (n,)
        Finite numbers in any order.

    Raises
    ------
    InputError
        If a value is not finite, or fewer than 7 values leave the grid empty.

    References
    ----------
    Shin, Cooper, Sala, *Weak-to-Strong Generalization Through the Data-Centric Lens*,
    ICLR 2025, Algorithm 1.
    """
    ordered = np.sort(_finite(values))
    n = len(ordered)
    grid = np.arange(0, n, jump)
    grid = grid[(grid >= max(1, min_size)) & (grid <= n - min_size)]
    if not len(grid):
        raise InputError(
            f"the published change point needs a split of at least {min_size} values at a multiple "
            f"of {jump}; {n} values are too few"
        )
    centred = _centred(ordered)
    between = _explained_by(np.cumsum(centred)[grid - 1], grid, n)
    best = len(grid) - 1 - int(np.argmax(between[::-1]))
    return _described(ordered, int(grid[best]), float(between[best]), float(centred @ centred))


def _centred(ordered: FloatArray) -> FloatArray:
    """Subtract the mean, since a large offset would cancel the digits that decide."""
    values = np.asarray(ordered, dtype=np.float64)
    values = values - (0.5 * values[0] + 0.5 * values[-1])
    return np.asarray(values - values.mean())


def _described(ordered: FloatArray, k: int, gain: float, spread: float) -> ChangePoint:
    return ChangePoint(
        index=k,
        lower=float(ordered[k - 1]),
        upper=float(ordered[k]),
        explained=min(1.0, gain / spread) if spread > 0 else 0.0,
    )


def _explained_by(below: FloatArray, size: IntArray, n: int) -> FloatArray:
    """Return the variance between segments times n, S^2 / k + S^2 / (n - k), S the sum below."""
    return np.asarray(below * below * (n / (size * (n - size).astype(np.float64))))


def _finite(values: AnyArray) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"values must be one-dimensional; got shape {array.shape}")
    bad = ~np.isfinite(array)
    if bad.any():
        raise InputError(f"values are NaN or infinite in {rows(np.flatnonzero(bad))}")
    return array
