"""The estimates that a forecast is blended from."""

from __future__ import annotations

import numpy as np

from w2s_data.forecast.cross_validation import (
    CEILING_FOLDS,
    CV_FOLDS,
    POOL_FOLDS,
    ceiling_accuracy,
    cross_fit,
    cross_validate,
)
from w2s_data.forecast.inputs import Task
from w2s_data.forecast.posterior import label_posteriors, stacked_proba
from w2s_data.forecast.result import Ingredients
from w2s_data.forecast.training import Trainer
from w2s_data.utils.typing import FloatArray, IntArray

# Standard deviation of gains before anything is measured (tau). True gains of 268 tasks lay
# between -.19 and +.15; where cross-validation is noisier than this, simulation counts more.
PRIOR_SD = 0.03
DRAWS = 6  # simulated worlds, each for the price of one teacher and one student


def measure(task: Task, trainer: Trainer, rng: np.random.Generator) -> Ingredients:
    """Cross-validate, cross-fit, infer posteriors and simulate."""
    n = len(task.codes)
    teacher = trainer.fit_teacher(task.weak_labelled, task.codes)
    teacher_codes = teacher.predict(task.weak_pool)
    student_codes, student_scores = cross_fit(task, teacher, trainer, rng)
    (teacher_right, student_right), held_out_scores = cross_validate(task, trainer, rng)
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
    simulated = simulated_gains(task, worlds, trainer, rng)
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
            ceiling_accuracy(task, trainer, rng),
            float(student_right.mean()),
        ),
    )


def planned_fits(n: int) -> int:
    """Count the fits of teacher and student with n labelled rows."""
    cv = sum(min(folds, n) for folds in CV_FOLDS)
    return 1 + POOL_FOLDS + 2 * (cv + DRAWS) + min(CEILING_FOLDS, n)


def simulated_gains(
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
