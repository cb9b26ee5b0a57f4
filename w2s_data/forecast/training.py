"""Teacher and student, fitted the way that they will be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.base import clone

from w2s_data.errors import InputError
from w2s_data.forecast.inputs import Labels, log_odds
from w2s_data.probes.linear import LinearProbe, fit_together
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
        if self.only_class is not None or not isinstance(self.fitted, LinearProbe):
            return Labels(self.predict(features), self.proba(features), self.scores(features))
        scores = self.fitted.decision_function(features)  # the two others follow from them
        codes = np.asarray(self.fitted.class_of(scores), dtype=np.int64)
        proba = self._all_classes(self.fitted.proba_of(scores), 0.0)
        return Labels(codes, proba, self._all_scores(scores))

    def scores(self, features: FloatArray) -> FloatArray:
        """Score every row and class (n, C), higher for likelier classes."""
        if self.only_class is None and hasattr(self.fitted, "decision_function"):
            return self._all_scores(np.asarray(self.fitted.decision_function(features)))
        if self.only_class is None and hasattr(self.fitted, "predict_proba"):
            return log_odds(self.proba(features))
        return 2 * np.eye(self.n_classes)[self.predict(features)] - 1

    def _all_scores(self, scores: FloatArray) -> FloatArray:
        if scores.ndim == 1:
            scores = np.column_stack([-scores, scores])
        return self._all_classes(scores, scores.min(axis=1, keepdims=True))

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

    def fit_teachers(
        self, weak: FloatArray, codes: Sequence[IntArray], rows: Sequence[IntArray]
    ) -> list[Model]:
        """Fit a teacher on each set of rows of the weak features, of which it has gold labels."""
        self.teacher_fits += len(rows)
        return self._fit("teacher", self.teacher, weak, codes, codes, rows)

    def fit_students(
        self, strong: FloatArray, labels: Sequence[Labels], rows: Sequence[IntArray] | None = None
    ) -> list[Model]:
        """Fit students on weak labels of rows (all by default), without those that have none."""
        self.student_fits += len(labels)
        rows = [np.arange(len(strong))] * len(labels) if rows is None else rows
        kept = [_voted(own) for own in labels]
        rows = [own[voted] for own, voted in zip(rows, kept, strict=True)]
        labels = [own.take(voted) for own, voted in zip(labels, kept, strict=True)]
        codes = [np.maximum(own.codes, 0) for own in labels]  # 0 where no row has a label at all
        targets = [own.proba for own in labels] if self.soft else codes
        return self._fit("student", self.student, strong, targets, codes, rows)

    def fit_golds(
        self, strong: FloatArray, codes: IntArray, rows: Sequence[IntArray]
    ) -> list[Model]:
        """Fit the student of gold labels alone on each set of rows."""
        self.student_fits += len(rows)
        own = [codes[part] for part in rows]
        labels = [np.eye(self.n_classes)[part] for part in own] if self.soft else own
        return self._fit("gold_student", self.gold_student, strong, labels, own, rows)

    def fit_both(
        self,
        strong: FloatArray,
        posteriors: Sequence[FloatArray],
        codes: IntArray,
        rows: Sequence[IntArray],
    ) -> list[Model]:
        """Fit students on label posteriors (N, C) of the pool and on gold labels of some rows.

        The strong features are those of the labelled rows, and then of the pool.
        """
        self.student_fits += len(rows)
        n = len(codes)
        labels = [
            np.concatenate([posterior, np.eye(self.n_classes)[codes[part]]])
            for posterior, part in zip(posteriors, rows, strict=True)
        ]
        hard = [distributions.argmax(axis=1) for distributions in labels]
        takes_distributions = self.soft or isinstance(self.student, LinearProbe)
        pool = np.arange(n, len(strong))
        every = [np.concatenate([pool, part]) for part in rows]
        targets = labels if takes_distributions else hard
        return self._fit("student", self.student, strong, targets, hard, every)

    def _fit(
        self,
        role: str,
        estimator: Any,
        features: FloatArray,
        labels: Sequence[AnyArray],
        codes: Sequence[IntArray],
        rows: Sequence[IntArray],
    ) -> list[Model]:
        """Fit a clone to each label vector on its rows; of one class there is nothing to fit."""
        models = [Model(None, int(own[0]), self.n_classes) for own in codes]
        left = [k for k, own in enumerate(codes) if labels[k].ndim == 2 or (own != own[0]).any()]
        own_labels, own_rows = [labels[k] for k in left], [rows[k] for k in left]
        try:
            if isinstance(estimator, LinearProbe):
                fitted = fit_together(estimator, features, own_labels, own_rows)
            else:
                fitted = [
                    self._fit_alone(estimator, features[part], targets)
                    for part, targets in zip(own_rows, own_labels, strict=True)
                ]
        except ValueError as error:
            raise InputError(
                f"the {role} ({type(estimator).__name__}) could not be fitted on "
                f"{len(own_rows[0])} rows with labels of shape {own_labels[0].shape}: {error}"
            ) from error
        self.advance(len(codes))
        for k, model in zip(left, fitted, strict=True):
            models[k] = Model(model, None, self.n_classes)
        return models

    def _fit_alone(self, estimator: Any, features: FloatArray, labels: AnyArray) -> Any:
        fresh = clone(estimator)
        # Pipelines hold seeds of their steps as STEP__random_state.
        unseeded = [
            name
            for name, value in fresh.get_params().items()
            if value is None and name.rpartition("__")[2] == "random_state"
        ]
        fresh.set_params(**{name: int(self.rng.integers(2**31)) for name in unseeded})
        return fresh.fit(features, labels)


def _voted(labels: Labels) -> IntArray:
    """Return the rows that have a label; all of them where none has."""
    voted = np.flatnonzero(labels.codes >= 0)
    return voted if len(voted) else np.arange(len(labels.codes))
