"""Held-out predictions of the four options, on labelled rows and on the pool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class _Middle:
    """Rows as directions from the middle of the pool, for class means of any gold rows."""

    model: ClassMeans
    labelled: FloatArray  # (n, D)
    pool: FloatArray  # (N, D)

    @classmethod
    def of(cls, task: Task, trainer: Trainer) -> _Middle:
        """Take the middle of the pool; that of pairs, whose two orders lie around it, is zero."""
        center = task.strong_pool.mean(axis=0)
        model = ClassMeans(np.zeros_like(center) if trainer.paired else center, trainer.paired)
        return cls(model, model.units(task.strong_labelled), model.units(task.strong_pool))

    def means(self, task: Task, rows: IntArray) -> tuple[Labels, Labels]:
        """Label labelled rows and the pool by the class means of some gold rows."""
        targets = np.eye(task.n_classes)[task.codes[rows]]
        model = self.model.fit(task.strong_labelled[rows], targets)
        return (
            Labels.of(model.predict_units(self.labelled)),
            Labels.of(model.predict_units(self.pool)),
        )


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
    shared = None if task.ready is None else _students(task, [task.ready[1]], trainer)
    middle = _Middle.of(task, trainer)
    for n_folds in CV_FOLDS:
        folds = stratified_folds(task.codes, n_folds, rng)
        trains = [train for train, _ in folds]
        on_pool = []
        for (_, held_out), (labelled, pool) in zip(
            folds, _views(task, trains, shared, middle, trainer), strict=True
        ):
            on_pool.append(np.stack([labels.proba for labels in pool], dtype=np.float32))
            for k, every in enumerate(labelled):
                labels = every.take(held_out)
                if k < len(right) - 1:
                    # A row on which the teacher abstains guesses, as in the measured gain.
                    guess = (labels.codes < 0) / task.n_classes
                    right[k, held_out] += guess + (labels.codes == task.codes[held_out])
                scores[k, held_out] += labels.scores
                views[k, held_out] = labels.proba
        # Only now has each labelled row its views, from which the others are weighted.
        both = fit_both(task, views, on_pool, trains, trainer)
        for (_, held_out), model in zip(folds, both, strict=True):
            codes = model.predict(task.strong_labelled[held_out])
            right[-1, held_out] += codes == task.codes[held_out]
    repeats = len(CV_FOLDS)
    return HeldOut(right / repeats, scores / repeats, views)


def predict_pool(
    task: Task, held_out: HeldOut, trainer: Trainer, rng: np.random.Generator
) -> OnPool:
    """Predict the pool by all four options; students have not seen the row's own weak label."""
    every, n_pool = [np.arange(len(task.codes))], len(task.strong_pool)
    ((_, weak),) = _weak_labels(task, every, trainer)
    folds = stratified_folds(np.zeros(n_pool, dtype=np.int64), POOL_FOLDS, rng)
    trains = [train for train, _ in folds]
    students = trainer.fit_students(
        task.strong_pool, [weak.take(train) for train in trains], trains
    )
    parts = [
        (rows, student.labels(task.strong_pool[rows]))
        for student, (_, rows) in zip(students, folds, strict=True)
    ]
    (gold,) = trainer.fit_golds(task.strong_labelled, task.codes, every)
    middle = _Middle.of(task, trainer)
    means = middle.means(task, every[0])[1]
    out_of_fold = Labels.joined(parts, n_pool)
    views = [weak, gold.labels(task.strong_pool), out_of_fold, means]
    proba = np.stack([view.proba for view in views])
    (both,) = fit_both(task, held_out.proba, [proba], every, trainer)
    return OnPool(
        np.stack([*(view.codes for view in views[:-1]), both.predict(task.strong_pool)]),
        np.stack([view.scores for view in views]),
    )


def fit_both(
    task: Task,
    views: FloatArray,
    on_pool: Sequence[FloatArray],
    trains: Sequence[IntArray],
    trainer: Trainer,
) -> list[Model]:
    """Fit students of the pool's label posterior and of the gold labels of some rows.

    `views` (views, n, C) of the labelled rows are held out, `on_pool` has those of the pool.
    """
    posteriors = []
    for rows, pool in zip(trains, on_pool, strict=True):
        # The posterior of pairs has no offset: both orders are equal.
        joined = join_views(views[:, rows], task.codes[rows], offsets=not trainer.paired)
        posteriors.append(joined.proba(pool))
    return trainer.fit_both(task.strong, posteriors, task.codes, trains)


def _views(
    task: Task,
    trains: Sequence[IntArray],
    shared: list[tuple[Model, Labels]] | None,
    middle: _Middle,
    trainer: Trainer,
) -> Iterator[tuple[list[Labels], list[Labels]]]:
    """Yield labels of labelled rows and of the pool by all views, for each set of gold rows."""
    weak = _weak_labels(task, trains, trainer)
    students = shared * len(trains) if shared else _students(task, [w[1] for w in weak], trainer)
    golds = trainer.fit_golds(task.strong_labelled, task.codes, trains)
    strong, pool = task.strong_labelled, task.strong_pool
    for train, (own, own_pool), (student, student_pool), gold in zip(
        trains, weak, students, golds, strict=True
    ):
        means, means_pool = middle.means(task, train)
        labelled = [own, gold.labels(strong), student.labels(strong), means]
        yield labelled, [own_pool, gold.labels(pool), student_pool, means_pool]


def _weak_labels(
    task: Task, trains: Sequence[IntArray], trainer: Trainer
) -> list[tuple[Labels, Labels]]:
    """Return weak labels of labelled rows and pool, ready-made or by teachers of some rows."""
    if task.ready is not None:
        return [task.ready] * len(trains)
    codes = [task.codes[train] for train in trains]
    teachers = trainer.fit_teachers(task.weak_labelled, codes, trains)
    return [
        (teacher.labels(task.weak_labelled), teacher.labels(task.weak_pool)) for teacher in teachers
    ]


def _students(task: Task, labels: Sequence[Labels], trainer: Trainer) -> list[tuple[Model, Labels]]:
    """Fit students of weak labels of the pool, and label the pool with them."""
    students = trainer.fit_students(task.strong_pool, labels)
    return [(student, student.labels(task.strong_pool)) for student in students]
