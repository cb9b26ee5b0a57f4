r"""Forecast of the weak-to-strong gain before anything is trained for real.

Dimensions, overlap, disagreement and other label-free scores hardly rank tasks by their gain; a
small labelled set does. Three estimates of the gain are blended: cross-validation on the labelled
rows (unbiased, noisy), posteriors of the labels of the pool put in place of labels, and worlds
simulated from those posteriors (both biased towards 0, with little noise).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.forecast.inputs import FEWEST_LABELLED, FEWEST_POOL, check_task
from w2s_data.forecast.parts import (
    CEILING_FOLDS,
    CV_FOLDS,
    DRAWS,
    POOL_FOLDS,
    Measured,
    Task,
    Trainer,
    measure,
)
from w2s_data.forecast.result import GainForecast, Ingredients
from w2s_data.probes.linear import LinearProbe, _threads_for
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, RandomState
from w2s_data.utils.validation import check_generator

PRIOR_SD = 0.03  # of gains: where cross-validation is noisier, simulation counts more
HEADROOM = 0.05  # ceiling minus teacher below which recovered performance has no meaning
UNDECIDED = 0.25  # of the half-width at level .9: a smaller gain has the sign of a coin flip


class GainForecaster(BaseEstimator):  # type: ignore[misc]
    r"""Accuracy of teacher and student, their gain and the ceiling, from labelled rows and a pool.

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
    teacher, student : scikit-learn classifiers or None
        The two that will be used; clones are fitted, `LinearProbe()` for None. A random_state of
        None in them is drawn from `random_state`.
    soft : bool
        Train the student on the teacher's probabilities (N, C), which it must accept as
        `LinearProbe` does, instead of on its predicted classes.
    level : float
        Coverage of the intervals.
    max_pool : int or None
        Of a larger pool a random sample of this size is used, and the forecast is for it.
    max_labelled : int or None
        The same for a larger labelled set; two rows of every class stay in the sample.
    random_state : int, Generator or None
        Folds, simulated worlds, the samples.

    Notes
    -----
    Costs 47 fits of the teacher and 56 of the student (fewer with less than 10 labelled rows).
    Intervals of the gain are gain +- 1.1 (.01 + .4 se + .1 disagreement) at level .9, scaled for
    other levels as a normal distribution's; the chance that the gain is positive comes from the
    same distribution. Intervals of teacher and student are binomial with n rows. The ceiling is
    measured on n gold labels instead of N, so its interval reaches 1.75 binomial half-widths up
    and .5 down.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.utils import shuffle
    >>> strong, digit = shuffle(*load_digits(return_X_y=True), random_state=0)
    >>> weak, y = strong.reshape(-1, 8, 8)[:, :, :4].reshape(-1, 32), digit >= 5  # the left half
    >>> forecaster = GainForecaster(LinearProbe(l2=1e-3), LinearProbe(l2=0.1), random_state=0)
    >>> forecast = forecaster.forecast(
    ...     weak[:200], strong[:200], y[:200], weak[200:900], strong[200:900]
    ... )
    >>> forecast.verdict, round(forecast.gain.value, 2)
    ('train it', 0.03)
    """

    def __init__(
        self,
        teacher: Any = None,
        student: Any = None,
        *,
        soft: bool = False,
        level: float = 0.9,
        max_pool: int | None = 10_000,
        max_labelled: int | None = 10_000,
        random_state: RandomState = None,
    ) -> None:
        self.teacher = teacher
        self.student = student
        self.soft = soft
        self.level = level
        self.max_pool = max_pool
        self.max_labelled = max_labelled
        self.random_state = random_state

    def forecast(
        self,
        weak_labelled: Any,
        strong_labelled: Any,
        y: AnyArray,
        weak_pool: Any,
        strong_pool: Any,
        progress: bool | None = None,
    ) -> GainForecast:
        """Forecast what training on this labelled set and this pool will give.

        Parameters
        ----------
        weak_labelled, strong_labelled : array (n, D_w), (n, D_s), memory map or FeatureStore
        y : array (n,)
            Gold labels, two rows or more of each class.
        weak_pool, strong_pool : array (N, D_w), (N, D_s), memory map or FeatureStore
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
        task, notes = check_task(
            weak_labelled,
            strong_labelled,
            y,
            weak_pool,
            strong_pool,
            self.max_pool,
            self.max_labelled,
            rng,
        )
        for note in notes:
            warnings.warn(note, DegenerateDataWarning, stacklevel=2)
        n_fits = _planned_fits(len(task.codes))
        bar = progress_bar("forecast", n_fits, "fits", progress)
        with _threads_for(task.strong_pool.size), bar as advance:
            probes = (self._classifier("teacher"), self._classifier("student"))
            trainer = Trainer(*probes, task.n_classes, self.soft, rng, advance)
            measured = measure(task, trainer, rng)
        return self._result(task, measured, trainer, notes)

    def _classifier(self, role: str) -> Any:
        given = getattr(self, role)
        return LinearProbe() if given is None else given

    def _check_parameters(self) -> None:
        for role in ("teacher", "student"):
            given = self._classifier(role)
            if not all(hasattr(given, name) for name in ("fit", "predict", "get_params")):
                raise InputError(f"{role} must be a scikit-learn classifier or None; got {given!r}")
        if self.soft and not hasattr(self._classifier("teacher"), "predict_proba"):
            raise InputError(
                f"soft=True needs a teacher with predict_proba; {self.teacher!r} has none"
            )
        if not 0 < self.level < 1:
            raise InputError(f"level must lie in (0, 1); got {self.level!r}")
        if self.max_labelled is not None and self.max_labelled < FEWEST_LABELLED:
            raise InputError(
                f"max_labelled must be None or at least {FEWEST_LABELLED}; got "
                f"{self.max_labelled!r}"
            )
        if self.max_pool is not None and self.max_pool < FEWEST_POOL:
            raise InputError(
                f"max_pool must be None or at least {FEWEST_POOL}; got {self.max_pool!r}"
            )

    def _result(
        self, task: Task, measured: Measured, trainer: Trainer, notes: list[str]
    ) -> GainForecast:
        from scipy.stats import norm

        n = len(task.codes)
        z = float(norm.ppf((1 + self.level) / 2))
        weight = PRIOR_SD**2 / (PRIOR_SD**2 + measured.se**2)
        gain = weight * (measured.cv + measured.plug) / 2 + (1 - weight) * measured.sim
        error = _gain_error(measured)
        teacher = (measured.teacher_cv + measured.teacher_plug) / 2
        student = float(np.clip(teacher + gain, 0, 1))
        gain = student - teacher
        pgr, pgr_reason = _recovered(gain, measured.ceiling - teacher)
        chance = float(norm.cdf(gain / error))
        verdict, reading = _read(gain, z * error, error, self.level, chance)
        return GainForecast(
            n=n,
            N=len(task.weak_pool),
            n_classes=task.n_classes,
            teacher=_accuracy(teacher, n, z, z),
            student=_accuracy(student, n, z, z),
            gain=Estimate(gain, gain - z * error, gain + z * error),
            ceiling=_accuracy(measured.ceiling, n, 0.5 * z, 1.75 * z),
            pgr=pgr,
            pgr_reason=pgr_reason,
            chance_w2s_helps=chance,
            verdict=verdict,
            reading=reading,
            level=self.level,
            ingredients=Ingredients(
                measured.cv, measured.plug, measured.sim, measured.se, measured.disagreement, weight
            ),
            warnings=tuple(notes),
            teacher_fits=trainer.teacher_fits,
            student_fits=trainer.student_fits,
        )


def _gain_error(measured: Measured) -> float:
    """Standard error of the gain: the half-width at level .9 that covered, as a normal one."""
    half_width = 1.1 * (0.01 + 0.4 * measured.se + 0.1 * measured.disagreement)
    return half_width / 1.6449


def _accuracy(value: float, n: int, below: float, above: float) -> Estimate:
    """Binomial interval of n rows, in standard errors; two rows of each kind are added to it."""
    smoothed = (n * value + 2) / (n + 4)  # Agresti and Coull: no zero width at accuracy 1
    error = float(np.sqrt(smoothed * (1 - smoothed) / n))
    return Estimate(value, max(0.0, value - below * error), min(1.0, value + above * error))


def _recovered(gain: float, headroom: float) -> tuple[float, str]:
    if headroom < HEADROOM:
        return np.nan, (
            f"not defined: the ceiling is only {headroom:+.3f} above the teacher (at least "
            f"{HEADROOM} needed)"
        )
    return gain / headroom, ""


def _read(gain: float, half: float, error: float, level: float, chance: float) -> tuple[str, str]:
    interval = f"({level:.0%}: {gain - half:+.3f} to {gain + half:+.3f})"
    if abs(gain) < UNDECIDED * 1.6449 * error:
        verdict, why = "undecided", "its sign is a coin flip; label more rows"
    elif gain > 0:
        verdict, why = "train it", f"the student beats its teacher with probability {chance:.2f}"
    else:
        verdict = "keep the teacher"
        why = f"the student falls behind it with probability {1 - chance:.2f}"
    return verdict, f"expected gain {gain:+.3f} {interval}: {why}"


def _planned_fits(n: int) -> int:
    cv = sum(min(folds, n) for folds in CV_FOLDS)
    return 1 + POOL_FOLDS + 2 * (cv + DRAWS) + min(CEILING_FOLDS, n)
