"""The estimates that a forecast is blended from."""

from __future__ import annotations

import numpy as np

from w2s_data.forecast.inputs import Task
from w2s_data.forecast.posterior import label_posteriors, stacked_proba
from w2s_data.forecast.result import Ingredients
from w2s_data.forecast.training import Model, Trainer
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.typing import FloatArray, IntArray

# Standard deviation of gains before anything is measured (tau). True gains of 268 tasks lay
# between -.19 and +.15; where cross-validation is noisier than this, simulation counts more.
PRIOR_SD = 0.03
# Folds of each repeat. Ten folds train on nearly the full labelled set; five average over more
# random divisions for the same number of fits. The blend was chosen on 188 tasks with these.
CV_FOLDS = (10, 10, 5, 5, 5, 5)
POOL_FOLDS = 5
CEILING_FOLDS = 5
DRAWS = 6  # simulated worlds, each for the price of one teacher and one student


def measure(task: Task, trainer: Trainer, rng: np.random.Generator) -> Ingredients:
    """Cross-validate, cross-fit, infer posteriors and simulate."""
    n = len(task.codes)
    teacher = trainer.fit_teacher(task.weak_labelled, task.codes)
    teacher_codes = teacher.predict(task.weak_pool)
    student_codes, student_scores = _cross_fit(task, teacher, trainer, rng)
    (teacher_right, student_right), held_out_scores = _cross_validate(task, trainer, rng)
    posteriors = label_posteriors(
        (task.strong_labelled, task.strong_pool), (task.weak_labelled, task.weak_pool), task.codes
    )
    best = min(posteriors.values(), key=lambda posterior: posterior.loss)
    proba = stacked_proba(
        np.stack([best.labelled_scores, *held_out_scores]),
        task.codes,
        np.stack([best.pool_scores, teacher.scores(task.weak_pool), student_scores]),
    )
    difference = student_right - teacher_right
    se = float(np.sqrt(n * difference.var(ddof=1) + 1) / n)  # + 1 keeps it from being 0
    strong_right = posteriors["strong"].labelled.argmax(axis=1) == task.codes
    # Not the stacked posterior: it uses the scores of the very models that the worlds compare.
    worlds = np.concatenate([best.labelled, best.pool])
    simulated = _simulated_gains(task, worlds, trainer, rng)
    return Ingredients(
        cv=float(difference.mean()),
        plug=expected_gain(proba, student_codes, teacher_codes),
        sim=float(simulated.mean()),
        se=se,
        disagreement=float((student_codes != teacher_codes).mean()),
        weight=PRIOR_SD**2 / (PRIOR_SD**2 + se**2),
        teacher_cv=float(teacher_right.mean()),
        teacher_plug=float(proba[np.arange(len(proba)), teacher_codes].mean()),
        # Each is low for its own reason: few gold rows, fewer rows in folds, the teacher's errors.
        ceiling=max(
            float(strong_right.mean()),
            _ceiling_accuracy(task, trainer, rng),
            float(student_right.mean()),
        ),
    )


def planned_fits(n: int) -> int:
    """Count the fits of teacher and student with n labelled rows."""
    cv = sum(min(folds, n) for folds in CV_FOLDS)
    return 1 + POOL_FOLDS + 2 * (cv + DRAWS) + min(CEILING_FOLDS, n)


def _cross_validate(
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


def _cross_fit(
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


def _ceiling_accuracy(task: Task, trainer: Trainer, rng: np.random.Generator) -> float:
    """Return the held-out accuracy of students of the gold labels of four fifths of the rows."""
    right = 0
    for train, held_out in stratified_folds(task.codes, CEILING_FOLDS, rng):
        model = trainer.fit_ceiling(task.strong_labelled[train], task.codes[train])
        right += int((model.predict(task.strong_labelled[held_out]) == task.codes[held_out]).sum())
    return right / len(task.codes)


def _simulated_gains(
    task: Task, proba: FloatArray, trainer: Trainer, rng: np.random.Generator
) -> FloatArray:
    """Return expected gains in worlds with other labelled rows, and labels drawn from `proba`.

    These are the class probabilities (n + N, C) of labelled and pool rows, in that order.
    """
    weak = np.concatenate([task.weak_labelled, task.weak_pool])
    strong = np.concatenate([task.strong_labelled, task.strong_pool])
    n, n_pool = len(task.codes), len(task.weak_pool)
    # As many test as labelled rows, but between a fifth and a third of the pool.
    n_test = max(min(n, n_pool // 3), n_pool // 5)
    gains = np.zeros(DRAWS)
    for draw in range(DRAWS):
        labelled, test, pool = np.split(rng.permutation(n + n_pool), [n, n + n_test])
        # Inverse transform: the class is the number of cumulative probabilities below a uniform.
        drawn = (rng.random((n, 1)) > np.cumsum(proba[labelled], axis=1)[:, :-1]).sum(axis=1)
        teacher = trainer.fit_teacher(weak[labelled], drawn)
        student = trainer.fit_student(strong[pool], teacher, weak[pool])
        gains[draw] = expected_gain(
            proba[test], student.predict(strong[test]), teacher.predict(weak[test])
        )
    return gains


def expected_gain(proba: FloatArray, student: IntArray, teacher: IntArray) -> float:
    """Average the probability of the student's class minus that of the teacher's class."""
    each = np.arange(len(proba))
    return float((proba[each, student] - proba[each, teacher]).mean())
