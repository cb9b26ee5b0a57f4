r"""Forecast of accuracies and the weak-to-strong gain before anything is trained for real.

Dimensions, overlap, disagreement and other label-free scores hardly rank tasks by their gain; a
small labelled set does. Estimates of three kinds are blended: cross-validation on the labelled
rows (unbiased, noisy), posteriors of the labels of the pool put in place of labels, and worlds
simulated from those posteriors (both biased, with little noise).
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.forecast.blend import measure, planned_fits
from w2s_data.forecast.inputs import FEWEST_LABELLED, FEWEST_POOL, Task, check_rows
from w2s_data.forecast.options import OPTIONS, compare, difference_of
from w2s_data.forecast.result import GainForecast, Ingredients, chosen, recovered
from w2s_data.forecast.training import Trainer
from w2s_data.probes.linear import LinearProbe
from w2s_data.utils.intervals import LEVEL, Estimate
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.threads import threads_for
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, one_of, share, whole
from w2s_data.utils.weighting import covered_share, effective_size, worth

# Labelled rows whose cross-validation counts as much as the posterior's guess: with fewer its noise
# is larger than the posterior's bias.
CV_ROWS = 200
# The same for weighted rows, of which a few carry most of the weight: with 200 the error of
# accuracies was 5 % larger.
WEIGHTED_CV_ROWS = 400
# Held out, the student of both has fewer gold rows to learn from; it was measured low by this with
# few of them.
BOTH_LOW = 0.01
# Exponent of the learning curve from labelled rows to a pool of gold labels, and its spread. A
# slope measured on subsets of the labelled rows is so noisy that a constant does better.
LEARNING_RATE, RATE_ERROR = 0.14, 0.05
CLASSIFIERS = ("student", "teacher", "gold_student")
CALIBRATED = 1.6449  # normal quantile of level .9, at which the interval was calibrated


class GainForecaster(BaseEstimator):  # type: ignore[misc]
    r"""Forecast four options from labelled rows and a pool, before any training.

    The options are the teacher, the student trained on the gold labels, the student trained on weak
    labels of the pool, and the student trained on both (gold labels, and the posterior of the
    pool's labels from teacher, gold labels and weak labels as in `LabelPosterior`). With c(o) the
    share of labelled rows that an option gets right when held out, P the posterior of the pool's
    labels and n labelled rows,

    .. math::
        accuracy(o) &= v\, c(o) + (1 - v)\, \text{mean over the pool of } P_i(o_i), \qquad
                       v = \frac{n}{n + 200} \\
        cv &= c(student) - c(teacher) \\
        plug &= \text{mean over the pool of } P_i(s_i) - P_i(t_i) \\
        gain &= w \tfrac{cv + plug}{2} + (1 - w)\, sim, \qquad
                w = \frac{\tau^2}{\tau^2 + se^2}

    where se is the standard error of cv, tau = .03, and sim the mean gain in six simulated worlds:
    labelled and pool rows get labels from P, n of them train the teacher, the others are pool and
    test. Ready-made weak labels have no such worlds: their gain is accuracy(weak) -
    accuracy(teacher).

    P comes from kernel ridge of each class against the rest, on weak, strong or both features,
    penalty and kernel by leave-one-out log-loss; for accuracies and plug it is stacked with the
    held-out scores of teacher, gold labels alone and weak labels alone.

    Parameters
    ----------
    student, teacher : scikit-learn classifiers or None
        The two that will be used; clones are fitted, `LinearProbe()` for None. A random_state of
        None in them is drawn from `random_state`.
    gold_student : scikit-learn classifier or None
        The student of gold labels alone, whose few rows take a stronger penalty than a pool; like
        `student` for None.
    soft : bool
        Train the student on the teacher's probabilities (N, C), which it must accept as
        `LinearProbe` does, instead of on its predicted classes.
    level : float
        Coverage of the intervals.
    max_pool : int or None
        A larger pool is replaced by a random sample of this size, which the forecast is then for.
    max_labelled : int or None
        The same for a larger labelled set; two rows of every class stay in the sample.
    random_state : int, Generator or None
        Controls folds, simulated worlds and samples.

    Attributes
    ----------
    forecast_ : GainForecast
        Estimates of the options, gain and ceiling, the best option and its lead, and a verdict.

    Notes
    -----
    Costs 27 fits of the teacher and 73 of the student, 52 of them on the pool (fewer with less than
    10 labelled rows); with ready-made weak labels none and 48, 27 of them on the pool.

    Standard errors of differences between options are 1.1 (.01 + .4 se + .1 disagreement) / 1.645,
    a rule that was calibrated at level .9; the chance that the gain is positive comes from the same
    normal distribution. Those of accuracies are .008 and .7 of the binomial one with n rows. The
    ceiling is a learning curve from n gold labels to N,
    1 - sqrt((1 - gold) (1 - both)) (1 + N / n)^-.14.

    With `gold_weight` w, c(o) is a weighted share, and rows are worth the effective size
    m = (sum w)^2 / sum w^2 * min(1, mean w). Then v = m / (m + 400), or more where c and the
    posterior's guess differ by over two standard errors, and accuracies have the intervals of
    sqrt(n m) rows, widened by the share 1 - mean w of the pool that no labelled row covers. Where m
    is below 30, or that share at least .1, advice is withheld.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.utils import shuffle
    >>> strong, digit = shuffle(*load_digits(return_X_y=True), random_state=0)
    >>> weak, y = strong.reshape(-1, 8, 8)[:, :, :4].reshape(-1, 32), digit >= 5  # the left half
    >>> forecaster = GainForecaster(
    ...     student=LinearProbe(l2=0.1), teacher=LinearProbe(l2=1e-3), random_state=0
    ... )
    >>> labelled, pool = slice(200), slice(200, 900)
    >>> forecaster = forecaster.fit(
    ...     strong[labelled], weak[labelled], y[labelled],
    ...     strong_pool=strong[pool], weak_pool=weak[pool],
    ... )
    >>> forecaster.forecast_.verdict, round(forecaster.forecast_.gain.value, 2)
    ('train on the gold labels', 0.03)
    """

    def __init__(
        self,
        student: Any = None,
        teacher: Any = None,
        *,
        gold_student: Any = None,
        soft: bool = False,
        level: float = LEVEL,
        max_pool: int | None = 10_000,
        max_labelled: int | None = 10_000,
        random_state: RandomState = None,
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.gold_student = gold_student
        self.soft = soft
        self.level = level
        self.max_pool = max_pool
        self.max_labelled = max_labelled
        self.random_state = random_state

    def fit(
        self,
        strong_labelled: Any,
        weak_labelled: Any,
        y: AnyArray,
        *,
        strong_pool: Any,
        weak_pool: Any,
        weak_proba: tuple[Any, Any] | None = None,
        gold_weight: AnyArray | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Forecast the result of training on this labelled set and this pool.

        Parameters
        ----------
        strong_labelled, weak_labelled : array (n, D_s), (n, D_w), memory map or FeatureStore
        y : array (n,)
            Gold labels, two rows or more of each class.
        strong_pool, weak_pool : array (N, D_s), (N, D_w), memory map or FeatureStore
            No labels: the forecast cannot see the pool's.
        weak_proba : (labelled, pool), arrays (n, C), (N, C) or (n, M, C), (N, M, C), optional
            Ready-made weak labels, which then take the place of a teacher that learns from the
            labelled rows; they must not have learned from them. y are class codes, the columns of
            these, and `weak_labelled` and `weak_pool` may be None.
        gold_weight : array (n,), optional
            Density ratios of the pool to the labelled rows where these come from elsewhere, as
            `ShiftDetector.weights_` has them. Held-out rows then count by their weight, and n is
            their effective size in blends and intervals; models are trained without weights.
        progress : bool, optional
            Draw a progress bar; by default where standard error is a terminal.

        Raises
        ------
        SplitError
            A single class, or a class with a single row (named).
        EmptyDataError
            No pool, or one of fewer than 10 rows.
        FeatureError
            NaN or infinite rows (named), columns that differ between labelled rows and pool.
        InputError
            Row counts that disagree, missing labels, or a classifier that cannot be fitted.
        """
        self._check_parameters()
        rng = check_generator(self.random_state)
        task, notes = check_rows(
            strong_labelled,
            weak_labelled,
            y,
            strong_pool=strong_pool,
            weak_pool=weak_pool,
            weak_proba=weak_proba,
            gold_weight=gold_weight,
            max_pool=self.max_pool,
            max_labelled=self.max_labelled,
            rng=rng,
        )
        for note in notes:
            warnings.warn(note, DegenerateDataWarning, stacklevel=2)
        n_fits = planned_fits(len(task.codes), ready=task.ready is not None)
        bar = progress_bar("forecast", n_fits, "fits", progress)
        with threads_for(task.strong_pool.size), bar as advance:
            student, teacher, gold_student = map(self._classifier, CLASSIFIERS)
            trainer = Trainer(
                student, teacher, gold_student, task.n_classes, self.soft, rng, advance
            )
            ingredients = measure(task, trainer, rng)
        self.forecast_ = self._result(task, ingredients, trainer, notes)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the forecast by field, as `GainForecast.to_dict` does."""
        check_is_fitted(self)
        return self.forecast_.to_dict()

    def to_frame(self) -> pd.DataFrame:
        """Return the accuracies and the gain as a table, as `GainForecast.to_frame` does."""
        check_is_fitted(self)
        return self.forecast_.to_frame()

    def _classifier(self, role: str) -> Any:
        given = getattr(self, role)
        if given is None and role == "gold_student":
            given = self.student
        return LinearProbe() if given is None else given

    def _check_parameters(self) -> None:
        check_parameters(
            self,
            {
                "level": share,
                "max_pool": one_of(None) | whole(FEWEST_POOL),
                "max_labelled": one_of(None) | whole(FEWEST_LABELLED),
            },
        )
        for role in CLASSIFIERS:
            given = self._classifier(role)
            if not all(hasattr(given, name) for name in ("fit", "predict", "get_params")):
                raise InputError(f"{role} must be a scikit-learn classifier or None; got {given!r}")
        if self.soft and not hasattr(self._classifier("teacher"), "predict_proba"):
            raise InputError(
                f"soft=True needs a teacher with predict_proba; {self.teacher!r} has none"
            )

    def _result(
        self, task: Task, measured: Ingredients, trainer: Trainer, notes: list[str]
    ) -> GainForecast:
        from scipy.stats import norm

        n, n_pool = len(task.codes), len(task.weak_pool)
        gold_weight = task.gold_weight
        size = float(n) if gold_weight is None else effective_size(gold_weight)
        # The posterior's guess, the other part of an estimate, still has all rows.
        noise_size = np.sqrt(n * size)
        z = float(norm.ppf((1 + self.level) / 2))
        found = measured.options
        cv, plug = np.array(found.cv), np.array(found.plug)
        # The more labelled rows, the more their own count is worth against the posterior's guess.
        weight = n / (n + CV_ROWS) if gold_weight is None else _weight_of_count(cv, plug, size)
        blended = weight * cv + (1 - weight) * plug
        teacher, gold, student, both = blended
        both = min(1.0, both + CV_ROWS / (n + CV_ROWS) * BOTH_LOW)
        if task.ready is None:  # the simulated worlds know more about this difference
            student = float(np.clip(teacher + measured.gain, 0, 1))
        accuracies = [float(value) for value in (teacher, gold, student, both)]
        options = {
            name: self._accuracy(value, _accuracy_error(value, noise_size), z)
            for name, value in zip(OPTIONS, accuracies, strict=True)
        }
        errors = _difference_errors(np.array(found.se), np.array(found.disagreement))
        choice = compare(options, errors, z, self.level)
        gain = difference_of(choice.differences, "weak", "teacher")
        ceiling, ceiling_error = _ceiling(accuracies[1], accuracies[3], n, n_pool, noise_size)
        pgr, pgr_reason = recovered(gain.value, ceiling - accuracies[0])
        forecast = GainForecast(
            n=n,
            N=n_pool,
            n_classes=task.n_classes,
            effective_size=size,
            uncovered=0.0,
            teacher=options["teacher"],
            student=options["weak"],
            gain=gain,
            ceiling=self._accuracy(ceiling, ceiling_error, z),
            pgr=pgr,
            pgr_reason=pgr_reason,
            chance_w2s_helps=float(norm.cdf(gain.value / errors[0][2])),
            level=self.level,
            ingredients=measured,
            warnings=tuple(notes),
            teacher_fits=trainer.teacher_fits,
            student_fits=trainer.student_fits,
            **chosen(choice),
        )
        if gold_weight is None:
            return forecast
        return forecast.weighted(worth(n, gold_weight), 1 - covered_share(gold_weight))

    def _accuracy(self, value: float, error: float, z: float) -> Estimate:
        low, high = max(0.0, value - z * error), min(1.0, value + z * error)
        return Estimate(value, low, high, self.level)


def _weight_of_count(cv: FloatArray, plug: FloatArray, size: float) -> float:
    """Return the weight of weighted held-out shares of options against the posterior's guess.

    It is large only where the two differ by more than two standard errors. That shows a guess that
    does not carry over to the pool, since it sees no reason why accuracy changes.
    """
    variance, gap = (cv * (1 - cv)).mean() / max(size, 1.0), ((cv - plug) ** 2).mean()
    excess = 1 - 4 * variance / gap if gap > 0 else 0.0
    return float(max(size / (size + WEIGHTED_CV_ROWS), excess))


def _difference_errors(se: FloatArray, disagreement: FloatArray) -> FloatArray:
    """Return standard errors of differences of options, from a rule calibrated at level .9."""
    return 1.1 * (0.01 + 0.4 * se + 0.1 * disagreement) / CALIBRATED


def _accuracy_error(value: float, n: float) -> float:
    """Return the standard error of a forecast accuracy: a part of the binomial one, and more."""
    smoothed = (n * value + 2) / (n + 4)  # Agresti and Coull: no zero width at accuracy 1
    return float(0.008 + 0.7 * np.sqrt(smoothed * (1 - smoothed) / n))


def _ceiling(gold: float, both: float, n: int, n_pool: int, size: float) -> tuple[float, float]:
    r"""Extrapolate a learning curve from n labelled rows to a pool of gold labels.

    .. math:: 1 - \text{ceiling} = \sqrt{(1 - gold)(1 - both)} \, (1 + N / n)^{-.14}

    Returned with its standard error, for labelled rows that are worth `size`.
    """
    growth = np.log1p(n_pool / n)
    error = float(np.sqrt((1 - gold) * (1 - both)) * np.exp(-LEARNING_RATE * growth))
    ceiling = max(1 - error, both)  # more gold labels do not hurt
    start = _accuracy_error(both, size) / max(1 - both, 1 / n)
    return ceiling, max(1 - ceiling, 1 / n) * float(np.hypot(start, RATE_ERROR * growth))
