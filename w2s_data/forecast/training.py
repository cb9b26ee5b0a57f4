"""Teacher and student, fitted the way that they will be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data.errors import InputError
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
        return self._all_classes(self.fitted.predict_proba(features), 0.0)

    def scores(self, features: FloatArray) -> FloatArray:
        """Score every row and class (n, C), higher for likelier classes."""
        if self.only_class is None and hasattr(self.fitted, "decision_function"):
            scores = np.asarray(self.fitted.decision_function(features))
            if scores.ndim == 1:
                scores = np.column_stack([-scores, scores])
            return self._all_classes(scores, scores.min(axis=1, keepdims=True))
        if self.only_class is None and hasattr(self.fitted, "predict_proba"):
            proba = np.clip(self.proba(features), 1e-6, 1 - 1e-6)  # trees give exact 0 and 1
            return np.asarray(np.log(proba / (1 - proba)))
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
    n_classes: int
    soft: bool
    rng: np.random.Generator
    advance: Callable[[int], None]
    teacher_fits: int = 0
    student_fits: int = 0

    def fit_teacher(self, weak: FloatArray, codes: IntArray) -> Model:
        """Fit the teacher on gold labels."""
        self.teacher_fits += 1
        return self._fit("teacher", self.teacher, weak, codes, codes)

    def fit_student(self, strong: FloatArray, teacher: Model, weak: FloatArray) -> Model:
        """Fit the student on the teacher's labels of the same rows."""
        self.student_fits += 1
        codes = teacher.predict(weak)
        labels = teacher.proba(weak) if self.soft else codes
        return self._fit("student", self.student, strong, labels, codes)

    def fit_ceiling(self, strong: FloatArray, codes: IntArray) -> Model:
        """Fit the student on gold labels."""
        self.student_fits += 1
        labels = np.eye(self.n_classes)[codes] if self.soft else codes
        return self._fit("student", self.student, strong, labels, codes)

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
