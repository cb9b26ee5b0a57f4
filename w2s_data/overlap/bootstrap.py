"""Bootstrap of the two overlap thresholds and of everything that follows from them.

A replicate weights each point with an independent Poisson(1) count (the Poisson bootstrap, which
needs no total), estimates both change points and counts regions. It works on stored confidence
and alignment values, so no matrix product is repeated, and on their sorted order, so no replicate
sorts anything. Replicates are drawn again from their seed when another breakdown is asked for:
what is kept per replicate is a handful of numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from w2s_data.features.matrix import row_blocks
from w2s_data.utils.intervals import poisson_counts
from w2s_data.utils.threads import for_each, n_threads
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

# Change points of replicates are sought between this many runs of values: finer than the spread
# of the thresholds over replicates, and no replicate costs more than a pass over the points.
N_CELLS = 4096
MOST_AT_ONCE = 4  # replicates, each of which takes some bytes for each point
# Replicates of fewer points are so short that threads, which take turns in Python, would wait.
FEWEST_OF_THREADS = 75_000
KEPT_BYTES = 2**25  # of counts that are kept from one threshold to the other
COUNTED_BYTES = 2**18  # of points of which cells are counted at a time, by 4 bytes each


class ThresholdBootstrap:
    """Replicates of the confidence threshold, then of the alignment threshold.

    `upper` takes the upper side of the change point of the confidence, as published.
    """

    def __init__(self, confidence: FloatArray, upper: bool, n_replicates: int, seed: int) -> None:
        self._seed = seed
        self._n = len(confidence)
        self._n_replicates = n_replicates
        self._keeps = n_replicates * self._n <= KEPT_BYTES  # until both thresholds are found
        self._kept: dict[int, AnyArray] = {}
        self._order = np.argsort(confidence, kind="stable")
        cells = _Cells(confidence[self._order])
        self.confidence_thresholds = np.full(n_replicates, np.nan)
        self.alignment_thresholds = np.full(n_replicates, np.nan)
        self._n_hard = np.full(n_replicates, self._n)
        self._totals = np.zeros(n_replicates)
        self._hard = np.zeros(n_replicates)

        def replicate(b: int, counts: AnyArray) -> None:
            threshold = cells.threshold(counts, upper)
            self._totals[b] = counts.sum(dtype=np.int64)
            if np.isfinite(threshold):
                self.confidence_thresholds[b] = threshold
                # Points stand in the order of their confidence: a region is a slice.
                self._n_hard[b] = np.searchsorted(cells.values, threshold, side="right")
            self._hard[b] = counts[: self._n_hard[b]].sum(dtype=np.int64)

        self._for_each(replicate)

    @property
    def lowest_confidence_threshold(self) -> float:
        """Confidence above which a point is not hard-only in some replicate."""
        return float(np.nanmin(self.confidence_thresholds, initial=np.inf))

    def fit_alignment(self, alignment: FloatArray) -> None:
        """Estimate the alignment thresholds of all replicates from (N,) values, NaN if unknown."""
        self._alignment = alignment[self._order]
        by_alignment = np.argsort(self._alignment, kind="stable")
        by_alignment = by_alignment[: np.count_nonzero(np.isfinite(self._alignment))]
        cells = _Cells(self._alignment[by_alignment])
        overlap = np.full(self._n_replicates, np.nan)

        def replicate(b: int, counts: AnyArray) -> None:
            drawn = counts[by_alignment]
            drawn *= by_alignment >= self._n_hard[b]  # points that are hard-only here drop out
            threshold = cells.threshold(drawn, upper=True)
            self.alignment_thresholds[b] = threshold
            if np.isfinite(threshold):
                first = np.searchsorted(cells.values, threshold)
                overlap[b] = drawn[first:].sum(dtype=np.int64)

        self._for_each(replicate)
        self._keeps, self._kept = False, {}
        drawn_cells = np.column_stack([self._hard, self._totals - self._hard - overlap, overlap])
        self.overall = np.full((self._n_replicates, 1, 3), np.nan)
        total = self._totals[:, None]
        np.divide(drawn_cells, total, out=self.overall[:, 0], where=total > 0)

    def shares(self, codes: IntArray, n_groups: int) -> FloatArray:
        """Return the shares of hard-only, easy-only and overlap, (replicates, n_groups, 3).

        NaN where a replicate drew no point of the group or has no threshold; points with negative
        codes are left out.
        """
        ranked_codes = np.asarray(codes)[self._order]
        n_cells = 3 * n_groups
        # The cell of each point if it is hard-only; the last one is left out.
        first_cell = np.where(ranked_codes < 0, n_cells, 3 * ranked_codes).astype(np.intp)
        result = np.full((self._n_replicates, n_groups, 3), np.nan)

        def replicate(b: int, counts: AnyArray) -> None:
            threshold, n_hard = self.alignment_thresholds[b], self._n_hard[b]
            if np.isnan(threshold):
                return
            drawn = np.zeros(n_cells + 3)
            # Some at a time, which stay in the cache.
            for part in row_blocks((self._n, 1), COUNTED_BYTES):
                cells = first_cell[part].copy()
                tail = slice(min(max(0, n_hard - part.start), len(cells)), None)
                cells[tail] += 1 + (self._alignment[part][tail] >= threshold)
                drawn += np.bincount(cells, weights=counts[part], minlength=n_cells + 3)
            by_group = drawn[:n_cells].reshape(n_groups, 3)
            total = by_group.sum(axis=1, keepdims=True)
            np.divide(by_group, total, out=result[b], where=total > 0)

        self._for_each(replicate)
        return result

    def _for_each(self, work: Callable[[int, AnyArray], None]) -> None:
        """Call with each replicate and how often points (in confidence order) are in it, uint8."""

        def draw(b: int) -> None:
            # Counts of all replicates take N bytes each: more than a few are drawn again from the
            # seed whenever they are needed.
            counts = self._kept.get(b)
            if counts is None:
                counts = poisson_counts(np.random.default_rng([self._seed, b]), self._n)
            if self._keeps:
                self._kept[b] = counts
            work(b, counts)

        threads = 1 if self._n < FEWEST_OF_THREADS else min(MOST_AT_ONCE, n_threads())
        for_each(draw, range(self._n_replicates), threads=threads)


class _Cells:
    """Sorted values in at most `N_CELLS` runs, between which a change point is sought."""

    def __init__(self, values: FloatArray) -> None:
        self.values = values
        # Sums of deviations keep the digits that sums of values near 1 would lose.
        self._centred = values - (values.mean() if len(values) else 0.0)
        n_cells = min(len(values), N_CELLS)
        self._starts = np.arange(n_cells) * len(values) // max(1, n_cells)

    def threshold(self, counts: AnyArray, upper: bool) -> float:
        """Return the chosen side of the change point of values taken `counts` times, or NaN."""
        if len(self.values) < 2:
            return np.nan
        sums, sizes = counts * self._centred, counts
        if len(self._starts) < len(self.values):
            sums = np.add.reduceat(sums, self._starts)
            sizes = np.add.reduceat(counts, self._starts, dtype=np.int64)
        upto = np.cumsum(sizes, dtype=np.float64)
        size, total = upto[:-1], upto[-1]
        other = total - size
        below = np.cumsum(sums)
        deviation = below[:-1] - size * (below[-1] / max(1.0, total))
        split = np.flatnonzero((size > 0) & (other > 0))
        if not len(split):
            return np.nan
        gain = deviation[split] ** 2 / (size[split] * other[split])
        best = int(np.argmax(gain))
        if not gain[best] > 0:  # all drawn values are equal
            return np.nan
        start = self._starts[split[best] + 1]
        return float(self.values[start if upper else start - 1])
