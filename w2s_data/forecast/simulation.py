"""Gains in simulated worlds, whose labels are drawn from posteriors."""

from __future__ import annotations

import numpy as np

from w2s_data.forecast.inputs import Task
from w2s_data.forecast.training import Trainer
from w2s_data.utils.typing import FloatArray, IntArray

DRAWS = 6  # simulated worlds, each for the price of one teacher and one student


def simulated_gains(
    task: Task, proba: FloatArray, trainer: Trainer, rng: np.random.Generator
) -> FloatArray:
    """Return expected gains in worlds with other labelled rows, and labels drawn from `proba`.

    Parameters
    ----------
    proba : array (n + N, C)
        Class probabilities of labelled and pool rows, in that order.
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
