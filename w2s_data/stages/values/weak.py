r"""Weak values of a run, wherever they came from, and how sure they are.

The confidence of a weak value is the share of the targets' variance that it explains there,

.. math:: c_i = 1 - e_i^2 / \mathrm{Var}(y), \quad
          e_i^2 = M / \sum_m e_{im}^{-2} + \mathrm{Var}_m(v_{im})

cut to [0, 1], with the standard error e of each of M teachers' values and, of several teachers, the
variance of their values. It is this package's own: the paper defines confidence for classes only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import clone

from w2s_data.data.weak import values_of
from w2s_data.errors import DegenerateDataWarning
from w2s_data.regression.inputs import mean_value
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import OVERLAP, SCORE
from w2s_data.stages.teacher_store import is_taught
from w2s_data.utils.stage import WEAK_VALUES
from w2s_data.utils.typing import FloatArray, IntArray

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.features.matrix import FeatureMatrix
    from w2s_data.probes.ridge import RidgeProbe
    from w2s_data.run import Run

TEACHER = "teacher"  # name of the one that a run trains
# Gold rows below which slope and offset of a weak model are left as they are.
FEWEST_RECALIBRATED = 10


@dataclass(frozen=True, eq=False)
class Learned:
    """A teacher that learned: its regression, its features of all items, and its gold rows."""

    probe: RidgeProbe
    features: FeatureMatrix
    rows: IntArray

    def again(self, targets: FloatArray, kept: IntArray) -> FloatArray:
        """Return values (N,) of the same teacher, without the rows that are not kept."""
        rows = np.intersect1d(self.rows, kept)
        if len(rows) < 2:
            return np.full(self.features.shape[0], np.nan)
        # With the penalty that it has: to choose one in every fold changes little.
        probe = clone(self.probe).set_params(penalty=self.probe.penalty_)
        return np.asarray(probe.fit(self.features.take(rows), targets[rows]).predict(self.features))


@dataclass(frozen=True, eq=False)
class ValueLabels:
    """Weak values of N items by M teachers.

    Attributes
    ----------
    values : float array (N, M)
        NaN where a teacher abstains.
    errors : float array (N, M), or None
        Standard errors of the values, NaN where unknown.
    names : tuple of str
    learned : tuple, one per teacher
        The teacher if it learned from gold rows of this run, else None; empty where none did.
    """

    values: FloatArray
    errors: FloatArray | None
    names: tuple[str, ...]
    learned: tuple[Learned | None, ...] = ()

    @property
    def mean(self) -> FloatArray:
        """Mean (N,) of the teachers that answer, by their precision; NaN where none does."""
        return mean_value(self.values, self.errors)[0]

    @property
    def error(self) -> FloatArray:
        """Standard error (N,) of the mean as a guess of the target, NaN where nothing says it."""
        own = mean_value(self.values, self.errors)[1]
        with warnings.catch_warnings():  # rows on which nobody answers
            warnings.simplefilter("ignore", RuntimeWarning)
            several = np.isfinite(self.values).sum(axis=1) > 1
            spread = np.where(several, np.nanvar(self.values, axis=1, ddof=1), np.nan)
        if own is None:
            return np.asarray(np.sqrt(spread))
        return np.asarray(np.sqrt(own**2 + np.nan_to_num(spread)))

    def confidence(self, variance: float) -> FloatArray | None:
        """Return the confidence (N,), 0 where it is unknown; None where it is unknown of all."""
        error = self.error
        if not np.isfinite(error).any() or not variance > 0:
            return None
        return np.asarray(np.nan_to_num(np.clip(1 - error**2 / variance, 0.0, 1.0)))

    def rescaled(self, slopes: FloatArray, offsets: FloatArray) -> ValueLabels:
        """Return values and errors on the scale of the targets, by slope and offset (M,)."""
        errors = None if self.errors is None else np.abs(slopes) * self.errors
        return replace(self, values=offsets + slopes * self.values, errors=errors)


def trains_value_teacher(run: Run, dataset: W2SDataset) -> bool:
    """Whether scoring trains a teacher on the weak features, for want of other weak values."""
    return dataset.weak_values is None and not is_taught(run)


def penalty_of(l2: float | Literal["cv"], n: int) -> float | Literal["gcv"]:
    """Return the penalty of a ridge regression of n rows, beside a mean loss as that of classes."""
    return "gcv" if l2 == "cv" else l2 * max(1, n) / 2


def base_values(run: Run, dataset: W2SDataset) -> ValueLabels:
    """Return the weak values as they came with the data, or as teachers gave them."""
    if dataset.weak_values is None:
        return ValueLabels(*values_of(run.read_table(WEAK_VALUES, per_item=True)))
    return ValueLabels(dataset.weak_values, dataset.weak_errors, dataset.weak_names)


def train_value_teacher(
    dataset: W2SDataset, weak_features: FeatureMatrix, probe: RidgeProbe
) -> ValueLabels:
    """Train a ridge regression on the labelled split, whose rows get leave-one-out values.

    Equal items with several values teach one of them, the first.
    """
    dataset.check_teacher_data()
    rows = gold_rows(dataset).rows
    fitted = clone(probe).fit(weak_features.take(rows), dataset.targets[rows])
    learned = Learned(fitted, weak_features, rows)
    values, errors = left_out_values(dataset, learned)
    return ValueLabels(values[:, None], errors[:, None], (TEACHER,), (learned,))


def left_out_values(dataset: W2SDataset, learned: Learned) -> tuple[FloatArray, FloatArray]:
    """Return values and errors (N,) of a teacher, those of its own rows by all other rows."""
    probe, gold = learned.probe, gold_rows(dataset)
    values, errors = probe.predict(learned.features), probe.predict_errors(learned.features)
    values[learned.rows], errors[learned.rows] = probe.leave_one_out_, probe.leave_one_out_errors_
    row_of = {gold.units[row]: row for row in learned.rows}
    for row in gold.repeats:  # of which the teacher has seen an equal item
        if (first := row_of.get(gold.units[row])) is not None:
            values[row], errors[row] = values[first], errors[first]
    return values, errors


def target_variance(dataset: W2SDataset, weak: ValueLabels) -> float:
    """Return the variance of the gold values of the labelled split, else of the weak ones."""
    targets = dataset.targets[gold_rows(dataset).rows]
    known = targets if len(np.unique(targets)) > 1 else weak.mean
    return float(np.nanvar(known))


def weak_values_of(run: Run, dataset: W2SDataset) -> ValueLabels:
    """Return the weak values of a scored run, recalibrated if its scores are."""
    scales = run.read_summary(OVERLAP, SCORE.schema)["scales"]
    return recalibrated(base_values(run, dataset), scales)


def recalibrated(weak: ValueLabels, scales: list[dict[str, Any]]) -> ValueLabels:
    """Return the weak values with the slope and offset of each teacher where they were applied."""
    if not any(scale["applied"] for scale in scales):
        return weak
    slopes = [s["slope"]["value"] if s["applied"] else 1.0 for s in scales]
    offsets = [s["offset"]["value"] if s["applied"] else 0.0 for s in scales]
    return weak.rescaled(np.array(slopes), np.array(offsets))


def warn_without_errors(weak: ValueLabels) -> None:
    """Warn where nothing says how sure a weak value is."""
    if not np.isfinite(weak.error).any():
        warnings.warn(
            "the weak values come without standard errors and from one weak model, so that nothing "
            "says of which items it is sure: the overlap density is undefined; give weak_errors, "
            "or several weak models",
            DegenerateDataWarning,
            stacklevel=2,
        )
