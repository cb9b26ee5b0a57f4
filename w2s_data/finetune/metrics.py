r"""How good class probabilities are: accuracy, macro-F1, groups, calibration.

Every metric is a function of sums over the items: of hits, of counts by class, group or bin of
confidence. A bootstrap replicate weights the items, so that the replicates of all metrics, seeds
and students come from matrix products with one table of weights, and all of them are paired.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from w2s_data.errors import InputError, ProbabilityError
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

CALIBRATION_BINS = 15
_WEIGHT_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Truth:
    """What predictions are compared with.

    Attributes
    ----------
    labels : int array (n,)
        Gold class codes, all >= 0.
    n_classes : int
    groups : int array (n,) or None
        Group codes, 0 to n_groups - 1.
    n_groups : int
    """

    labels: IntArray
    n_classes: int
    groups: IntArray | None = None
    n_groups: int = 0


class Metric(ABC):
    """A number of n items that depends on sums over them."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    @abstractmethod
    def statistics(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """What is summed: (S, n, K) of probabilities (S, n, C)."""

    @abstractmethod
    def value(self, sums: FloatArray) -> FloatArray:
        """The metric (...,) of weighted sums (..., K); NaN where it is undefined."""

    def measure(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """The metric (S,) of probabilities (S, n, C)."""
        return self.value(self.statistics(proba, truth).sum(axis=1))


class Accuracy(Metric):
    """Share of items whose most probable class is right, in [0, 1]."""

    name = "accuracy"

    def statistics(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Hits and items."""
        hits = _hits(proba, truth)
        return np.stack([hits, np.ones_like(hits)], axis=-1)

    def value(self, sums: FloatArray) -> FloatArray:
        """Hits per item."""
        return _ratio(sums[..., 0], sums[..., 1])


class MacroF1(Metric):
    """F1 averaged over the classes that occur as a label or as a prediction, in [0, 1]."""

    name = "macro_f1"

    def statistics(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Hits of each class, then items labelled or predicted as it."""
        known = _one_hot(truth.labels, truth.n_classes)
        predicted = _one_hot(proba.argmax(axis=-1), truth.n_classes)
        return np.concatenate([predicted * known, predicted + known], axis=-1)

    def value(self, sums: FloatArray) -> FloatArray:
        """Mean of 2 hits / (labelled + predicted)."""
        hits, occurring = np.split(sums, 2, axis=-1)
        total = _ratio(2 * hits, occurring, otherwise=0.0).sum(axis=-1)
        return _ratio(total, (occurring > 0).sum(axis=-1))


class GroupAccuracy(Metric):
    """Accuracy in one group, in [0, 1]; NaN if the group has no item."""

    name = "group"

    def __init__(self, group: int) -> None:
        self.group = group

    def statistics(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Hits and items of the group."""
        assert truth.groups is not None
        inside = np.broadcast_to(truth.groups == self.group, proba.shape[:2]).astype(np.float64)
        return np.stack([_hits(proba, truth) * inside, inside], axis=-1)

    def value(self, sums: FloatArray) -> FloatArray:
        """Hits per item."""
        return _ratio(sums[..., 0], sums[..., 1])


class WorstGroup(Metric):
    """Least accuracy of a group, in [0, 1]; groups without items do not count."""

    name = "worst_group"

    def statistics(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Hits of each group, then its items."""
        assert truth.groups is not None
        inside = np.broadcast_to(
            _one_hot(truth.groups, truth.n_groups), (*proba.shape[:2], truth.n_groups)
        )
        return np.concatenate([_hits(proba, truth)[..., None] * inside, inside], axis=-1)

    def value(self, sums: FloatArray) -> FloatArray:
        """Smallest number of hits per item."""
        hits, items = np.split(sums, 2, axis=-1)
        worst = _ratio(hits, items, otherwise=np.inf).min(axis=-1)
        return np.where(np.isinf(worst), np.nan, worst)


class CalibrationError(Metric):
    r"""Expected calibration error, in [0, 1]; 0 is best.

    .. math:: \sum_b \frac{n_b}{n} |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    over bins b of equal width of the largest probability. It is biased upwards where bins hold few
    items.

    References
    ----------
    Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017, equation 3.
    """

    name = "calibration_error"
    higher_is_better = False

    def __init__(self, bins: int = CALIBRATION_BINS) -> None:
        self.bins = bins

    def statistics(self, proba: FloatArray, truth: Truth) -> FloatArray:
        """Confidence minus hits in each bin, then items."""
        confidence = proba.max(axis=-1).astype(np.float64)
        number = np.clip(np.ceil(confidence * self.bins).astype(int) - 1, 0, self.bins - 1)
        excess = _one_hot(number, self.bins) * (confidence - _hits(proba, truth))[..., None]
        return np.concatenate([excess, np.ones((*confidence.shape, 1))], axis=-1)

    def value(self, sums: FloatArray) -> FloatArray:
        """Sum of the bins' absolute excess, per item."""
        return _ratio(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])


def accuracy(proba: AnyArray, labels: AnyArray) -> FloatArray:
    """Share of items whose most probable class is the label.

    Parameters
    ----------
    proba : array (n, C), or (S, n, C) of S seeds
        The first of equally probable classes counts as predicted.
    labels : int array (n,)
        Codes, 0 to C - 1.

    Returns
    -------
    array () or (S,)
        In [0, 1]; higher is better. The other metrics take and return the same.

    Raises
    ------
    InputError
        Shapes that do not fit, no items, NaN probabilities, or labels that are no codes.

    Examples
    --------
    >>> accuracy([[0.9, 0.1], [0.4, 0.6]], [0, 0])
    array(0.5)
    """
    return _evaluate(Accuracy(), proba, labels)


def macro_f1(proba: AnyArray, labels: AnyArray) -> FloatArray:
    """F1 averaged over the classes that occur, as a label or as a prediction; see `accuracy`.

    Examples
    --------
    >>> float(macro_f1([[0.9, 0.1], [0.4, 0.6]], [0, 0]).round(3))
    0.333
    """
    return _evaluate(MacroF1(), proba, labels)


def group_accuracy(proba: AnyArray, labels: AnyArray, groups: AnyArray) -> dict[Any, FloatArray]:
    """Accuracy by group, for groups (n,) of any values; see `accuracy`.

    Examples
    --------
    >>> group_accuracy([[0.9, 0.1], [0.4, 0.6]], [0, 0], ["long", "short"])
    {'long': array(1.), 'short': array(0.)}
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    return {
        name: _evaluate(GroupAccuracy(g), proba, labels, codes)
        for g, name in enumerate(names.tolist())
    }


def worst_group_accuracy(proba: AnyArray, labels: AnyArray, groups: AnyArray) -> FloatArray:
    """Least accuracy of a group, for groups (n,) of any values; see `accuracy`.

    The least of several noisy accuracies is on average too low, more so with small groups.

    Examples
    --------
    >>> worst_group_accuracy([[0.9, 0.1], [0.4, 0.6]], [0, 0], ["long", "short"])
    array(0.)
    """
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    return _evaluate(WorstGroup(), proba, labels, codes)


def expected_calibration_error(
    proba: AnyArray, labels: AnyArray, bins: int = CALIBRATION_BINS
) -> FloatArray:
    """Distance between confidence and accuracy, in `bins` bins of equal width; 0 is best.

    See `CalibrationError` for the formula and `accuracy` for shapes.

    Examples
    --------
    >>> float(expected_calibration_error([[0.9, 0.1], [0.4, 0.6]], [0, 0]).round(3))
    0.35
    """
    return _evaluate(CalibrationError(bins), proba, labels)


class ItemBootstrap:
    """Bootstrap over test items: the same resamples for everything that it measures.

    Parameters
    ----------
    n : int
        Test items.
    n_resamples : int
    seed : int
        Decides the resamples.
    """

    def __init__(self, n: int, n_resamples: int, seed: int) -> None:
        self.n = n
        self.n_resamples = n_resamples
        self.seed = seed

    def replicates(
        self, metrics: Sequence[Metric], proba: FloatArray, truth: Truth
    ) -> list[FloatArray]:
        """Each metric (S, B) of probabilities (S, n, C) in each of B resamples."""
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
        """How often each item occurs in each resample (b, n), some resamples at a time."""
        size = max(1, _WEIGHT_BYTES // (8 * self.n))
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
            drawn = np.random.default_rng([self.seed, number]).integers(self.n, size=self.n)
            weights[row] = np.bincount(drawn, minlength=self.n)
        return weights


def _evaluate(
    metric: Metric, proba: AnyArray, labels: AnyArray, groups: IntArray | None = None
) -> FloatArray:
    array, codes = np.asarray(proba, dtype=np.float64), np.asarray(labels)
    if array.ndim not in (2, 3) or array.shape[-1] < 2 or not np.isfinite(array).all():
        raise ProbabilityError(
            "proba must be finite numbers of shape (n, C) or (S, n, C) with C >= 2 classes; got "
            f"shape {array.shape}{'' if np.isfinite(array).all() else ' with NaN or inf'}"
        )
    n, n_classes = array.shape[-2:]
    if n == 0 or codes.shape != (n,) or (groups is not None and groups.shape != (n,)):
        raise InputError(
            f"proba has {n} items and labels {codes.shape}"
            + ("" if groups is None else f", groups {groups.shape}")
            + "; the same number of items is needed, at least one"
        )
    if codes.dtype.kind not in "iub" or codes.min() < 0 or codes.max() >= n_classes:
        raise InputError(f"labels must be whole numbers from 0 to {n_classes - 1}")
    n_groups = 0 if groups is None else int(groups.max()) + 1
    truth = Truth(codes.astype(np.int64), n_classes, groups, n_groups)
    values = metric.measure(array if array.ndim == 3 else array[None], truth)
    return values if array.ndim == 3 else np.asarray(values[0])


def _hits(proba: FloatArray, truth: Truth) -> FloatArray:
    """Whether the most probable class is right, (S, n)."""
    return np.asarray(proba.argmax(axis=-1) == truth.labels, dtype=np.float64)


def _one_hot(codes: IntArray, size: int) -> FloatArray:
    return np.asarray(codes[..., None] == np.arange(size), dtype=np.float64)


def _ratio(above: AnyArray, below: AnyArray, otherwise: float = np.nan) -> FloatArray:
    """above / below, and `otherwise` where below is 0."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    out = np.full(shape, otherwise)
    np.divide(above, below, out=out, where=np.asarray(below) != 0)
    return out
