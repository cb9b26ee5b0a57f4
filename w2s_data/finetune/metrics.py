r"""Metrics of class probabilities: accuracy, macro-F1, worst group, calibration.

Every metric is a function of sums over the items: of hits, of counts by class, group or bin of
confidence. A bootstrap replicate weights the items, so that the replicates of all metrics, seeds
and students come from matrix products with one table of weights, and all of them are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

CALIBRATION_BINS = 15  # as in Guo et al.; fewer hide errors that cancel, more leave bins empty
WEIGHT_BYTES = 64 * 2**20  # table of resampling weights that is kept between calls


@dataclass(frozen=True)
class Truth:
    """Gold labels and groups to compare predictions with."""

    labels: IntArray  # (n,), class codes >= 0
    n_classes: int
    groups: IntArray | None = None  # (n,), group codes from 0
    n_groups: int = 0


@dataclass(frozen=True)
class Metric:
    """A number that depends on sums over the items."""

    name: str
    # (probabilities (S, n, C), Truth) -> array (S, n, K), to be summed over the items.
    statistics: Callable[[FloatArray, Truth], FloatArray]
    # Weighted sums (..., K) -> the metric (...,); NaN where it is undefined.
    value: Callable[[FloatArray], FloatArray]

    def measure(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Compute the metric (S,) of probabilities (S, n, C)."""
        return self.value(self.statistics(proba, truth).sum(axis=1))


def _hits(proba: FloatArray, truth: Truth) -> FloatArray:
    """Whether the most probable class is right, (S, n); the first of equals is predicted."""
    return np.asarray(proba.argmax(axis=-1) == truth.labels, dtype=np.float64)


def _hits_and_items(proba: FloatArray, truth: Truth) -> FloatArray:
    hits = _hits(proba, truth)
    return np.stack([hits, np.ones_like(hits)], axis=-1)


def _hits_per_item(sums: FloatArray) -> FloatArray:
    return _ratio(sums[..., 0], sums[..., 1])


def _class_counts(proba: FloatArray, truth: Truth) -> FloatArray:
    """Hits of each class, then items labelled or predicted as it."""
    known = _one_hot(truth.labels, truth.n_classes)
    predicted = _one_hot(proba.argmax(axis=-1), truth.n_classes)
    return np.concatenate([predicted * known, predicted + known], axis=-1)


def _mean_f1(sums: FloatArray) -> FloatArray:
    """Mean of 2 hits / (labelled + predicted) over the classes that occur in either."""
    hits, occurring = np.split(sums, 2, axis=-1)
    total = _ratio(2 * hits, occurring, otherwise=0.0).sum(axis=-1)
    return _ratio(total, (occurring > 0).sum(axis=-1))


def _group_counts(proba: FloatArray, truth: Truth) -> FloatArray:
    """Hits of each group, then its items."""
    assert truth.groups is not None
    inside = _one_hot(truth.groups, truth.n_groups)
    inside = np.broadcast_to(inside, (*proba.shape[:2], truth.n_groups))
    return np.concatenate([_hits(proba, truth)[..., None] * inside, inside], axis=-1)


def _worst(sums: FloatArray) -> FloatArray:
    hits, items = np.split(sums, 2, axis=-1)
    # A resample may hold no item of a small group: it does not count then.
    worst = _ratio(hits, items, otherwise=np.inf).min(axis=-1)
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


# Share of items whose most probable class is right, in [0, 1].
ACCURACY = Metric("accuracy", _hits_and_items, _hits_per_item)
# F1 averaged over the classes that occur as a label or as a prediction, in [0, 1].
MACRO_F1 = Metric("macro_f1", _class_counts, _mean_f1)
# Least accuracy of a group, in [0, 1]; on average too low, the more so with small groups.
WORST_GROUP = Metric("worst_group", _group_counts, _worst)
# Expected calibration error, sum over bins of (n_b / n) |accuracy - confidence|, in [0, 1]; 0 is
# best. Biased upwards where bins hold few items. Guo et al., *On Calibration of Modern Neural
# Networks*, ICML 2017, equation 3.
CALIBRATION_ERROR = Metric("calibration_error", _calibration_counts, _excess_per_item)


def group_accuracy(group: int) -> Metric:
    """Create the accuracy in one group, in [0, 1]; NaN if the group has no item."""

    def statistics(proba: FloatArray, truth: Truth) -> FloatArray:
        assert truth.groups is not None
        inside = np.broadcast_to(truth.groups == group, proba.shape[:2]).astype(np.float64)
        return np.stack([_hits(proba, truth) * inside, inside], axis=-1)

    return Metric("group", statistics, _hits_per_item)


@dataclass(frozen=True)
class ItemBootstrap:
    """Bootstrap over test items: the same resamples for everything that it measures."""

    n: int  # test items
    n_resamples: int
    seed: int

    def replicates(
        self, metrics: Sequence[Metric], proba: FloatArray, truth: Truth
    ) -> list[FloatArray]:
        """Compute each metric (S, B) of probabilities (S, n, C) in each of B resamples."""
        statistics = [metric.statistics(proba, truth) for metric in metrics]
        borders = np.cumsum([part.shape[-1] for part in statistics])[:-1]
        table = np.concatenate(statistics, axis=-1)
        n_seeds, n, n_sums = table.shape
        flat = np.moveaxis(table, 1, 0).reshape(n, -1)
        sums = np.concatenate([weights @ flat for weights in self._weights()])
        sums = np.moveaxis(sums.reshape(-1, n_seeds, n_sums), 1, 0)
        parts = np.split(sums, borders, axis=-1)
        return [metric.value(part) for metric, part in zip(metrics, parts, strict=True)]

    def _weights(self) -> Iterable[FloatArray]:
        """Counts of each item in each resample (b, n), some resamples at a time."""
        size = max(1, WEIGHT_BYTES // (8 * self.n))
        if size >= self.n_resamples:
            return [self._all_weights]
        starts = range(0, self.n_resamples, size)
        return (self._drawn(start, min(start + size, self.n_resamples)) for start in starts)

    @cached_property
    def _all_weights(self) -> FloatArray:
        return self._drawn(0, self.n_resamples)

    def _drawn(self, start: int, stop: int) -> FloatArray:
        weights = np.empty((stop - start, self.n))
        for row, number in enumerate(range(start, stop)):
            # A generator per resample: the draws do not depend on the size of the blocks.
            drawn = np.random.default_rng([self.seed, number]).integers(self.n, size=self.n)
            weights[row] = np.bincount(drawn, minlength=self.n)
        return weights


def _one_hot(codes: IntArray, size: int) -> FloatArray:
    return np.asarray(codes[..., None] == np.arange(size), dtype=np.float64)


def _ratio(above: AnyArray, below: AnyArray, otherwise: float = np.nan) -> FloatArray:
    """above / below, and `otherwise` where below is 0."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    out = np.full(shape, otherwise)
    np.divide(above, below, out=out, where=np.asarray(below) != 0)
    return out
