"""Estimates with their intervals: one type, and each interval function once."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.utils.constants import LEVEL as LEVEL
from w2s_data.utils.typing import AnyArray, FloatArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its interval; the limits are NaN where they are unknown.

    Examples
    --------
    >>> Estimate(0.06, 0.04, 0.09)
    Estimate(0.06, 0.04 to 0.09)
    >>> Estimate(0.06, 0.04, 0.09).to_dict()
    {'value': 0.06, 'low': 0.04, 'high': 0.09, 'level': 0.95}
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    level: float = LEVEL

    def __float__(self) -> float:
        return self.value

    @property
    def differs_from_zero(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name, the shape that every JSON summary uses."""
        return asdict(self)

    def columns(self, name: str) -> dict[str, float]:
        """Return the columns that hold this estimate in a table: NAME, NAME_low, NAME_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value:.4g}, {self.low:.4g} to {self.high:.4g})"


def estimate_records(table: pd.DataFrame, level: float) -> list[dict[str, Any]]:
    """Return the rows of a table as JSON records, its named index included.

    Columns NAME, NAME_low and NAME_high become one estimate NAME of this level.

    >>> import pandas as pd
    >>> estimate_records(pd.DataFrame([{"n": 9, "pgr": 0.5, "pgr_low": 0.4, "pgr_high": 0.6}]), 0.9)
    [{'n': 9, 'pgr': {'value': 0.5, 'low': 0.4, 'high': 0.6, 'level': 0.9}}]
    """
    frame = table.reset_index() if table.index.name else table
    names = [name for name in frame.columns if f"{name}_low" in frame.columns]
    limits = {f"{name}{end}" for name in names for end in ("_low", "_high")}
    records = []
    for row in frame.to_dict("records"):
        record = {str(key): value for key, value in row.items() if key not in limits}
        for name in names:
            value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
            record[name] = Estimate(value, low, high, level).to_dict()
        records.append(record)
    return records


def percentile_interval(values: FloatArray, estimate: float, level: float) -> tuple[float, float]:
    """Return the percentile interval of replicates, widened where needed to hold the estimate.

    NaN limits when fewer than half of the replicates are defined, or the estimate is not.
    """
    defined = values[np.isfinite(values)]
    # Where most replicates are undefined, the others are a biased sample.
    if np.isnan(estimate) or len(defined) < max(2, len(values) / 2):
        return np.nan, np.nan
    low, high = np.quantile(defined, tails(level))
    # The replicates of a biased statistic may all lie on one side of the estimate.
    return min(float(low), estimate), max(float(high), estimate)


def poisson_counts(rng: np.random.Generator, n: int) -> AnyArray:
    """Draw how often each of n rows is in a bootstrap sample, uint8, 1 on average.

    Counts are independent, so that blocks and groups of rows are resampled without the others; 16
    random bits for each are enough, and many times faster than `Generator.poisson`.
    """
    table = _poisson_table()
    return np.asarray(table[rng.integers(len(table), size=n, dtype=np.uint16)])


@functools.cache
def _poisson_table() -> AnyArray:
    """Return Poisson(1) counts by 16 random bits; each count fills its share of the entries."""
    below = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(20)])
    return np.searchsorted(below, (np.arange(2**16) + 0.5) / 2**16).astype(np.uint8)


def share_interval(
    values: FloatArray, share: float, total: int, level: float
) -> tuple[float, float]:
    """Return the percentile interval of a share of `total` points.

    Resampling cannot move a share of 0 or 1 that no replicate changes; the interval would be a
    point, so Wilson's interval replaces it.
    """
    low, high = percentile_interval(values, share, level)
    if low == high and total > 0:
        limits = wilson_interval(round(share * total), total, level)
        return float(limits[0]), float(limits[1])
    return low, high


def wilson_interval(successes: Any, total: Any, level: float) -> tuple[Any, Any]:
    """Return Wilson's score interval of binomial shares, elementwise; NaN where the total is 0."""
    from scipy.stats import norm

    z2 = float(norm.ppf((1 + level) / 2)) ** 2
    n = np.where(np.asarray(total) > 0, total, np.nan).astype(np.float64)
    share = np.clip(successes / n, 0, 1)
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Rounding may push a limit past the share itself, or past 0 and 1.
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)


def beta_interval(successes: FloatArray, trials: FloatArray, level: float) -> tuple[Any, Any]:
    """Return the central interval of Beta(1 + successes, 1 + failures); NaN without trials."""
    from scipy.special import betaincinv

    known = trials > 0
    a, b = 1 + successes, 1 + np.maximum(trials - successes, 0)
    limits = [betaincinv(a, b, tail) for tail in tails(level)]
    # The prior pulls the interval towards 1/2; it still has to hold the observed share.
    mean = successes / np.where(known, trials, 1)
    low, high = np.minimum(limits[0], mean), np.maximum(limits[1], mean)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def student_interval(
    value: Any, error: Any, freedom: float, level: float, low: float = -np.inf, high: float = np.inf
) -> tuple[Any, Any]:
    """Return Student's interval around a value with a standard error, cut to [low, high].

    >>> low, high = student_interval(1.0, 0.5, freedom=19, level=0.95, low=0.0)
    >>> float(low), round(float(high), 3)
    (0.0, 2.047)
    """
    half = student_quantile(freedom, level) * error
    return np.clip(value - half, low, high), np.clip(value + half, low, high)


def student_quantile(freedom: float, level: float) -> float:
    """Return the two-sided t quantile: half the width of an interval, in standard errors."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, freedom))


def mean_interval(values: ArrayLike, level: float = LEVEL) -> tuple[FloatArray, Any, Any]:
    """Return the mean over the first axis and Student's interval of it; NaN limits for one row.

    >>> [float(value.round(2)) for value in mean_interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    runs = np.asarray(values, dtype=np.float64)
    mean = runs.mean(axis=0)
    half = _spread(runs, level) / np.sqrt(len(runs))
    return mean, mean - half, mean + half


def mean_estimate(values: ArrayLike, level: float = LEVEL) -> Estimate:
    """Return the mean of numbers with `mean_interval`, as an estimate.

    >>> mean_estimate([1.0, 2.0, 3.0])
    Estimate(2, -0.4841 to 4.484)
    """
    mean, low, high = mean_interval(values, level)
    return Estimate(float(mean), float(low), float(high), level)


def positive_mean_estimate(values: ArrayLike, level: float = LEVEL) -> Estimate:
    r"""Return the mean of non-negative numbers, with Student's interval on a log scale.

    .. math:: \bar v \exp(\pm t_{n-1} \, s / (\sqrt n \, \bar v))

    Squared errors are skewed, so that an interval of equal sides would lie too low.

    >>> positive_mean_estimate([1.0, 2.0, 3.0])
    Estimate(2, 0.5776 to 6.926)
    """
    mean, low, _ = mean_interval(values, level)
    if not mean > 0:
        return Estimate(float(mean), level=level)
    factor = float(np.exp((mean - low) / mean))
    return Estimate(float(mean), float(mean / factor), float(mean * factor), level)


def prediction_halfwidth(values: ArrayLike, level: float = LEVEL) -> FloatArray:
    r"""Return how far one more run may lie from the mean of these, over the first axis (runs).

    .. math:: t_{n-1} \, s \sqrt{1 + 1/n}

    with the standard deviation s of n runs: half of Student's prediction interval. NaN for one
    run. A single run within it does not differ significantly from the others.

    >>> float(prediction_halfwidth([1.0, 2.0, 3.0]).round(2))
    4.97
    """
    runs = np.asarray(values, dtype=np.float64)
    return np.asarray(_spread(runs, level) * np.sqrt(1 + 1 / len(runs)))


def _spread(runs: FloatArray, level: float) -> FloatArray:
    """Return t quantile times standard deviation over the first axis; NaN for a single run."""
    if len(runs) < 2:  # a standard deviation of one run would be 0 / 0, with a warning
        return np.full_like(runs.mean(axis=0), np.nan)
    return np.asarray(student_quantile(len(runs) - 1, level) * runs.std(axis=0, ddof=1))


def welch_quantile(variances: Sequence[float], freedoms: Sequence[float], level: float) -> float:
    """Return the t quantile of a sum of independent variances (Welch and Satterthwaite).

    The degrees of freedom are (sum v)^2 / sum(v^2 / freedom), at least 1; a part without degrees
    of freedom counts as known exactly.

    >>> round(welch_quantile([1.0, 1.0], [10, 10], 0.95), 3)  # 20 degrees of freedom
    2.086
    """
    parts = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True) if f > 0)
    freedom = sum(variances) ** 2 / parts if parts > 0 else np.inf
    # Below 1 degree of freedom the quantile grows without bound.
    return student_quantile(max(1.0, freedom), level)


def fieller_interval(
    above: float, below: float, covariance: tuple[float, float, float], quantile: float
) -> tuple[float, float]:
    """Return Fieller's interval of a ratio of two means; `below` must be clearly above 0.

    It holds all r for which ``above - r * below`` could be 0, and is bounded exactly where the
    interval of `below` at the same level leaves out 0. `covariance` is (variance of above,
    covariance, variance of below), `quantile` one of `student_quantile`.
    Fieller, *Some problems in interval estimation*, JRSS B 16, 1954.
    """
    aa, ab, bb = covariance
    t2 = quantile**2
    centre, lead = above * below - t2 * ab, below**2 - t2 * bb
    # Rounding may push the discriminant of a very short interval below 0.
    root = np.sqrt(max(0.0, centre**2 - lead * (above**2 - t2 * aa)))
    return float((centre - root) / lead), float((centre + root) / lead)


def tails(level: float) -> list[float]:
    """Return the two probabilities that cut off a central interval of `level`."""
    return [(1 - level) / 2, (1 + level) / 2]
