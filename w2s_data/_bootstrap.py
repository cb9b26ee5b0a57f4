"""Bootstrap of the two overlap thresholds and of everything that follows from them.

A replicate draws N points with replacement, finds both change points anew and counts regions.
It works on stored confidence and alignment values, so no matrix product is repeated, and on
their sorted order, so no replicate sorts anything. Replicates are drawn again from their seed
when another breakdown is asked for: what is kept per replicate is two numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from w2s_data._typing import FloatArray, IntArray
from w2s_data.changepoint import ChangePoint

Split = Callable[[FloatArray], ChangePoint]


class ThresholdBootstrap:
    """Replicates of the confidence threshold, then of the alignment threshold.

    Parameters
    ----------
    confidence : array (N,)
    split : callable
        Change point of a sorted array.
    upper : bool
        Whether the confidence threshold is the upper side of its change point (published) or
        the lower one.
    n_replicates, seed : int
    """

    def __init__(
        self, confidence: FloatArray, split: Split, upper: bool, n_replicates: int, seed: int
    ) -> None:
        self._seed = seed
        self._n = len(confidence)
        self._split = split
        self._order = np.argsort(confidence, kind="stable")
        ordered = confidence[self._order]
        self.confidence_thresholds = np.full(n_replicates, np.nan)
        self._n_hard = np.full(n_replicates, self._n)
        for b, counts in enumerate(self._counts(n_replicates)):
            found = split(np.repeat(ordered, counts))
            if found.found:
                threshold = found.upper if upper else found.lower
                self.confidence_thresholds[b] = threshold
                self._n_hard[b] = np.searchsorted(ordered, threshold, side="right")
        self.alignment_thresholds = np.full(n_replicates, np.nan)

    @property
    def lowest_confidence_threshold(self) -> float:
        """Points above it are not hard-only in some replicate and need an alignment."""
        return float(np.nanmin(self.confidence_thresholds, initial=np.inf))

    def fit_alignment(self, alignment: FloatArray) -> None:
        """Find the alignment thresholds of all replicates; `alignment` is (N,), NaN if unknown."""
        ranked = alignment[self._order]
        by_alignment = np.argsort(ranked, kind="stable")
        by_alignment = by_alignment[: np.count_nonzero(np.isfinite(ranked))]
        values = ranked[by_alignment]
        for b, counts in enumerate(self._counts(len(self._n_hard))):
            eligible = by_alignment >= self._n_hard[b]
            found = self._split(np.repeat(values[eligible], counts[by_alignment[eligible]]))
            self.alignment_thresholds[b] = found.upper
        self._alignment = ranked

    def shares(self, codes: IntArray, n_groups: int) -> FloatArray:
        """Region shares of every group in every replicate.

        Parameters
        ----------
        codes : int array (N,)
            Group of each point, 0 <= code < n_groups; negative codes are left out.

        Returns
        -------
        array (replicates, groups, 3)
            Shares of hard-only, easy-only and overlap; NaN where the replicate drew no point of
            the group or found no threshold.
        """
        ranked_codes = np.asarray(codes)[self._order]
        inside = ranked_codes >= 0
        result = np.full((len(self._n_hard), n_groups, 3), np.nan)
        for b, counts in enumerate(self._counts(len(self._n_hard))):
            if np.isnan(self.alignment_thresholds[b]):
                continue
            region = np.zeros(self._n, dtype=np.int64)
            tail = slice(self._n_hard[b], None)
            region[tail] = 1 + (self._alignment[tail] >= self.alignment_thresholds[b])
            cells = np.bincount(
                (3 * ranked_codes + region)[inside],
                weights=counts[inside],
                minlength=3 * n_groups,
            ).reshape(n_groups, 3)
            total = cells.sum(axis=1, keepdims=True)
            np.divide(cells, total, out=result[b], where=total > 0)
        return result

    def _counts(self, n_replicates: int) -> Iterator[IntArray]:
        """How often each point (in confidence order) occurs in each replicate."""
        for b in range(n_replicates):
            rng = np.random.default_rng([self._seed, b])
            yield np.bincount(rng.integers(self._n, size=self._n), minlength=self._n)


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
