"""Delete-one-group jackknife: intervals from estimates that each leave out some rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import Constraint, whole

# Values of n_jackknife: with a single part nothing would be left when it is left out.
JACKKNIFE = Constraint("0 or an integer >= 2", lambda n: whole(0).accepts(n) and n != 1)
LEFT_OUT = (
    "with a part of the rows left out the estimate is undefined, as these are too few or some "
    "column varies in few of them; give fewer components. The intervals are unknown"
)


def random_parts(strata: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Draw the part 0 ... count - 1 of each row; every stratum is spread evenly over the parts.

    >>> parts = random_parts(np.array([0, 0, 0, 0, 1, 1]), 2, np.random.default_rng(0))
    >>> np.bincount(parts[:4]), np.bincount(parts[4:])
    (array([2, 2]), array([1, 1]))
    """
    # In the order of strata, ties at random, rows are given to the parts in turn.
    order = np.lexsort((rng.random(len(strata)), strata))
    parts = np.empty(len(strata), dtype=np.int64)
    parts[order] = np.arange(len(strata)) % count
    return parts


def jackknife_error(left_out: FloatArray) -> Any:
    """Return the standard error of estimates (parts, ...) that each leave out one part."""
    # (K - 1) times the variance: estimates that share most of their rows differ little.
    return np.sqrt((len(left_out) - 1) * np.var(left_out, axis=0))


def chance_below_zero(value: float, error: float, freedom: int, rounding: float) -> float:
    """Return the chance by Student's t that the estimated value is at most 0; NaN without error.

    A value and an error within rounding errors count as 0.

    >>> round(chance_below_zero(0.5, 0.5, freedom=19, rounding=1e-9), 3)
    0.165
    """
    from scipy.stats import t

    if np.isnan(error):
        return float("nan")
    if error <= rounding:
        return float(value <= rounding)
    return float(t.cdf(-value / error, freedom))
