r"""Forecast of mean squared errors of four options before anything is trained for real."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator

from w2s_data.errors import InputError, SplitError
from w2s_data.features.matrix import as_feature_matrix, sampled
from w2s_data.forecast.inputs import FEW_ROWS, FEWEST_POOL
from w2s_data.forecast.options import ADVICE, OPTIONS, Difference
from w2s_data.probes.ridge import RidgeProbe, check_targets
from w2s_data.regression.forecast_result import ValueForecast, ValueOption
from w2s_data.regression.heldout import from_given, held_out, mixed, student_map
from w2s_data.regression.options import advise, choose, pairs_of
from w2s_data.utils.intervals import LEVEL, Estimate, student_quantile
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import (
    check_generator,
    check_parameters,
    check_same_length,
    check_weights,
    nonnegative,
    one_of,
    share,
    whole,
)
from w2s_data.utils.weighting import FEWEST_EFFECTIVE, covered_share, effective_size, worth

FEWEST_LABELLED = 8  # rows, of which leave-one-out errors have a spread worth the name
N_FOLDS = 20  # of the labelled rows: models of 95 % of them are nearly as good
# Standard errors of held-out means are too small for the error of one model, whose rows they share.
# Calibrated on four targets, and tried on fresh draws of three.
SPREAD, DISAGREEMENT, LEAST = 1.3, 0.15, 0.03


class ValueForecaster(BaseEstimator):  # type: ignore[misc]
    r"""Forecast mean squared errors of four options from labelled rows and a pool.

    The options are the teacher (ridge on the weak features, or ready-made weak values), a ridge
    student of the gold values, one of the teacher's values of the pool, and one of both. Each is
    judged by labelled rows that it did not learn from, in 20 folds, in each of which penalties are
    chosen again: errors left out by the penalty that they chose are 3 to 15 % too small. A student
    of the pool's weak values depends on the labelled rows through its teacher's weights alone,

    .. math:: \hat s_i = b_i^T Q \theta_{-i}, \qquad Q = (B^T B + \lambda I)^{-1} B^T A

    with strong rows B and weak rows A of the pool, so that it is fitted once. The student of both
    is the mix c gold + (1 - c) weak with the least error on all other rows, c in [0, 1].

    Parameters
    ----------
    teacher_penalty : "gcv" or float
        Penalty of the teacher, as of `RidgeProbe`; students always choose theirs.
    level : float
        Coverage of the intervals.
    max_pool : int or None
        A larger pool is replaced by a random sample of this size.
    random_state : int, Generator or None
        Controls that sample.

    Attributes
    ----------
    forecast_ : ValueForecast

    Notes
    -----
    Intervals are Student's, of errors on a log scale and of differences as they are, from standard
    errors :math:`\sqrt{(1.3\,se)^2 + (0.15\,d)^2 + (0.03\,m)^2}`, where d is the mean squared
    distance of the two predictions and m the lesser error; for an error itself d is 0. They are for
    fresh rows like the labelled ones.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(700, 12))
    >>> y = x @ np.ones(12) + rng.normal(size=700)
    >>> forecaster = ValueForecaster(random_state=0)
    >>> forecaster = forecaster.fit(x[:60], x[:60, :8], y[:60], strong_pool=x[60:],
    ...                             weak_pool=x[60:, :8])
    >>> forecaster.forecast_.advised, forecaster.forecast_.mse("gold").value < 1.6
    ('gold', True)
    """

    def __init__(
        self,
        teacher_penalty: float | Literal["gcv"] = "gcv",
        level: float = LEVEL,
        max_pool: int | None = 20_000,
        random_state: RandomState = None,
    ) -> None:
        self.teacher_penalty = teacher_penalty
        self.level = level
        self.max_pool = max_pool
        self.random_state = random_state

    def fit(
        self,
        strong_labelled: Any,
        weak_labelled: Any,
        targets: AnyArray,
        *,
        strong_pool: Any,
        weak_pool: Any = None,
        weak_values: tuple[AnyArray, AnyArray] | None = None,
        gold_weight: AnyArray | None = None,
    ) -> Self:
        """Forecast.

        Parameters
        ----------
        strong_labelled, strong_pool : array (n, D_s), (N, D_s), memory map or FeatureStore
        weak_labelled, weak_pool : array (n, D_w), (N, D_w), or None
            Features of the teacher; not read where weak values are given.
        targets : float array (n,)
            Gold values of the labelled rows.
        weak_values : pair of float arrays (n,) and (N,), optional
            Ready-made weak values of labelled rows and pool, NaN where there is none; those of the
            labelled rows must not come from a model that learned from them.
        gold_weight : float array (n,), optional
            Density ratios of the pool to the labelled rows, if these come from elsewhere.

        Raises
        ------
        InputError
            Targets that are no finite numbers, row counts that disagree, neither weak features nor
            weak values.
        SplitError
            Fewer than 8 labelled rows or 10 pool rows, or targets that are all the same.
        """
        check_parameters(
            self,
            {
                "teacher_penalty": one_of("gcv") | nonnegative,
                "level": share,
                "max_pool": one_of(None) | whole(FEWEST_POOL),
            },
        )
        y = check_targets(targets)
        rng = check_generator(self.random_state)
        pool_matrix = as_feature_matrix(strong_pool, "strong_pool")
        n, n_pool = len(y), pool_matrix.shape[0]
        check_enough(y, n_pool)
        rows: IntArray = np.arange(n_pool)
        if self.max_pool is not None and n_pool > self.max_pool:
            rows = sampled(rows, self.max_pool, rng)
        strong_gold = _read(strong_labelled, "strong_labelled", np.arange(n))
        strong_unlabelled = _read(pool_matrix, "strong_pool", rows)
        check_same_length(strong_labelled=strong_gold, targets=y)
        folds = rng.permutation(n) % min(N_FOLDS, n)
        predictions = {"gold": held_out(strong_gold, y, folds, RidgeProbe())}
        if weak_values is not None:
            own, of_pool = (np.asarray(v, dtype=np.float64) for v in weak_values)
            check_same_length(targets=y, weak_values=own)
            check_same_length(strong_pool=np.empty(n_pool), weak_values=of_pool)
            predictions |= from_given(own, of_pool[rows], strong_gold, strong_unlabelled, y)
        else:
            if weak_labelled is None or weak_pool is None:
                raise InputError("a forecast needs weak features or weak_values")
            weak_gold = _read(weak_labelled, "weak_labelled", np.arange(n))
            weak_unlabelled = _read(weak_pool, "weak_pool", rows)
            check_same_length(weak_labelled=weak_gold, targets=y)
            check_same_length(weak_pool=weak_unlabelled, strong_pool=strong_unlabelled)
            teacher = RidgeProbe(self.teacher_penalty)
            student = RidgeProbe().fit(
                strong_unlabelled, teacher.fit(weak_gold, y).predict(weak_unlabelled)
            )
            seen = student_map(weak_unlabelled, strong_unlabelled, strong_gold, student.penalty_)
            predictions["teacher"] = held_out(weak_gold, y, folds, teacher)
            predictions["weak"] = held_out(weak_gold, y, folds, teacher, seen)
        weighted = gold_weight is not None
        weights = check_weights(gold_weight, n, "gold_weight") if weighted else np.ones(n)
        predictions["both"] = mixed(predictions["gold"], predictions["weak"], y, weights)
        self.predictions_ = {name: predictions[name] for name in OPTIONS}
        self.forecast_ = self._forecast(y, weights, n_pool, weighted=weighted)
        return self

    def _forecast(
        self, y: FloatArray, weights: FloatArray, n_pool: int, *, weighted: bool
    ) -> ValueForecast:
        n = len(y)
        scale = weights / weights.sum()
        spread = (y - scale @ y) ** 2
        squares = {name: (found - y) ** 2 for name, found in self.predictions_.items()}
        size = effective_size(weights) if weighted else float(n)
        quantile = student_quantile(max(1.0, size - 1), self.level)
        options = tuple(
            _option(name, squares[name], spread, scale, quantile, self.level) for name in OPTIONS
        )
        differences = tuple(
            Difference(dear, cheap, self._difference(squares, dear, cheap, scale, quantile))
            for dear, cheap in pairs_of(OPTIONS)
        )
        errors = {option.name: option.mse for option in options}
        choice = choose({name: found.value for name, found in errors.items()}, differences)
        gain = self._difference(squares, "teacher", "weak", scale, quantile)
        found = ValueForecast(
            options=options,
            differences=differences,
            best=choice.best,
            advised=choice.advised,
            gain=gain,
            chance_w2s_helps=_chance(gain, quantile, size),
            verdict=ADVICE[choice.advised],
            reading=advise(errors, choice),
            n=n,
            N=n_pool,
            level=self.level,
            variance=float(scale @ spread),
            effective_size=size,
            warnings=tuple(_notes(n, n_pool, weights if weighted else None)),
        )
        if weighted and size < FEWEST_EFFECTIVE:
            reason = f"the pool comes from elsewhere, and {worth(n, weights)}"
            return found.withheld(f"{reason} (fewer than {FEWEST_EFFECTIVE})")
        return found

    def _difference(
        self,
        squares: Mapping[str, FloatArray],
        name: str,
        other: str,
        scale: FloatArray,
        quantile: float,
    ) -> Estimate:
        """Return the error of an option minus that of another, on the same rows."""
        apart = squares[name] - squares[other]
        distance = (self.predictions_[name] - self.predictions_[other]) ** 2
        value = float(scale @ apart)
        error = SPREAD * _standard_error(apart, scale)
        least = LEAST * min(float(scale @ squares[key]) for key in (name, other))
        spread = DISAGREEMENT * float(scale @ distance)
        half = quantile * math.hypot(error, spread, least)
        return Estimate(value, value - half, value + half, self.level)


def check_enough(targets: FloatArray, n_pool: int) -> None:
    """Raise SplitError for too few rows, or targets without a spread."""
    n = len(targets)
    if n < FEWEST_LABELLED:
        raise SplitError(
            f"{n} labelled row{'s' * (n != 1)} with a value: a forecast needs {FEWEST_LABELLED} or "
            "more, label more"
        )
    if np.ptp(targets) == 0:
        raise SplitError(
            f"all {n} labelled rows have the value {targets[0]:g}: there is nothing to predict"
        )
    if n_pool < FEWEST_POOL:
        raise SplitError(
            f"the pool holds {n_pool} rows; a forecast needs at least {FEWEST_POOL} unlabelled rows"
        )


def _read(features: Any, name: str, rows: AnyArray) -> FloatArray:
    matrix = as_feature_matrix(features, name)
    if name.endswith("labelled") and matrix.shape[0] != len(rows):
        check_same_length(**{name: np.empty(matrix.shape[0]), "targets": rows})
    return np.asarray(matrix.take(rows), dtype=np.float64)


def _option(
    name: str,
    squares: FloatArray,
    spread: FloatArray,
    scale: FloatArray,
    quantile: float,
    level: float,
) -> ValueOption:
    mse, variance = float(scale @ squares), float(scale @ spread)
    # On a log scale, since squared errors are skewed.
    error = float(np.hypot(SPREAD * _standard_error(squares, scale), LEAST * mse))
    factor = np.exp(quantile * error / mse) if mse > 0 else 1.0
    found = Estimate(mse, float(mse / factor), float(mse * factor), level)
    value, low, high = (float(np.sqrt(side)) for side in (found.value, found.low, found.high))
    root = Estimate(value, low, high, level)
    part = mse / variance
    of_both = squares / mse - spread / variance if mse > 0 else np.zeros_like(squares)
    both = float(np.exp(quantile * SPREAD * _standard_error(of_both, scale)))
    r2 = Estimate(1 - part, 1 - part * both, 1 - part / both, level)
    return ValueOption(name, found, root, r2)


def _standard_error(values: FloatArray, scale: FloatArray) -> float:
    """Return the standard error of a weighted mean; the weights sum to 1."""
    n = len(values)
    centred = values - scale @ values
    return float(np.sqrt((scale**2) @ centred**2 * n / max(1, n - 1)))


def _chance(gain: Estimate, quantile: float, size: float) -> float:
    """Return the probability of a gain above 0, by the same distribution as its interval."""
    from scipy.stats import t

    error = (gain.high - gain.value) / quantile
    if error <= 1e-9 * max(abs(gain.value), abs(gain.high)):
        return float(gain.value > 0)
    return float(t.cdf(gain.value / error, max(1.0, size - 1)))


def _notes(n: int, n_pool: int, weights: FloatArray | None) -> list[str]:
    notes = []
    if n < FEW_ROWS:
        notes.append(
            f"{n} labelled rows: forecasts from fewer than {FEW_ROWS} vary more than their "
            "intervals say"
        )
    if n_pool < FEW_ROWS:
        notes.append(f"{n_pool} pool rows: the student learns from very few")
    if weights is not None:
        text = worth(n, weights)
        if (uncovered := 1 - covered_share(weights)) >= 0.01:
            text += f", and {uncovered:.0%} of it is unlike any gold row"
        notes.append(text)
    return notes
