r"""Metrics of class probabilities: accuracy, macro-F1, AUROC, log-loss, worst group, calibration.

Every metric is a function of sums over the items: of hits, of losses, of counts by class, group or
bin of confidence. A bootstrap replicate weights the items, so that the replicates of all metrics,
seeds and students come from matrix products with one table of weights, and all of them are paired.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from w2s_data.utils.threads import threads_for
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains

CALIBRATION_BINS = 15  # as in Guo et al.; fewer hide errors that cancel, more leave bins empty
COUNT_BYTES = 32 * 2**20  # of resampled counts
DRAWN_BYTES = 16 * 2**20  # of counts, as float64, that are multiplied at a time
TABLE_BYTES = 32 * 2**20  # of statistics that are multiplied with them at a time
STATISTICS_ROWS = 8192  # items at a time: the intermediate arrays of statistics stay small
# Least probability in a log-loss, scikit-learn's for float32: a wrong hard label costs 15.9.
PROBABILITY_FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Truth:
    """Gold labels and groups to compare predictions with."""

    labels: IntArray  # (n,), class codes >= 0
    n_classes: int
    groups: IntArray | None = None  # (n,), group codes from 0
    n_groups: int = 0

    @property
    def members(self) -> list[IntArray]:
        """Items of each group."""
        assert self.groups is not None
        return [np.flatnonzero(self.groups == group) for group in range(self.n_groups)]

    def part(self, items: slice) -> Truth:
        """Select some items."""
        groups = None if self.groups is None else self.groups[items]
        return Truth(self.labels[items], self.n_classes, groups, self.n_groups)


# (probabilities (S, n, C), Truth) -> array (S, n, K), to be summed over the items.
Statistics = Callable[[FloatArray, Truth], FloatArray]
Kind = tuple[Statistics, bool]  # whether the sums are taken by group


@dataclass(frozen=True)
class Metric:
    """A number that depends on sums over the items."""

    name: str
    statistics: Statistics
    # Weighted sums (..., K), by group (..., G, K) -> the metric (...,); NaN where it is undefined.
    value: Callable[[FloatArray], FloatArray]
    by_group: bool = False  # the sums are taken in each of G groups

    def measure(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Compute the metric (S,) of probabilities (S, n, C)."""
        every = np.ones((1, proba.shape[1]))
        groups = truth.members if self.by_group else None
        tables = self.statistics(proba, truth)
        return self.value(np.stack([_weighted(every, own, groups)[0] for own in tables]))


def _hits(proba: FloatArray, truth: Truth) -> FloatArray:
    """Whether the most probable class is right, (S, n); a row that abstains guesses."""
    right = np.asarray(proba.argmax(axis=-1) == truth.labels, dtype=np.float64)
    # A weak model without a vote would otherwise vote for the first class.
    right[abstains(proba)] = 1 / truth.n_classes
    return right


def _hits_and_items(proba: FloatArray, truth: Truth) -> FloatArray:
    hits = _hits(proba, truth)
    return np.stack([hits, np.ones_like(hits)], axis=-1)


def _mean_over_items(sums: FloatArray) -> FloatArray:
    return _ratio(sums[..., 0], sums[..., 1])


def _class_counts(proba: FloatArray, truth: Truth) -> FloatArray:
    """Hits of each class, then items labelled or predicted as it."""
    known = _one_hot(truth.labels, truth.n_classes)
    predicted = _one_hot(proba.argmax(axis=-1), truth.n_classes)
    predicted[abstains(proba)] = 1 / truth.n_classes
    return np.concatenate([predicted * known, predicted + known], axis=-1)


def _mean_f1(sums: FloatArray) -> FloatArray:
    """Mean of 2 hits / (labelled + predicted) over the classes that occur in either."""
    hits, occurring = np.split(sums, 2, axis=-1)
    total = _ratio(2 * hits, occurring, otherwise=0.0).sum(axis=-1)
    return _ratio(total, (occurring > 0).sum(axis=-1))


def _worst(sums: FloatArray) -> FloatArray:
    # A resample may hold no item of a small group: it does not count then.
    worst = _ratio(sums[..., 0], sums[..., 1], otherwise=np.inf).min(axis=-1)
    return np.where(np.isinf(worst), np.nan, worst)


def _calibration_counts(proba: FloatArray, truth: Truth) -> FloatArray:
    """Confidence minus hits in each bin, then items."""
    confidence = proba.max(axis=-1).astype(np.float64)
    # Bins are open on the left, so that a confidence of 1 is in the last one.
    number = np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1
    bins = _one_hot(np.clip(number, 0, CALIBRATION_BINS - 1), CALIBRATION_BINS)
    excess = bins * (confidence - _hits(proba, truth))[..., None]
    return np.concatenate([excess, np.ones((*confidence.shape, 1))], axis=-1)


def _excess_per_item(sums: FloatArray) -> FloatArray:
    return _ratio(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])


def _losses(proba: FloatArray, truth: Truth) -> FloatArray:
    """Minus the logarithm of the gold class's probability, then items."""
    own = proba[:, np.arange(len(truth.labels)), truth.labels].astype(np.float64)
    losses = -np.log(np.maximum(own, PROBABILITY_FLOOR))
    return np.stack([losses, np.ones_like(losses)], axis=-1)


def _won_pairs(proba: FloatArray, truth: Truth) -> FloatArray:
    """AUROC plus the pull of each item on it, then items; NaN where all labels are equal."""
    # A resample's AUROC is no sum over items. Its linear part is, and has DeLong's variance.
    present = [c for c in np.unique(truth.labels) if not (truth.labels == c).all()]
    classes = present[-1:] if truth.n_classes == 2 else present  # of two, one mirrors the other
    pulls = np.full(proba.shape[:2], np.nan)
    for own, scores in zip(pulls, proba, strict=True):
        if classes:
            own[:] = np.mean([_ranked(scores[:, c], truth.labels == c) for c in classes], axis=0)
    return np.stack([pulls, np.ones_like(pulls)], axis=-1)


def _ranked(scores: FloatArray, positive: BoolArray) -> FloatArray:
    """AUROC plus the pull (n,) of each item: its share of won pairs less the mean, by its odds."""
    from scipy.stats import rankdata

    # An item's rank among all, less that in its own class, counts the others below it.
    ahead = rankdata(scores)
    for own in (positive, ~positive):
        ahead[own] = (ahead[own] - rankdata(scores[own])) / np.count_nonzero(~own)
    won = np.where(positive, ahead, 1 - ahead)
    auroc = float(won[positive].mean())
    return np.asarray(
        auroc + (won - auroc) / np.where(positive, positive.mean(), 1 - positive.mean())
    )


# Share of items whose most probable class is right, in [0, 1].
ACCURACY = Metric("accuracy", _hits_and_items, _mean_over_items)
# F1 averaged over the classes that occur as a label or as a prediction, in [0, 1].
MACRO_F1 = Metric("macro_f1", _class_counts, _mean_f1)
# Mean of minus the logarithm of the gold class's probability, in nats, >= 0; 0 is best.
LOG_LOSS = Metric("log_loss", _losses, _mean_over_items)
# Chance that an item of a class gets a higher probability of it than one of another class, in
# [0, 1], .5 without information; of several classes the mean over those that the items have.
# Resamples are linear in the items: DeLong et al., *Comparing the Areas under Two or More
# Correlated Receiver Operating Characteristic Curves*, Biometrics 1988.
AUROC = Metric("auroc", _won_pairs, _mean_over_items)
# Least accuracy of a group, in [0, 1]; on average too low, the more so with small groups.
WORST_GROUP = Metric("worst_group", _hits_and_items, _worst, by_group=True)
# Expected calibration error, sum over bins of (n_b / n) |accuracy - confidence|, in [0, 1]; 0 is
# best. Biased upwards where bins hold few items. Guo et al., *On Calibration of Modern Neural
# Networks*, ICML 2017, equation 3.
CALIBRATION_ERROR = Metric("calibration_error", _calibration_counts, _excess_per_item)


def group_accuracy(group: int) -> Metric:
    """Create the accuracy in one group, in [0, 1]; NaN if the group has no item."""

    def value(sums: FloatArray) -> FloatArray:
        return _mean_over_items(sums[..., group, :])

    return Metric("group", _hits_and_items, value, by_group=True)


@dataclass(frozen=True)
class ItemBootstrap:
    """Bootstrap over test items: the same resamples for everything that it measures."""

    n: int  # test items
    n_resamples: int
    seed: int
    kept_bytes: int = COUNT_BYTES  # of resampled counts that are kept between calls

    def measure(
        self, metrics: Sequence[Metric], proba: FloatArray, truth: Truth
    ) -> list[tuple[FloatArray, FloatArray]]:
        """Compute each metric of probabilities (S, n, C): (S,), and (S, B) in B resamples."""
        # Metrics that share their statistics, as the groups do, share the products too.
        kinds = list(dict.fromkeys((metric.statistics, metric.by_group) for metric in metrics))
        sums: dict[Kind, list[FloatArray]] = {kind: [] for kind in kinds}
        waiting: list[tuple[Kind, FloatArray]] = []
        with threads_for(self.n * self.n_resamples):
            for kind, seed in itertools.product(kinds, range(len(proba))):
                waiting.append((kind, self._table(kind[0], proba[[seed]], truth)))
                if sum(table.nbytes for _, table in waiting) > TABLE_BYTES:
                    self._add_sums(sums, waiting, truth)
            self._add_sums(sums, waiting, truth)
        values = []
        for metric in metrics:
            own = np.stack(sums[metric.statistics, metric.by_group])  # (S, 1 + B, ...)
            values.append((metric.value(own[:, 0]), metric.value(own[:, 1:])))
        return values

    def _table(self, statistics: Statistics, proba: FloatArray, truth: Truth) -> FloatArray:
        """Return the statistics (n, K) of one seed, computed some items at a time."""
        # Pairs are between all items.
        size = self.n if statistics is _won_pairs else STATISTICS_ROWS
        table: FloatArray | None = None
        for start in range(0, self.n, size):
            part = slice(start, start + size)
            own = statistics(proba[:, part], truth.part(part))[0]
            if table is None:
                table = np.empty((self.n, own.shape[1]))
            table[part] = own
        assert table is not None
        return table

    def _add_sums(
        self,
        sums: dict[Kind, list[FloatArray]],
        waiting: list[tuple[Kind, FloatArray]],
        truth: Truth,
    ) -> None:
        """Sum the waiting tables over all items, then in each resample, (1 + B, ...) of each."""
        members = truth.members if any(by_group for (_, by_group), _ in waiting) else None
        parts: list[list[FloatArray]] = [[] for _ in waiting]
        for counts in itertools.chain([np.ones((1, self.n))], self._resamples() if waiting else ()):
            for ((_, by_group), table), own in zip(waiting, parts, strict=True):
                own.append(_weighted(counts, table, members if by_group else None))
        for (kind, _), own in zip(waiting, parts, strict=True):
            sums[kind].append(np.concatenate(own))
        waiting.clear()

    def _resamples(self) -> Iterator[FloatArray]:
        """Yield the counts (b, n) of some resamples at a time."""
        kept = self._all_counts if self.n * self.n_resamples <= self.kept_bytes else None
        size = max(1, DRAWN_BYTES // (8 * self.n))
        for start in range(0, self.n_resamples, size):
            stop = min(start + size, self.n_resamples)
            counts = self._drawn(start, stop) if kept is None else kept[start:stop]
            yield counts.astype(np.float64)

    @cached_property
    def _all_counts(self) -> IntArray:
        return self._drawn(0, self.n_resamples)

    def _drawn(self, start: int, stop: int) -> IntArray:
        """Count how often each item is in some resamples, (b, n)."""
        # Bytes suffice: that one of n draws of n items comes up 256 times never happens.
        counts = np.empty((stop - start, self.n), dtype=np.uint8)
        for row, number in enumerate(range(start, stop)):
            # A generator per resample: the draws do not depend on the size of the blocks.
            drawn = np.random.default_rng([self.seed, number]).integers(self.n, size=self.n)
            counts[row] = np.bincount(drawn, minlength=self.n)
        return counts


def _weighted(
    weights: FloatArray, table: FloatArray, groups: Sequence[IntArray] | None
) -> FloatArray:
    """Sum a table (n, K) by weights (b, n): (b, K), or (b, G, K) over the items of each group."""
    if groups is None:
        return np.asarray(weights @ table)
    # Group by group: as columns of the table, most of whose cells would be 0, 20 groups would take
    # 20 times the memory.
    return np.stack([weights[:, own] @ table[own] for own in groups], axis=1)


def _one_hot(codes: IntArray, size: int) -> FloatArray:
    return np.asarray(codes[..., None] == np.arange(size), dtype=np.float64)


def _ratio(above: AnyArray, below: AnyArray, otherwise: float = np.nan) -> FloatArray:
    """above / below, and `otherwise` where below is 0."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    out = np.full(shape, otherwise)
    np.divide(above, below, out=out, where=np.asarray(below) != 0)
    return out
