r"""Forecast of the weak-to-strong gain before anything is trained for real.

Dimensions, overlap, disagreement and other label-free scores hardly rank tasks by their gain; a
small labelled set does. Three estimates of the gain are blended: cross-validation on the labelled
rows (unbiased, noisy), posteriors of the labels of the pool put in place of labels, and worlds
simulated from those posteriors (both biased towards 0, with little noise).
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
from w2s_data.forecast.result import GainForecast, Ingredients, expected, recovered
from w2s_data.forecast.training import Trainer
from w2s_data.probes.linear import LinearProbe, threads_for
from w2s_data.utils.intervals import LEVEL, Estimate
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, one_of, share, whole

# Part of the half-width at level .9 below which a gain is undecided: of 60 measured tasks the sign
# was right in .60 below it, in .78 between a quarter and a half, in .93 beyond the half-width.
UNDECIDED = 0.25
CALIBRATED = 1.6449  # normal quantile of level .9, at which the interval was calibrated


class GainForecaster(BaseEstimator):  # type: ignore[misc]
    r"""Forecast accuracies, gain and ceiling from labelled rows and a pool, before any training.

    With s, t the classes that student and teacher give a row, P the posterior from labelled rows,

    .. math::
        cv &= \text{mean over labelled rows of } [s_i = y_i] - [t_i = y_i], \quad
              \text{all held out} \\
        plug &= \text{mean over the pool of } P_i(s_i) - P_i(t_i) \\
        gain &= w \tfrac{cv + plug}{2} + (1 - w)\, sim, \qquad
                w = \frac{\tau^2}{\tau^2 + se^2}

    where se is the standard error of cv, tau = .03, and sim the mean gain in six simulated worlds:
    labelled and pool rows get labels from P, n of them train the teacher, the others are pool and
    test. For two classes plug is mean((s - t) eta) / 2 with signs s, t and eta = 2 P - 1.

    P comes from kernel ridge of each class against the rest, on weak, strong or both features,
    penalty and kernel by leave-one-out log-loss; for plug it is stacked with the held-out scores of
    teacher and student.

    Parameters
    ----------
    student, teacher : scikit-learn classifiers or None
        The two that will be used; clones are fitted, `LinearProbe()` for None. A random_state of
        None in them is drawn from `random_state`.
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
        Estimates of teacher, student, gain and ceiling, the chance of a gain, and a verdict.

    Notes
    -----
    Costs 47 fits of the teacher and 56 of the student (fewer with less than 10 labelled rows).

    The interval of the gain was calibrated at level .9, where gain +- 1.1 (.01 + .4 se + .1
    disagreement) held the realised gain in .906 of 188 tasks and .912 of 80 fresh ones. Other
    levels, the default included, scale it as a normal distribution's; the chance that the gain is
    positive comes from the same distribution. Intervals of teacher and student are binomial with
    n rows. The ceiling is measured on n gold labels instead of N, so its interval reaches 1.75
    binomial half-widths up and .5 down.

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
    ('train it', 0.03)
    """

    def __init__(
        self,
        student: Any = None,
        teacher: Any = None,
        *,
        soft: bool = False,
        level: float = LEVEL,
        max_pool: int | None = 10_000,
        max_labelled: int | None = 10_000,
        random_state: RandomState = None,
    ) -> None:
        self.student = student
        self.teacher = teacher
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
            max_pool=self.max_pool,
            max_labelled=self.max_labelled,
            rng=rng,
        )
        for note in notes:
            warnings.warn(note, DegenerateDataWarning, stacklevel=2)
        bar = progress_bar("forecast", planned_fits(len(task.codes)), "fits", progress)
        with threads_for(task.strong_pool.size), bar as advance:
            probes = (self._classifier("student"), self._classifier("teacher"))
            trainer = Trainer(*probes, task.n_classes, self.soft, rng, advance)
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
        for role in ("student", "teacher"):
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

        n = len(task.codes)
        z = float(norm.ppf((1 + self.level) / 2))
        held_out = (measured.cv + measured.plug) / 2
        gain = measured.weight * held_out + (1 - measured.weight) * measured.sim
        half_width = 1.1 * (0.01 + 0.4 * measured.se + 0.1 * measured.disagreement)
        error = half_width / CALIBRATED  # as a standard error
        teacher = (measured.teacher_cv + measured.teacher_plug) / 2
        student = float(np.clip(teacher + gain, 0, 1))
        gain = student - teacher
        pgr, pgr_reason = recovered(gain, measured.ceiling - teacher)
        chance = float(norm.cdf(gain / error))
        interval = Estimate(gain, gain - z * error, gain + z * error, self.level)
        verdict, reading = _read(interval, abs(gain) < UNDECIDED * half_width, chance)
        return GainForecast(
            n=n,
            N=len(task.weak_pool),
            n_classes=task.n_classes,
            teacher=self._accuracy(teacher, n, z, z),
            student=self._accuracy(student, n, z, z),
            gain=interval,
            # Fitted on n gold labels where the real one has N, it is low by .02 to .03 on average.
            ceiling=self._accuracy(measured.ceiling, n, 0.5 * z, 1.75 * z),
            pgr=pgr,
            pgr_reason=pgr_reason,
            chance_w2s_helps=chance,
            verdict=verdict,
            reading=reading,
            level=self.level,
            ingredients=measured,
            warnings=tuple(notes),
            teacher_fits=trainer.teacher_fits,
            student_fits=trainer.student_fits,
        )

    def _accuracy(self, value: float, n: int, below: float, above: float) -> Estimate:
        """Give a share of n rows a binomial interval, in standard errors."""
        smoothed = (n * value + 2) / (n + 4)  # Agresti and Coull: no zero width at accuracy 1
        error = float(np.sqrt(smoothed * (1 - smoothed) / n))
        low, high = max(0.0, value - below * error), min(1.0, value + above * error)
        return Estimate(value, low, high, self.level)


def _read(gain: Estimate, undecided: bool, chance: float) -> tuple[str, str]:
    if undecided:
        verdict, why = "undecided", "its sign is a coin flip; label more rows"
    elif gain.value > 0:
        verdict, why = "train it", f"the student beats its teacher with probability {chance:.2f}"
    else:
        verdict = "keep the teacher"
        why = f"the student falls behind it with probability {1 - chance:.2f}"
    return verdict, f"{expected(gain)}: {why}"
