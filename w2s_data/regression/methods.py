"""Methods with a meaning for values, and the reasons why others have none."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from w2s_data.errors import InputError, listing, unknown
from w2s_data.finetune.methods.base import Recipe
from w2s_data.finetune.objectives import TrainingError
from w2s_data.regression.inputs import mean_value
from w2s_data.regression.material import Lesson, Material
from w2s_data.regression.posterior import relative_precision
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import Constraint, one_of, positive

MAD_TO_SD = 1.4826  # of a normal distribution
FEWEST_TEACHERS = 2


class ValueMethod(Recipe, ABC):
    """A way to choose what a student of values learns: rows, values and weights."""

    @abstractmethod
    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""


@dataclass(frozen=True)
class Naive(ValueMethod):
    """Train on the weak values of the pool, weighted by 1 / error^2 where errors are known."""

    name = "naive"

    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""
        return material.weak_lesson()


@dataclass(frozen=True)
class LabelledOnly(ValueMethod):
    """Train on the gold rows alone."""

    name = "labelled_only"
    uses_gold = True

    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""
        rows = material.need_gold()
        return Lesson(rows, material.targets[rows], material.sample_weight[rows])


@dataclass(frozen=True)
class Stacked(ValueMethod):
    r"""Train on posterior values of the pool and on the gold values together.

    .. math:: \min_f \sum_{pool} \frac{(q_i - f(x_i))^2}{e_i^2}
              + \sum_{gold} \frac{(y_i - f(x_i))^2}{\bar e^2}

    with the values q and errors e of `ValuePosterior`, which joins teachers, a student of the gold
    values and one of the weak values; \bar e is the usual error of the posterior on gold rows.
    """

    name = "stacked"
    uses_gold = True

    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""
        gold = material.need_gold()
        values, errors = material.posterior
        usable = np.isfinite(values) & (material.sample_weight > 0)
        rows = np.flatnonzero(usable | np.isfinite(material.targets))
        known = np.isfinite(material.targets)
        taught = np.where(known, material.targets, values)
        error = np.where(known, np.nan, errors)  # an unknown error counts as the usual one
        weights = relative_precision(error[rows]) * material.sample_weight[rows]
        return Lesson(rows, taught[rows], weights, diagnostics={"n_gold": len(gold)})


@dataclass(frozen=True)
class CrossFit(ValueMethod):
    r"""Train on the weak values that a student trained without them confirms.

    Keeps a pool row where the teacher's value and that of a student of all other rows differ by at
    most `width` times the residual scale, 1.48 times their median absolute difference.

    Parameters
    ----------
    width : float
        In units of the residual scale; 1 keeps about two thirds of the rows.
    """

    name = "crossfit"
    constraints: ClassVar[dict[str, Constraint]] = {"width": positive}

    width: float = 1.5

    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""
        whole = material.weak_lesson()
        apart = np.abs(whole.values - material.left_out(whole))
        apart = np.where(np.isfinite(apart), apart, np.inf)
        scale = MAD_TO_SD * float(np.median(apart))
        kept = apart <= self.width * scale
        if np.count_nonzero(kept) < 2:
            raise TrainingError("crossfit keeps fewer than 2 rows: raise width")
        return Lesson(
            whole.rows[kept],
            whole.values[kept],
            whole.weights[kept],
            diagnostics={"kept_share": float(kept.mean()), "residual_scale": scale},
        )


@dataclass(frozen=True)
class Vote(ValueMethod):
    """Train on what several teachers say together.

    Parameters
    ----------
    average : {"mean", "median"}
        "mean" weights each teacher by 1 / its mean squared error on gold rows; without gold rows,
        by that around the median of all teachers.
    """

    name = "vote"
    constraints: ClassVar[dict[str, Constraint]] = {"average": one_of("mean", "median")}

    average: str = "mean"

    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""
        weak = material.weak_values
        if weak.shape[1] < FEWEST_TEACHERS:
            raise TrainingError(
                "vote needs two teachers or more; there is one: naive learns from it"
            )
        pool = material.pool
        plain = material.weak_lesson()
        middle = _median(weak[pool])
        if self.average == "median":
            return dataclasses.replace(plain, values=middle)
        truth = material.targets[material.gold]
        apart = weak[material.gold] - truth[:, None]
        if not len(truth):
            apart = weak[pool] - middle[:, None]
        with np.errstate(invalid="ignore"):
            square = np.nansum(apart**2, axis=0) / np.isfinite(apart).sum(axis=0)
        # A teacher without a common row counts as the usual one; none decides alone.
        usual = float(np.nanmean(square)) if np.isfinite(square).any() else 1.0
        square = np.maximum(np.where(np.isfinite(square), square, usual), 1e-3 * usual + 1e-300)
        errors = np.broadcast_to(np.sqrt(square), weak.shape)
        values, _ = mean_value(weak, errors)
        shown = {"reliability": (1 / square / (1 / square).sum()).tolist()}
        return dataclasses.replace(plain, values=values[pool], diagnostics=shown)


@dataclass(frozen=True)
class Bootstrap(ValueMethod):
    """Train ever stronger students, each on the values of the one before.

    Parameters
    ----------
    strengths : tuple of float
        Share of the principal directions of the features that each student has, rising to 1.
    """

    name = "bootstrap"

    strengths: tuple[float, ...] = (0.25, 0.5, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "strengths", tuple(self.strengths))  # hashable
        rising = all(a <= b for a, b in zip(self.strengths, self.strengths[1:], strict=False))
        if not self.strengths or not rising or self.strengths[0] <= 0 or self.strengths[-1] != 1:
            raise InputError(
                f"bootstrap: strengths must rise from above 0 to 1; got {self.strengths!r}"
            )

    def lesson(self, material: Material) -> Lesson:
        """Return what to train on."""
        return dataclasses.replace(material.weak_lesson(), capacities=self.strengths)


_METHODS: dict[str, type[ValueMethod]] = {
    method.name: method for method in (Stacked, Naive, LabelledOnly, CrossFit, Vote, Bootstrap)
}
_PROBABILITIES = "its loss is one of class probabilities"
# Registered methods of classes, and why values have none of them.
REFUSED = {
    "confidence": "it moves labels towards the student's most probable class",
    "vsup": "it sharpens class probabilities",
    "bayes": "it learns a Dirichlet distribution over classes",
    "overlap": "it chooses points by regions; `crossfit` chooses points by their residuals",
    "enhanced": "it ranks points by the entropy of class probabilities",
    "cosupervised": "it assigns specialists to classes",
    "raven": f"{_PROBABILITIES}; `vote` weighs several teachers",
    "trust": "it learns the chance that a label is right, and no value is exactly right",
    "prediction_powered": "it is written for the cross-entropy; `stacked` joins gold and weak ones",
    "label_model": "it counts confusions of classes; `vote` weighs several teachers",
}


def available_methods() -> list[str]:
    """List the names that `fit_student` and `measure_gain` accept for values.

    >>> available_methods()
    ['stacked', 'naive', 'labelled_only', 'crossfit', 'vote', 'bootstrap']
    """
    return list(_METHODS)


def make_method(method: str | ValueMethod, **parameters: Any) -> ValueMethod:
    """Create the method of this name with these parameters; an instance gets the parameters.

    Raise InputError if values have no such method, with the reason, or it no such parameter.

    >>> make_method("crossfit", width=1)
    CrossFit(width=1)
    """
    if not isinstance(method, ValueMethod):
        if method in REFUSED:
            raise InputError(
                f"method {method!r} has no meaning for values: {REFUSED[method]}; valid: "
                f"{listing(available_methods())}"
            )
        if method not in _METHODS:
            raise InputError(unknown("method for values", str(method), available_methods()))
    kind = type(method) if isinstance(method, ValueMethod) else _METHODS[method]
    valid = [f.name for f in dataclasses.fields(kind)]
    for name in parameters:
        if name not in valid:
            takes = f"it has {listing(valid)}" if valid else "it has none"
            raise InputError(f"{kind.name} has no parameter {name!r}; {takes}")
    if isinstance(method, ValueMethod):
        return dataclasses.replace(method, **parameters)
    return kind(**parameters)


def _median(weak: FloatArray) -> FloatArray:
    """Return the median (n,) of the teachers that answer; every row has one that does."""
    return np.asarray(np.nanmedian(weak, axis=1))
