"""Held-out results of teacher and student on labelled rows and on the pool."""

from __future__ import annotations

import numpy as np

from w2s_data.forecast.inputs import Task
from w2s_data.forecast.training import Model, Trainer
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.typing import FloatArray, IntArray

# Folds of each repeat. Ten folds train on nearly the full labelled set; five average over more
# random divisions for the same number of fits. The blend was chosen on 188 tasks with these.
CV_FOLDS = (10, 10, 5, 5, 5, 5)
POOL_FOLDS = 5
CEILING_FOLDS = 5


def cross_validate(
    task: Task, trainer: Trainer, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Score labelled rows with a teacher of the other folds, and its student of the whole pool.

    Return the shares of repeats that are right (2, n) and mean scores (2, n, C) of either.
    """
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
    return right / repeats, scores / repeats


def cross_fit(
    task: Task, teacher: Model, trainer: Trainer, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Predict classes (N,) and scores (N, C) of the pool by students that have not seen the row."""
    n_pool = len(task.strong_pool)
    codes, scores = np.zeros(n_pool, dtype=np.int64), np.zeros((n_pool, task.n_classes))
    for train, held_out in stratified_folds(np.zeros(n_pool, dtype=np.int64), POOL_FOLDS, rng):
        student = trainer.fit_student(task.strong_pool[train], teacher, task.weak_pool[train])
        codes[held_out] = student.predict(task.strong_pool[held_out])
        scores[held_out] = student.scores(task.strong_pool[held_out])
    return codes, scores


def ceiling_accuracy(task: Task, trainer: Trainer, rng: np.random.Generator) -> float:
    """Return the held-out accuracy of students of the gold labels of four fifths of the rows."""
    right = 0
    for train, held_out in stratified_folds(task.codes, CEILING_FOLDS, rng):
        model = trainer.fit_ceiling(task.strong_labelled[train], task.codes[train])
        right += int((model.predict(task.strong_labelled[held_out]) == task.codes[held_out]).sum())
    return right / len(task.codes)
