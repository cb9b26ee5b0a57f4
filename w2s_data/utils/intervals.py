"""A number with its interval, as the analyses give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import FloatArray


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its interval; NaN limits where the interval is unknown.

    >>> Estimate(0.06, 0.04, 0.09)
    Estimate(0.06, 0.04 to 0.09)
    """

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def to_dict(self) -> dict[str, float]:
        """All fields by name."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __repr__(self) -> str:
        return f"Estimate({self.value:.4g}, {self.low:.4g} to {self.high:.4g})"


def percentile_interval(values: FloatArray, estimate: float, level: float) -> tuple[float, float]:
    """Percentile interval of replicates, widened where needed to hold the estimate.

    NaN limits when fewer than half of the replicates are defined, or the estimate is not.
    """
    defined = values[np.isfinite(values)]
    if np.isnan(estimate) or len(defined) < max(2, len(values) / 2):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), estimate), max(float(high), estimate)


def share_interval(
    values: FloatArray, share: float, total: int, level: float
) -> tuple[float, float]:
    """Percentile interval of a share of `total` points.

    Resampling cannot leave a share of 0 or 1 that no replicate's thresholds change; the interval
    would be a point. Wilson's interval stands in there.
    """
    low, high = percentile_interval(values, share, level)
    if low == high and total > 0:
        return wilson_interval(round(share * total), total, level)
    return low, high


def wilson_interval(successes: int, total: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a binomial share.

    >>> [round(limit, 3) for limit in wilson_interval(0, 88, 0.95)]
    [0.0, 0.042]
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)
