"""Teacher and student, fitted the way that they will be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import clone

from w2s_data.errors import InputError
from w2s_data.forecast.inputs import Labels, log_odds
from w2s_data.probes.linear import LinearProbe
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray


@dataclass(frozen=True)
class Model:
    """A fitted classifier, or the only class of its training labels."""

    fitted: Any
    only_class: int | None
    n_classes: int

    def predict(self, features: FloatArray) -> IntArray:
        """Predict the class of each row (n,)."""
        if self.only_class is not None:
            return np.full(len(features), self.only_class)
        return np.asarray(self.fitted.predict(features), dtype=np.int64)

    def proba(self, features: FloatArray) -> FloatArray:
        """Predict class probabilities (n, C); 0 for classes that the training labels lacked."""
        if self.only_class is not None:
            return np.eye(self.n_classes)[self.predict(features)]
        if not hasattr(self.fitted, "predict_proba"):  # scores of any scale: a pool rescales them
            return np.asarray(softmax(self.scores(features), axis=1))
        return self._all_classes(self.fitted.predict_proba(features), 0.0)

    def labels(self, features: FloatArray) -> Labels:
        """Label rows."""
        return Labels(self.predict(features), self.proba(features), self.scores(features))

    def scores(self, features: FloatArray) -> FloatArray:
        """Score every row and class (n, C), higher for likelier classes."""
        if self.only_class is None and hasattr(self.fitted, "decision_function"):
            scores = np.asarray(self.fitted.decision_function(features))
            if scores.ndim == 1:
                scores = np.column_stack([-scores, scores])
            return self._all_classes(scores, scores.min(axis=1, keepdims=True))
        if self.only_class is None and hasattr(self.fitted, "predict_proba"):
            return log_odds(self.proba(features))
        return 2 * np.eye(self.n_classes)[self.predict(features)] - 1

    def _all_classes(self, columns: AnyArray, missing: FloatArray | float) -> FloatArray:
        whole = np.empty((len(columns), self.n_classes))
        whole[:] = missing
        whole[:, np.asarray(self.fitted.classes_, dtype=np.int64)] = columns
        return whole


@dataclass
class Trainer:
    """Fits clones of student and teacher, and counts the fits."""

    student: Any
    teacher: Any
    gold_student: Any
    n_classes: int
    soft: bool
    rng: np.random.Generator
    advance: Callable[[int], None]
    teacher_fits: int = 0
    student_fits: int = 0

    @property
    def paired(self) -> bool:
        """Whether rows are differences of pairs, whose students have no intercept."""
        return self.n_classes == 2 and not getattr(self.student, "fit_intercept", True)

    def fit_teacher(self, weak: FloatArray, codes: IntArray) -> Model:
        """Fit the teacher on gold labels."""
        self.teacher_fits += 1
        return self._fit("teacher", self.teacher, weak, codes, codes)

    def fit_student(self, strong: FloatArray, labels: Labels) -> Model:
        """Fit the student on weak labels, without the rows that have none."""
        self.student_fits += 1
        voted = labels.codes >= 0
        if voted.any() and not voted.all():
            strong, labels = strong[voted], labels.take(np.flatnonzero(voted))
        codes = np.maximum(labels.codes, 0)  # class 0 where no row has a label at all
        targets = labels.proba if self.soft else codes
        return self._fit("student", self.student, strong, targets, codes)

    def fit_gold(self, strong: FloatArray, codes: IntArray) -> Model:
        """Fit the student of gold labels alone."""
        self.student_fits += 1
        labels = np.eye(self.n_classes)[codes] if self.soft else codes
        return self._fit("gold_student", self.gold_student, strong, labels, codes)

    def fit_both(
        self, pool: FloatArray, posterior: FloatArray, strong: FloatArray, codes: IntArray
    ) -> Model:
        """Fit the student on the label posterior (N, C) of the pool and on gold labels."""
        self.student_fits += 1
        labels = np.concatenate([posterior, np.eye(self.n_classes)[codes]])
        hard = labels.argmax(axis=1)
        takes_distributions = self.soft or isinstance(self.student, LinearProbe)
        features, targets = np.concatenate([pool, strong]), labels if takes_distributions else hard
        return self._fit("student", self.student, features, targets, hard)

    def _fit(
        self, role: str, estimator: Any, features: FloatArray, labels: AnyArray, codes: IntArray
    ) -> Model:
        self.advance(1)
        if labels.ndim == 1 and (codes == codes[0]).all():  # most classifiers refuse one class
            return Model(None, int(codes[0]), self.n_classes)
        fresh = clone(estimator)
        # Pipelines hold seeds of their steps as STEP__random_state.
        unseeded = [
            name
            for name, value in fresh.get_params().items()
            if value is None and name.rpartition("__")[2] == "random_state"
        ]
        fresh.set_params(**{name: int(self.rng.integers(2**31)) for name in unseeded})
        try:
            fitted = fresh.fit(features, labels)
        except ValueError as error:
            raise InputError(
                f"the {role} ({type(fresh).__name__}) could not be fitted on {len(features)} rows "
                f"with labels of shape {labels.shape}: {error}"
            ) from error
        return Model(fitted, None, self.n_classes)
