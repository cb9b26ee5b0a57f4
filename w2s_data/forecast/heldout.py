"""Held-out predictions of the four options, on labelled rows and on the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from w2s_data.forecast.inputs import Labels, Task
from w2s_data.forecast.options import OPTIONS
from w2s_data.forecast.training import Model, Trainer
from w2s_data.posterior.means import ClassMeans
from w2s_data.posterior.pooling import join_views
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.typing import FloatArray, IntArray

VIEWS = 4  # of the label posterior: the first three options, and class means of the gold rows
# Folds of each repeat. Ten folds train on nearly the full labelled set; five average over more
# random divisions for the same number of fits.
CV_FOLDS = (10, 5, 5)
POOL_FOLDS = 5


@dataclass(frozen=True)
class HeldOut:
    """Predictions of labelled rows by models without their label, averaged over repeats."""

    right: FloatArray  # (options, n), share of repeats in which an option is right
    scores: FloatArray  # (views, n, C)
    proba: FloatArray  # (views, n, C), of one repeat


@dataclass(frozen=True)
class OnPool:
    """Predictions of the pool by models of all labelled rows."""

    codes: IntArray  # (options, N)
    scores: FloatArray  # (views, N, C)


def planned_fits(n: int, *, ready: bool) -> int:
    """Count the fits of teacher and student with n labelled rows."""
    folds = sum(min(k, n) for k in CV_FOLDS)
    return POOL_FOLDS + 3 + folds * (2 if ready else 4)


def cross_validate(task: Task, trainer: Trainer, rng: np.random.Generator) -> HeldOut:
    """Predict labelled rows by all four options, trained without the rows' fold."""
    n = len(task.codes)
    shape = (VIEWS, n, task.n_classes)
    right, scores, views = np.zeros((len(OPTIONS), n)), np.zeros(shape), np.zeros(shape)
    # A student of ready-made labels has seen no gold label: all folds share it.
    shared = None if task.ready is None else _fit_weak(task, task.ready[1], trainer)
    for n_folds in CV_FOLDS:
        folds = stratified_folds(task.codes, n_folds, rng)
        on_pool = []
        for train, held_out in folds:
            labelled, pool = _views(task, train, held_out, shared, trainer)
            on_pool.append(np.stack([labels.proba for labels in pool], dtype=np.float32))
            for k, labels in enumerate(labelled):
                if k < len(right) - 1:
                    # A row on which the teacher abstains guesses, as in the measured gain.
                    guess = (labels.codes < 0) / task.n_classes
                    right[k, held_out] += guess + (labels.codes == task.codes[held_out])
                scores[k, held_out] += labels.scores
                views[k, held_out] = labels.proba
        # Only now has each labelled row its views, from which the others are weighted.
        for (train, held_out), pool_views in zip(folds, on_pool, strict=True):
            both = fit_both(task, views, pool_views, train, trainer)
            codes = both.predict(task.strong_labelled[held_out])
            right[-1, held_out] += codes == task.codes[held_out]
    repeats = len(CV_FOLDS)
    return HeldOut(right / repeats, scores / repeats, views)


def predict_pool(
    task: Task, held_out: HeldOut, trainer: Trainer, rng: np.random.Generator
) -> OnPool:
    """Predict the pool by all four options; students have not seen the row's own weak label."""
    every = np.arange(len(task.codes))
    weak = _weak_labels(task, every, trainer)[1]
    n_pool = len(task.strong_pool)
    parts = []
    for train, rows in stratified_folds(np.zeros(n_pool, dtype=np.int64), POOL_FOLDS, rng):
        student = trainer.fit_student(task.strong_pool[train], weak.take(train))
        parts.append((rows, student.labels(task.strong_pool[rows])))
    gold, means = _fit_gold(task, every, trainer)
    out_of_fold = Labels.joined(parts, n_pool)
    views = [weak, gold.labels(task.strong_pool), out_of_fold, means(task.strong_pool)]
    proba = np.stack([view.proba for view in views])
    both = fit_both(task, held_out.proba, proba, every, trainer).predict(task.strong_pool)
    return OnPool(
        np.stack([*(view.codes for view in views[:-1]), both]),
        np.stack([view.scores for view in views]),
    )


def fit_both(
    task: Task, views: FloatArray, pool: FloatArray, rows: IntArray, trainer: Trainer
) -> Model:
    """Fit a student of the pool's label posterior and of the gold labels of some rows.

    `views` (views, n, C) of the labelled rows are held out, `pool` has those of the pool.
    """
    # The posterior of pairs has no offset: both orders are equal.
    pool_of_views = join_views(views[:, rows], task.codes[rows], offsets=not trainer.paired)
    posterior = pool_of_views.proba(pool)
    return trainer.fit_both(
        task.strong_pool, posterior, task.strong_labelled[rows], task.codes[rows]
    )


def _views(
    task: Task,
    train: IntArray,
    held_out: IntArray,
    shared: tuple[Model, Labels] | None,
    trainer: Trainer,
) -> tuple[list[Labels], list[Labels]]:
    """Label held-out rows and the pool by all views."""
    weak, weak_pool = _weak_labels(task, train, trainer)
    student, student_pool = shared or _fit_weak(task, weak_pool, trainer)
    gold, means = _fit_gold(task, train, trainer)
    strong, pool = task.strong_labelled[held_out], task.strong_pool
    labelled = [weak.take(held_out), gold.labels(strong), student.labels(strong), means(strong)]
    return labelled, [weak_pool, gold.labels(pool), student_pool, means(pool)]


def _fit_gold(
    task: Task, rows: IntArray, trainer: Trainer
) -> tuple[Model, Callable[[FloatArray], Labels]]:
    """Fit a student of some gold labels, and the means of their classes."""
    strong, codes = task.strong_labelled[rows], task.codes[rows]
    # The two orders of a pair lie on both sides of zero.
    center = np.zeros(strong.shape[1]) if trainer.paired else task.strong_pool.mean(axis=0)
    means = ClassMeans(center, trainer.paired).fit(strong, np.eye(task.n_classes)[codes])
    gold = trainer.fit_gold(strong, codes)
    return gold, lambda features: Labels.of(means.predict_proba(features))


def _weak_labels(task: Task, rows: IntArray, trainer: Trainer) -> tuple[Labels, Labels]:
    """Return weak labels of labelled rows and pool, ready-made or by a teacher of some rows."""
    if task.ready is not None:
        return task.ready
    teacher = trainer.fit_teacher(task.weak_labelled[rows], task.codes[rows])
    return teacher.labels(task.weak_labelled), teacher.labels(task.weak_pool)


def _fit_weak(task: Task, weak: Labels, trainer: Trainer) -> tuple[Model, Labels]:
    """Fit a student of the weak labels of the pool, and label the pool with it."""
    student = trainer.fit_student(task.strong_pool, weak)
    return student, student.labels(task.strong_pool)
