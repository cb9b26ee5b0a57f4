"""`LabelPlanner`: what the next gold labels, weak labels and models are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.errors import EmptyDataError, InputError, unknown
from w2s_data.features.matrix import as_feature_matrix, sampled
from w2s_data.plan.advice import OPTIONS, Plan, Prices, TeacherNow, make_plan
from w2s_data.plan.curves import Curve, covariance_of, fit_curve
from w2s_data.plan.history import Outcome, compare_plans, pace_of
from w2s_data.plan.inputs import (
    Others,
    check_plans,
    check_prices,
    check_sizes,
    sampled_relabel,
    take_features,
)
from w2s_data.plan.measuring import BOTH, GOLD, WEAK, Measured, Task, measure, teacher_errors
from w2s_data.posterior.inputs import check_gold, check_weak, checked_relabel
from w2s_data.posterior.views import Relabel
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import Estimate, student_interval
from w2s_data.utils.progress import progress as progress_bar
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, share, whole

FEW_GOLD = 30  # below it curves are little more than their prior
FEWEST_GOLD = 8  # below it there is nothing to leave out


class LabelPlanner(BaseEstimator):  # type: ignore[misc]
    r"""Learning curves over gold and weak labels, and what to buy next by them.

    Three ways to train, `gold` labels alone, `weak` labels alone and `both`, are trained on nested
    parts of the labels and scored on the same left-out gold rows. To their errors is fitted

    .. math::
        E(n, N) = e \left[\varphi + (1 - \varphi) \left(
            (1 - s) (n / n_0)^{-a} + s (N / N_0)^{-b}\right)\right]

    with a prior on the floor \varphi, the exponents and s, whose draws are weighted by how well
    they explain the errors.

    Parameters
    ----------
    folds, repeats : int
        Left-out parts of the gold rows, and how often they are drawn.
    max_gold, max_pool : int
        Larger sets are measured on a random sample; forecasts are for all rows.
    level : float
        Coverage of the intervals.
    random_state : int, Generator or None
        Controls folds, parts of the labels, and draws.

    Attributes
    ----------
    option_ : str
        The best way to train now: "both", unless another is significantly better.
    accuracies_ : dict of Estimate
        Accuracy at the present sizes, by option.
    curves_ : dict of Curve
    measured_ : dict of Measured
        Errors on parts of the labels, by option.
    leads_ : dict of Estimate
        Accuracy of other teachers and students minus that of the present ones, at equal labels.
    teacher_ : TeacherNow
        Accuracy of the teacher on the gold rows, and its lead over the present student there.
    n_, N_ : int
        Present sizes.
    history_ : tuple of Outcome
        Forecasts of earlier plans, and what came.
    pace_ : Estimate
        How fast labels have helped by them, as a multiple of what was forecast.
    notes_ : tuple of str
        Reasons to trust the forecasts less.

    Notes
    -----
    The models are ridge regressions in closed form, which stand for the probes of a run. Intervals
    hold for gold labels drawn as the present ones were, and for pools of the same kind.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=700)
    >>> strong = rng.normal(size=(700, 30)) + y[:, None] * np.eye(30)[0]
    >>> weak = np.where(rng.random(700) < 0.6, y, 1 - y)  # right in 60 %
    >>> proba = np.where(np.eye(2)[weak] > 0, 0.6, 0.4)
    >>> gold, pool = slice(100), slice(100, 700)
    >>> planner = LabelPlanner(random_state=0).fit(
    ...     strong[pool], proba[pool], gold=(strong[gold], proba[gold], y[gold])
    ... )
    >>> plan = planner.plan(budget=50, gold_cost=0.5, weak_cost=0.1)
    >>> plan.split.gold
    100
    """

    def __init__(
        self,
        *,
        folds: int = 5,
        repeats: int = 2,
        max_gold: int = 1000,
        max_pool: int = 5000,
        level: float = LEVEL,
        random_state: RandomState = None,
    ) -> None:
        self.folds = folds
        self.repeats = repeats
        self.max_gold = max_gold
        self.max_pool = max_pool
        self.level = level
        self.random_state = random_state

    def fit(
        self,
        strong_features: Any,
        weak_proba: Any,
        *,
        gold: tuple[Any, Any, AnyArray],
        relabel: Relabel | None = None,
        teachers: Mapping[str, tuple[Any, ...]] | None = None,
        students: Mapping[str, tuple[Any, Any]] | None = None,
        sizes: tuple[int, int] | None = None,
        earlier: Sequence[Mapping[str, Any]] = (),
        progress: bool | None = None,
    ) -> Self:
        """Measure and fit the learning curves.

        Parameters
        ----------
        strong_features : array (N, D), memory map or FeatureStore
            Features of the pool.
        weak_proba : array (N, C), or (N, M, C) of M teachers
        gold : (strong_features (n, D), weak_proba (n, C) or (n, M, C), labels (n,))
            Gold rows, labels as class codes. A teacher that learned from them must be cross-fitted
            there, and needs `relabel`.
        relabel : function of row numbers, optional
            Retrains the teacher on some of the gold rows; returns its probabilities of all gold
            rows and of the pool.
        teachers : dict of (weak_proba of the pool, of the gold rows), optional
            Other teachers; `relabel` follows as a third where one learned from the gold rows.
        students : dict of (strong features of the pool, of the gold rows), optional
            Other students.
        sizes : (n, N), optional
            Present sizes, where the rows are a random sample.
        earlier : sequence of dict, optional
            Plans made with fewer labels, as `to_dict` returned them, oldest first. Their forecasts
            are compared with what came, and the prior is corrected.
        progress : bool or None

        Raises
        ------
        InputError
            If rows, columns or classes disagree, or there are fewer than 8 gold rows.
        """
        limits = {"folds": whole(2), "repeats": whole(1), "max_gold": whole(FEWEST_GOLD)}
        check_parameters(self, limits | {"max_pool": whole(2), "level": share})
        check_plans(earlier)
        strong = as_feature_matrix(strong_features, "strong_features")
        if not strong.shape[0]:
            raise EmptyDataError("the pool has no rows: there are no weak labels to plan with")
        weak = check_weak(weak_proba, strong.shape[0])
        rows = check_gold(gold, strong.shape[1], weak.shape[1:])
        if len(rows) < FEWEST_GOLD or len(np.unique(rows.codes)) < 2:
            raise InputError(
                f"a learning curve takes at least {FEWEST_GOLD} gold rows of two classes; got "
                f"{len(rows)} of {len(np.unique(rows.codes))}"
            )
        self.n_, self.N_ = check_sizes(sizes, len(rows), strong.shape[0])
        if relabel is not None:
            relabel = checked_relabel(relabel, len(rows), weak.shape)
        rng = check_generator(self.random_state)
        own = np.sort(sampled(np.arange(len(rows)), self.max_gold, rng))
        pool = np.sort(sampled(np.arange(strong.shape[0]), self.max_pool, rng))
        task = Task(
            np.asarray(rows.strong[own], np.float64),
            take_features(strong, pool, "strong_features"),
            rows.weak_proba[own],
            weak[pool],
            rows.codes[own],
            relabel=None if relabel is None else sampled_relabel(relabel, own, pool),
        )
        make = Others(task, len(rows), strong.shape[0], own, pool)
        others = _others(make, teachers or {}, students or {})
        seed = int(rng.integers(2**32))
        steps = self.folds * self.repeats * (1 + len(others))
        with progress_bar("plan", steps, unit="parts", enabled=progress) as advance:
            self.measured_ = measure(
                task, self.folds, self.repeats, np.random.default_rng(seed), advance
            )
            self.option_ = _best_option(self.measured_, self.level)
            self.teacher_ = self._judge_teacher(task)
            self.leads_ = {
                # The same seed gives the same parts, so that the two are paired.
                name: self._lead(
                    measure(
                        *(other, self.folds, self.repeats, np.random.default_rng(seed), advance),
                        curves=False,
                    )
                )
                for name, other in others.items()
            }
        self.history_: tuple[Outcome, ...] = ()
        self.pace_ = pace_of(self.history_, self.level)
        constant = not np.ptp(task.weak_pool, axis=0).any()
        self._fit_curves(len(own), constant, rng)
        self.history_ = compare_plans(earlier, self.to_dict(), self.level)
        if self.history_:
            self.pace_ = pace_of(self.history_, self.level)
            self._fit_curves(len(own), constant, rng)
        return self

    def forecast(self, n: int, N: int, option: str | None = None) -> Estimate:
        """Return the accuracy of an option, by default the best one now, at other sizes."""
        check_is_fitted(self, "curves_")
        check_parameters({"n": n, "N": N}, {"n": whole(1), "N": whole(1)})
        if option is not None and option not in self.curves_:
            raise InputError(unknown("option", str(option), list(self.curves_)))
        return self.curves_[option or self.option_].accuracy(n, N, self.level)

    def plan(
        self,
        budget: float,
        gold_cost: float,
        weak_cost: float,
        prices: Mapping[str, float] | None = None,
    ) -> Plan:
        """Advise what to buy; `prices` are those of other teachers and students, by name."""
        check_is_fitted(self, "curves_")
        known = check_prices(prices, self.leads_)
        models = {name: (lead, known.get(name)) for name, lead in self.leads_.items()}
        spending = Prices(budget, gold_cost, weak_cost)
        curve = self.curves_[self.option_]
        return make_plan(
            self.option_, curve, spending, models, self.notes_, self.level, self.teacher_
        )

    def to_dict(self) -> dict[str, Any]:
        """Return sizes, accuracies, curves and notes as plain types."""
        check_is_fitted(self, "curves_")
        return {
            "n": self.n_,
            "N": self.N_,
            "option": self.option_,
            "accuracies": {name: value.to_dict() for name, value in self.accuracies_.items()},
            "leads": {name: value.to_dict() for name, value in self.leads_.items()},
            "teacher": self.teacher_.to_dict(),
            "measured": self.to_frame().to_dict("records"),
            "curves": {name: curve.to_dict() for name, curve in self.curves_.items()},
            "history": [outcome.to_dict() for outcome in self.history_],
            "pace": self.pace_.to_dict(),
            "notes": list(self.notes_),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return the measured accuracies, one row per option and pair of sizes."""
        check_is_fitted(self, "curves_")
        frames = [
            pd.DataFrame(measured.sizes.round().astype(int), columns=["n", "N"]).assign(
                option=name, accuracy=1 - measured.errors
            )
            for name, measured in self.measured_.items()
        ]
        return pd.concat(frames, ignore_index=True)[["option", "n", "N", "accuracy"]]

    def _lead(self, other: Mapping[str, Measured]) -> Estimate:
        """Return how much better another model is at its best option, paired by row."""
        own = self.measured_[self.option_].wrong[:, 0]
        return _mean(own - other[self.option_].wrong[:, 0], self.level)

    def _judge_teacher(self, task: Task) -> TeacherNow:
        """Compare the teacher with the present student, paired by gold row."""
        wrong, student = teacher_errors(task), self.measured_[self.option_].wrong[:, 0]
        return TeacherNow(_mean(1 - wrong, self.level), _mean(student - wrong, self.level))

    def _fit_curves(self, n_measured: int, constant: bool, rng: np.random.Generator) -> None:
        """Fit a curve to each option; weak labels that are `constant` add nothing to any."""
        notes = []
        if constant:
            notes.append("the weak labels are the same for every row: more of them add nothing")
        if self.n_ < FEW_GOLD:
            notes.append(
                f"{self.n_} gold rows are too few for learning curves (fewer than {FEW_GOLD}): "
                "forecasts follow those of other tasks, and their intervals are wider"
            )
        self.curves_: dict[str, Curve] = {}
        for name, measured in self.measured_.items():
            covariance = covariance_of(measured.wrong) * max(1.0, FEW_GOLD / n_measured)
            curve = fit_curve(
                *(name, measured.sizes, measured.errors, covariance, (self.n_, self.N_)),
                rng,
                self.pace_.value,
            )
            falling = [side for side in (0, 1) if measured.falls(side)]
            for side in falling:
                labels = ("gold", "weak")[side]
                notes.append(
                    f"more {labels} labels lowered the accuracy of {OPTIONS[name]} here; that is "
                    "not extrapolated"
                )
            self.curves_[name] = curve.without({*falling, *((1,) if constant else ())})
        self.accuracies_ = {
            name: curve.accuracy(self.n_, self.N_, self.level)
            for name, curve in self.curves_.items()
        }
        self.notes_ = tuple(notes)


def _others(
    make: Others, teachers: Mapping[str, Any], students: Mapping[str, Any]
) -> dict[str, Task]:
    """Return the tasks of other models, on the same rows."""
    if shared := sorted(set(teachers) & set(students)):
        raise InputError(f"a teacher and a student are both called {shared[0]!r}")
    found = {name: make.teacher(name, given) for name, given in teachers.items()}
    return found | {name: make.student(name, given) for name, given in students.items()}


def _best_option(measured: Mapping[str, Measured], level: float) -> str:
    """Return "both" unless another option is significantly better on the same rows."""
    both = measured[BOTH].wrong[:, 0]
    ahead = {name: _mean(both - measured[name].wrong[:, 0], level) for name in (GOLD, WEAK)}
    best = max(ahead, key=lambda name: ahead[name].value)
    return best if ahead[best].low > 0 else BOTH


def _mean(differences: FloatArray, level: float) -> Estimate:
    n = len(differences)
    error = np.sqrt((differences.var(ddof=1) + 1 / n) / n)
    value = float(differences.mean())
    low, high = student_interval(value, error, n - 1, level, -1.0, 1.0)
    return Estimate(value, float(low), float(high), level)
