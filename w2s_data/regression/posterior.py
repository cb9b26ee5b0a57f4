"""`ValuePosterior`: the value of every row by gold and weak values together, with its error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import DegenerateDataWarning, SplitError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix, sampled
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.regression.inputs import (
    LEAST_ERROR,
    check_gold_values,
    check_rows,
    check_teachers,
    check_weak_errors,
    check_weak_values,
    mean_value,
)
from w2s_data.regression.pooling import LinearPool
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, whole
from w2s_data.utils.votes import teacher_names

# Retrains the teachers on some rows; returns the weak values (N,) or (N, M) of all rows.
Relabel = Callable[[IntArray], FloatArray]
GOLD_VIEW, STUDENT_VIEW = "gold values", "student"
FEWEST_GOLD = 10  # below which the weights of the views are nearly those of the prior
NORMAL_90 = 1.645
FEWEST_CALIBRATED = 30  # gold rows from which a quantile of their errors is known well enough


class ValuePosterior(BaseEstimator):  # type: ignore[misc]
    r"""Join gold and weak values into one value with a standard error for every row.

    .. math:: q = \bar y + \sum_v a_v (p_v - \bar p_v), \qquad a_v \ge 0

    The views p_v are the teachers, a ridge regression of the gold values on strong features, and a
    student of the weak values on them; on gold rows each is held out. The weights minimise the
    squared error there. A teacher that abstains on a row (NaN) has weight 0 in it, and the others
    have the weights that are best without it.

    Parameters
    ----------
    folds : int
        Folds in which weights are held out, and teachers that learned from gold rows retrained.
    max_pool : int
        The student learns from a random sample of a larger pool; all rows get a value.
    random_state : int, Generator or None
        Controls folds and sample.

    Attributes
    ----------
    values_ : array (N,)
        Posterior value of every row; of gold rows one that did not see their gold value.
    errors_ : array (N,)
        Standard error of these values as guesses of the target: `values_` +- 1.645 `errors_` holds
        about 90 % of the targets of rows like the gold ones. NaN with a single gold row.
    weights_ : Series (V,)
        Weight of each view by its name.
    view_errors_ : Series (V,)
        Root mean squared error of each view on gold rows, held out.
    offset_ : float
    noise_ : float
        Root mean squared error of `values_` on gold rows.
    notes_ : tuple of str
        Reasons why the posterior is less certain than it says.

    Notes
    -----
    Errors are for rows like the gold ones. A pool that comes from elsewhere has larger ones.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(600, 4))
    >>> y = x @ [2.0, 1.0, 0.0, 0.0] + 0.3 * rng.normal(size=600)
    >>> weak = 2 * x[:, 0] + rng.normal(size=600)  # knows one of the two directions
    >>> gold = np.where(np.arange(600) < 40, y, np.nan)
    >>> posterior = ValuePosterior(random_state=0).fit(x, weak, targets=gold)
    >>> pool = np.isnan(gold)
    >>> error, teacher = (np.mean((v - y)[pool] ** 2) for v in (posterior.values_, weak))
    >>> bool(error < 0.2 < 1.5 < teacher)
    True
    """

    def __init__(
        self,
        *,
        folds: int = 10,
        max_pool: int = 20_000,
        random_state: RandomState = None,
    ) -> None:
        self.folds = folds
        self.max_pool = max_pool
        self.random_state = random_state

    def fit(
        self,
        strong_features: Any,
        weak_values: Any,
        *,
        targets: AnyArray,
        weak_errors: Any = None,
        pool: AnyArray | None = None,
        relabel: Relabel | None = None,
        weak_names: tuple[str, ...] = (),
    ) -> Self:
        """Fit the views and their weights, and give every row a value.

        Parameters
        ----------
        strong_features : array (N, D), memory map or FeatureStore
            Features of all rows; read block by block.
        weak_values : array (N,), or (N, M) of M teachers
            NaN where a teacher abstains. Those of gold rows must be held out where the teacher
            learned from them, and `relabel` is needed.
        targets : array (N,)
            Gold values of the rows to learn from, NaN elsewhere, e.g. on test rows.
        weak_errors : array (N,) or (N, M), optional
            Standard errors of the weak values, which weigh them for the student.
        pool : bool array (N,) or row numbers, optional
            Rows whose weak values the student learns; by default those without a gold value.
        relabel : function of row numbers, optional
            Retrains the teachers on these gold rows; returns the weak values of all rows.
        weak_names : tuple of M str, optional
            Names of the teachers in `weights_`.

        Raises
        ------
        SplitError
            If there is no gold row.
        InputError
            If shapes disagree, or values are infinite.
        """
        check_parameters(self, {"folds": whole(2), "max_pool": whole(2)})
        strong = as_feature_matrix(strong_features, "strong_features")
        n = strong.shape[0]
        weak = check_weak_values(weak_values, n)
        errors = check_weak_errors(weak_errors, weak)
        gold_values = check_gold_values(targets, n)
        gold = np.flatnonzero(np.isfinite(gold_values))
        if not len(gold):
            raise SplitError("no row has a gold value to fit the posterior to")
        learned = np.setdiff1d(check_rows(pool, n, "pool"), gold)
        rng = check_generator(self.random_state)
        names = teacher_names(weak_names, weak.shape[1])
        self.gold_, y = gold, gold_values[gold]
        sizes = self._views(strong, weak, errors, y, learned, relabel, rng)
        self.pool_ = LinearPool(self.views_[gold], y)
        columns = [*names, GOLD_VIEW, STUDENT_VIEW]
        self.weights_ = pd.Series(self.pool_.weights, index=columns, name="weight")
        self.offset_ = self.pool_.offset
        self.view_errors_ = pd.Series(_rms(self.views_[gold] - y[:, None]), index=columns)
        self.values_ = self.pool_.values(self.views_)
        held_out = self.pool_.held_out(self.folds, rng)
        self.values_[gold] = np.where(np.isfinite(held_out), held_out, self.values_[gold])
        residuals = y - held_out
        self.noise_ = float(_rms(residuals[:, None])[0])
        spread = self._spread(sizes)
        self.errors_ = spread * _calibration(residuals, spread[gold])
        self.notes_ = self._notes(y, len(learned))
        for note in self.notes_:
            warnings.warn(note, DegenerateDataWarning, stacklevel=2)
        return self

    def predict(self, strong_features: Any, weak_values: Any) -> FloatArray:
        """Return the posterior value (n,) of other rows, which need weak values as well."""
        check_is_fitted(self, "pool_")
        strong = as_feature_matrix(strong_features, "strong_features")
        weak = check_weak_values(weak_values, strong.shape[0])
        n_teachers = self.views_.shape[1] - 2  # the views of two models follow theirs
        check_teachers(weak, n_teachers, "weak_values", "the rows of the fit")
        own = [
            np.full(strong.shape[0], np.nan) if model is None else model.predict(strong)
            for model in (self.gold_model_, self.student_)
        ]
        return self.pool_.values(np.column_stack([weak, *own]))

    def to_dict(self) -> dict[str, Any]:
        """Return weights and errors as plain types."""
        check_is_fitted(self, "pool_")
        return {
            "task": "regression",
            "weights": self.weights_.to_dict(),
            "offset": self.offset_,
            "view_errors": self.view_errors_.to_dict(),
            "error": self.noise_,
            "n_gold": len(self.gold_),
            "notes": list(self.notes_),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per row of the features: value and error."""
        check_is_fitted(self, "pool_")
        return pd.DataFrame({"value": self.values_, "error": self.errors_})

    def _views(
        self,
        strong: FeatureMatrix,
        weak: FloatArray,
        errors: FloatArray | None,
        y: FloatArray,
        learned: IntArray,
        relabel: Relabel | None,
        rng: np.random.Generator,
    ) -> FloatArray:
        """Compute the views (N, V) of all rows, held out where a model learned from the row.

        Returns their errors as the views themselves say them, NaN where they do not.
        """
        gold, n = self.gold_, strong.shape[0]
        self.gold_model_: RidgeProbe | None = None
        by_gold = np.full(n, np.nan)
        gold_size = by_gold.copy()
        if len(gold) > 1:  # one row teaches its own value alone
            self.gold_model_ = RidgeProbe().fit(FeatureView(strong, gold), y)
            by_gold, gold_size = _left_out(self.gold_model_, strong, gold)
            # The pool knows the mean of all gold rows: around that of the others, a view without
            # any information would look like a bad one.
            by_gold[gold] += (y - y.mean()) / (len(gold) - 1)
        self.student_, by_student, student_size = self._student(strong, weak, errors, learned, rng)
        if relabel is not None and self.student_ is not None and len(gold) > 1:
            # Its weak values came from teachers that saw the gold rows: both start again.
            fold = rng.permutation(np.arange(len(gold)) % min(self.folds, len(gold)))
            for number in np.unique(fold):
                own = check_weak_values(relabel(gold[fold != number]), n, "values of relabel")
                check_teachers(own, weak.shape[1], "values of relabel", "weak_values")
                again, _, _ = self._student(strong, own, None, learned, rng)
                if again is not None:
                    out = gold[fold == number]
                    by_student[out] = again.predict(strong.take(out))
        self.views_ = np.column_stack([weak, by_gold, by_student])
        said = np.full(weak.shape, np.nan) if errors is None else errors
        return np.column_stack([said, gold_size, student_size])

    def _student(
        self,
        strong: FeatureMatrix,
        weak: FloatArray,
        errors: FloatArray | None,
        learned: IntArray,
        rng: np.random.Generator,
    ) -> tuple[RidgeProbe | None, FloatArray, FloatArray]:
        """Train a student of the pool's weak values; return it, its view (N,), and its errors."""
        values, error = mean_value(weak, errors)
        rows = sampled(learned[np.isfinite(values[learned])], self.max_pool, rng)
        if len(rows) < 2:
            return None, *np.full((2, strong.shape[0]), np.nan)
        weights = None if error is None else relative_precision(error[rows])
        student = RidgeProbe().fit(FeatureView(strong, rows), values[rows], weights)
        return student, *_left_out(student, strong, rows)

    def _spread(self, sizes: FloatArray) -> FloatArray:
        """Return the size (N,) of the error of each row's value, up to a common factor.

        It is that of the views, each scaled to its error on gold rows, by the weights of the views.
        """
        total, weight = np.zeros((2, len(sizes)))
        parts = zip(sizes.T, self.weights_, self.view_errors_, self.views_.T, strict=True)
        for own, share, error, view in parts:
            known = own[np.isfinite(own)]
            usual = np.sqrt(np.mean(known**2)) if len(known) else np.nan
            size = own / usual if usual > 0 else np.ones(len(own))
            said = np.isfinite(view) & np.isfinite(size) & np.isfinite(error)
            total += np.where(said, share * (size * error) ** 2, 0.0)
            weight += np.where(said, share, 0.0)
        usual = float(total.sum() / weight.sum()) if weight.sum() > 0 else 1.0
        mean = np.divide(total, weight, out=np.full(len(total), usual), where=weight > 0)
        return np.asarray(np.sqrt(np.maximum(mean, 1e-6 * usual)))

    def _notes(self, y: FloatArray, n_learned: int) -> tuple[str, ...]:
        notes, n_gold = [], len(y)
        if n_gold > 1 and np.ptp(y) == 0:
            notes.append(
                f"all {n_gold:,} gold values are {y[0]:.6g}: they trust no view, and the posterior "
                "is that value everywhere; label rows that differ"
            )
        if n_gold == 1:
            notes.append(
                "one gold row says neither whom to trust nor how large errors are: views count "
                "equally, and errors are unknown"
            )
        elif n_gold < FEWEST_GOLD:
            notes.append(
                f"{n_gold} gold rows are few to weight {len(self.weights_)} views: their weights "
                "are little more than equal ones"
            )
        if n_learned > self.max_pool:
            notes.append(
                f"the student learned from a random {self.max_pool:,} of the {n_learned:,} pool "
                "rows (max_pool); all rows have a value"
            )
        return tuple(notes)


def relative_precision(errors: FloatArray) -> FloatArray:
    """Return weights 1 / error^2 of mean 1; an unknown error counts as the usual one.

    Errors a tenth of the usual one or less count as that: few rows would decide alone.

    >>> relative_precision(np.array([1.0, 2.0, np.nan])).round(2).tolist()
    [1.77, 0.44, 0.79]
    """
    known = errors[np.isfinite(errors)]
    usual = float(np.median(known)) if len(known) else 1.0
    least = max(0.1 * usual, LEAST_ERROR)
    size = np.maximum(np.where(np.isfinite(errors), errors, usual), least)
    weights = 1 / size**2
    return np.asarray(weights / weights.mean())


def _left_out(
    model: RidgeProbe, strong: FeatureMatrix, rows: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Predict all rows with errors, those that a model learned from by the others of them."""
    values, errors = model.predict(strong), model.predict_errors(strong)
    values[rows], errors[rows] = model.leave_one_out_, model.leave_one_out_errors_
    return values, errors


def _calibration(residuals: FloatArray, spread: FloatArray) -> float:
    """Return the factor with which errors fit the residuals (n,) of gold rows."""
    ratio = np.abs(residuals) / spread
    ratio = ratio[np.isfinite(ratio)]
    if not len(ratio):
        return float("nan")
    if len(ratio) < FEWEST_CALIBRATED:
        return float(np.sqrt(np.mean(ratio**2)))
    # The interval holds 90 % whatever the shape of the errors; a root mean square would be that of
    # their tails (of heavy ones it held 97 %).
    level = min(1.0, 0.9 * (len(ratio) + 1) / len(ratio))
    return float(np.quantile(ratio, level)) / NORMAL_90


def _rms(apart: FloatArray) -> FloatArray:
    """Return the root mean square of each column over the rows where it is known."""
    known = np.isfinite(apart)
    squares = np.where(known, apart, 0.0) ** 2
    count = known.sum(axis=0)
    none = np.full(apart.shape[1], np.nan)
    return np.asarray(np.sqrt(np.divide(squares.sum(axis=0), count, out=none, where=count > 0)))
