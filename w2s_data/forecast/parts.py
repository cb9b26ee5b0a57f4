"""Teacher and student fitted as they will be: on folds, across the pool, in simulated worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data.errors import InputError
from w2s_data.forecast.posterior import Posterior, kernel_posterior, stacked_proba
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

CV_FOLDS = (10, 10, 5, 5, 5, 5)  # one repeat each
POOL_FOLDS = 5
CEILING_FOLDS = 5
DRAWS = 6  # simulated worlds


@dataclass(frozen=True)
class Task:
    """Features of labelled and pool rows, and the labelled rows' classes 0 ... C - 1."""

    weak_labelled: FloatArray
    strong_labelled: FloatArray
    codes: IntArray
    weak_pool: FloatArray
    strong_pool: FloatArray

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.codes.max()) + 1


@dataclass(frozen=True)
class Model:
    """A fitted classifier, or the one class that its training labels held."""

    fitted: Any
    only_class: int | None
    n_classes: int

    def predict(self, features: FloatArray) -> IntArray:
        """Class of each row (n,)."""
        if self.only_class is not None:
            return np.full(len(features), self.only_class)
        return np.asarray(self.fitted.predict(features), dtype=np.int64)

    def proba(self, features: FloatArray) -> FloatArray:
        """Class probabilities (n, C); 0 for classes that the training labels lacked."""
        if self.only_class is not None:
            return np.eye(self.n_classes)[self.predict(features)]
        return self._all_classes(self.fitted.predict_proba(features), 0.0)

    def scores(self, features: FloatArray) -> FloatArray:
        """One score for every row and class (n, C), higher for likelier classes."""
        if self.only_class is None and hasattr(self.fitted, "decision_function"):
            scores = np.asarray(self.fitted.decision_function(features))
            if scores.ndim == 1:
                scores = np.column_stack([-scores, scores])
            return self._all_classes(scores, scores.min(axis=1, keepdims=True))
        if self.only_class is None and hasattr(self.fitted, "predict_proba"):
            proba = np.clip(self.proba(features), 1e-6, 1 - 1e-6)
            return np.asarray(np.log(proba / (1 - proba)))
        return 2 * np.eye(self.n_classes)[self.predict(features)] - 1

    def _all_classes(self, columns: AnyArray, missing: FloatArray | float) -> FloatArray:
        whole = np.empty((len(columns), self.n_classes))
        whole[:] = missing
        whole[:, np.asarray(self.fitted.classes_, dtype=np.int64)] = columns
        return whole


class Trainer:
    """Fits clones of teacher and student, and counts the fits."""

    def __init__(
        self,
        teacher: Any,
        student: Any,
        n_classes: int,
        soft: bool,
        rng: np.random.Generator,
        advance: Callable[[int], None],
    ) -> None:
        self.n_classes = n_classes
        self.teacher_fits = 0
        self.student_fits = 0
        self._teacher, self._student = teacher, student
        self._soft = soft
        self._rng = rng
        self._advance = advance

    def fit_teacher(self, weak: FloatArray, codes: IntArray) -> Model:
        """Teacher of gold labels."""
        self.teacher_fits += 1
        return self._fit("teacher", self._teacher, weak, codes, codes)

    def fit_student(self, strong: FloatArray, teacher: Model, weak: FloatArray) -> Model:
        """Student of the teacher's labels of the same rows."""
        self.student_fits += 1
        codes = teacher.predict(weak)
        labels = teacher.proba(weak) if self._soft else codes
        return self._fit("student", self._student, strong, labels, codes)

    def fit_ceiling(self, strong: FloatArray, codes: IntArray) -> Model:
        """Student of gold labels."""
        self.student_fits += 1
        labels = np.eye(self.n_classes)[codes] if self._soft else codes
        return self._fit("student", self._student, strong, labels, codes)

    def _fit(
        self, role: str, estimator: Any, features: FloatArray, labels: AnyArray, codes: IntArray
    ) -> Model:
        self._advance(1)
        if labels.ndim == 1 and (codes == codes[0]).all():
            return Model(None, int(codes[0]), self.n_classes)
        fresh = clone(estimator)
        unseeded = [
            name
            for name, value in fresh.get_params().items()
            if value is None and name.rpartition("__")[2] == "random_state"
        ]
        fresh.set_params(**{name: int(self._rng.integers(2**31)) for name in unseeded})
        try:
            fitted = fresh.fit(features, labels)
        except ValueError as error:
            raise InputError(
                f"the {role} ({type(fresh).__name__}) could not be fitted on {len(features)} rows "
                f"with labels of shape {labels.shape}: {error}"
            ) from error
        return Model(fitted, None, self.n_classes)


@dataclass(frozen=True)
class CrossValidation:
    """Held-out results on labelled rows, averaged over repeats.

    Attributes
    ----------
    teacher_right, student_right : array (n,)
    teacher_scores, student_scores : array (n, C)
    """

    teacher_right: FloatArray
    student_right: FloatArray
    teacher_scores: FloatArray
    student_scores: FloatArray


def cross_validate(task: Task, trainer: Trainer, rng: np.random.Generator) -> CrossValidation:
    """Teacher on the other folds, student on the whole pool with its labels, both held out."""
    right = np.zeros((2, len(task.codes)))
    scores = np.zeros((2, len(task.codes), task.n_classes))
    for folds in CV_FOLDS:
        for train, held_out in stratified_folds(task.codes, folds, rng):
            teacher = trainer.fit_teacher(task.weak_labelled[train], task.codes[train])
            student = trainer.fit_student(task.strong_pool, teacher, task.weak_pool)
            both = ((teacher, task.weak_labelled), (student, task.strong_labelled))
            for k, (model, features) in enumerate(both):
                right[k, held_out] += model.predict(features[held_out]) == task.codes[held_out]
                scores[k, held_out] += model.scores(features[held_out])
    repeats = len(CV_FOLDS)
    return CrossValidation(*(right / repeats), *(scores / repeats))


def cross_fit(
    task: Task, teacher: Model, trainer: Trainer, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Classes (N,) and scores (N, C) of the pool by students that have not seen the row."""
    n_pool = len(task.strong_pool)
    codes, scores = np.zeros(n_pool, dtype=np.int64), np.zeros((n_pool, task.n_classes))
    for train, held_out in stratified_folds(np.zeros(n_pool, dtype=np.int64), POOL_FOLDS, rng):
        student = trainer.fit_student(task.strong_pool[train], teacher, task.weak_pool[train])
        codes[held_out] = student.predict(task.strong_pool[held_out])
        scores[held_out] = student.scores(task.strong_pool[held_out])
    return codes, scores


def ceiling_accuracy(task: Task, trainer: Trainer, rng: np.random.Generator) -> float:
    """Held-out accuracy of the student on gold labels of four fifths of the labelled rows."""
    right = 0
    for train, held_out in stratified_folds(task.codes, CEILING_FOLDS, rng):
        model = trainer.fit_ceiling(task.strong_labelled[train], task.codes[train])
        right += int((model.predict(task.strong_labelled[held_out]) == task.codes[held_out]).sum())
    return right / len(task.codes)


def simulated_gains(
    task: Task, proba: FloatArray, trainer: Trainer, rng: np.random.Generator
) -> FloatArray:
    """Expected gains in worlds whose labelled rows are drawn anew, labels from `proba`.

    Parameters
    ----------
    proba : array (n + N, C)
        Class probabilities of labelled and pool rows, in that order.
    """
    weak = np.concatenate([task.weak_labelled, task.weak_pool])
    strong = np.concatenate([task.strong_labelled, task.strong_pool])
    n, n_pool = len(task.codes), len(task.weak_pool)
    n_test = max(min(n, n_pool // 3), n_pool // 5)
    gains = np.zeros(DRAWS)
    for draw in range(DRAWS):
        labelled, test, pool = np.split(rng.permutation(n + n_pool), [n, n + n_test])
        drawn = (rng.random((n, 1)) > np.cumsum(proba[labelled], axis=1)[:, :-1]).sum(axis=1)
        teacher = trainer.fit_teacher(weak[labelled], drawn)
        student = trainer.fit_student(strong[pool], teacher, weak[pool])
        gains[draw] = expected_gain(
            proba[test], student.predict(strong[test]), teacher.predict(weak[test])
        )
    return gains


def expected_gain(proba: FloatArray, student: IntArray, teacher: IntArray) -> float:
    """Mean posterior mass of the student's class minus that of the teacher's class."""
    each = np.arange(len(proba))
    return float((proba[each, student] - proba[each, teacher]).mean())


@dataclass(frozen=True)
class Measured:
    """What the blend is made from: gains of three kinds, and accuracies.

    Attributes
    ----------
    cv, plug, sim : float
        Gains.
    se : float
        Standard error of cv.
    disagreement : float
        Share of the pool where held-out student and teacher differ.
    teacher_cv, teacher_plug : float
        Accuracies of the teacher on held-out labelled rows, and on the pool by posteriors.
    ceiling : float
    """

    cv: float
    plug: float
    sim: float
    se: float
    disagreement: float
    teacher_cv: float
    teacher_plug: float
    ceiling: float


def measure(task: Task, trainer: Trainer, rng: np.random.Generator) -> Measured:
    """Cross-validate, cross-fit, infer posteriors and simulate."""
    n = len(task.codes)
    teacher = trainer.fit_teacher(task.weak_labelled, task.codes)
    teacher_codes = teacher.predict(task.weak_pool)
    student_codes, student_scores = cross_fit(task, teacher, trainer, rng)
    cv = cross_validate(task, trainer, rng)
    posteriors = label_posteriors(task)
    best = min(posteriors.values(), key=lambda posterior: posterior.loss)
    proba = stacked_proba(
        np.stack([best.labelled_scores, cv.teacher_scores, cv.student_scores]),
        task.codes,
        np.stack([best.pool_scores, teacher.scores(task.weak_pool), student_scores]),
    )
    difference = cv.student_right - cv.teacher_right
    strong_right = posteriors["strong"].labelled.argmax(axis=1) == task.codes
    return Measured(
        cv=float(difference.mean()),
        plug=expected_gain(proba, student_codes, teacher_codes),
        sim=float(
            simulated_gains(task, np.concatenate([best.labelled, best.pool]), trainer, rng).mean()
        ),
        se=float(np.sqrt(n * difference.var(ddof=1) + 1) / n),
        disagreement=float((student_codes != teacher_codes).mean()),
        teacher_cv=float(cv.teacher_right.mean()),
        teacher_plug=float(proba[np.arange(len(proba)), teacher_codes].mean()),
        ceiling=max(
            float(strong_right.mean()),
            ceiling_accuracy(task, trainer, rng),
            float(cv.student_right.mean()),
        ),
    )


def label_posteriors(task: Task) -> dict[str, Posterior]:
    """Posteriors from the weak, the strong and the mean kernel."""
    weak = _kernel_features(task.weak_labelled, task.weak_pool)
    strong = _kernel_features(task.strong_labelled, task.strong_pool)
    both = tuple(np.hstack(pair) / np.sqrt(2) for pair in zip(weak, strong, strict=True))
    return {
        name: kernel_posterior(labelled, task.codes, pool)
        for name, (labelled, pool) in {"weak": weak, "strong": strong, "both": both}.items()
    }


def _kernel_features(labelled: FloatArray, pool: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standardised on all rows; inner products are means over the columns that vary."""
    everything = np.concatenate([labelled, pool])
    mean, scale = everything.mean(axis=0), everything.std(axis=0)
    varies = scale > 1e-9 * np.maximum(1.0, np.abs(mean))
    scale = np.where(varies, scale, np.inf) * np.sqrt(max(1, varies.sum()))
    return (labelled - mean) / scale, (pool - mean) / scale
