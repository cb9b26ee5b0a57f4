"""The estimates that a forecast is blended from."""

from __future__ import annotations

import numpy as np

from w2s_data.forecast import heldout
from w2s_data.forecast.heldout import HeldOut, OnPool
from w2s_data.forecast.inputs import Task
from w2s_data.forecast.options import OPTIONS
from w2s_data.forecast.posterior import label_posteriors, stacked_proba
from w2s_data.forecast.result import Ingredients, OptionIngredients
from w2s_data.forecast.training import Trainer
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.weighting import kish_size

# Standard deviation of gains before anything is measured (tau). True gains of 268 tasks lay
# between -.19 and +.15; where cross-validation is noisier than this, simulation counts more.
PRIOR_SD = 0.03
DRAWS = 6  # simulated worlds, each for the price of one teacher and one student


def measure(task: Task, trainer: Trainer, rng: np.random.Generator) -> Ingredients:
    """Cross-validate, predict the pool, infer posteriors and simulate."""
    held_out = heldout.cross_validate(task, trainer, rng)
    on_pool = heldout.predict_pool(task, held_out, trainer, rng)
    posteriors = label_posteriors(
        (task.strong_labelled, task.strong_pool), (task.weak_labelled, task.weak_pool), task.codes
    )
    best = min(posteriors.values(), key=lambda posterior: posterior.loss)
    proba = stacked_proba(
        np.stack([best.labelled_scores, *held_out.scores]),
        task.codes,
        np.stack([best.pool_scores, *on_pool.scores]),
    )
    options = _measure_options(held_out, on_pool, proba, task.gold_weight)
    se = options.se[0][2]
    weight, sim = np.nan, np.nan
    if task.ready is None:
        # Not the stacked posterior: it uses the scores of the very models that the worlds compare.
        worlds = np.concatenate([best.labelled, best.pool])
        sim = float(_simulated_gains(task, worlds, trainer, rng).mean())
        weight = PRIOR_SD**2 / (PRIOR_SD**2 + se**2)
    return Ingredients(
        cv=options.cv[2] - options.cv[0],
        plug=options.plug[2] - options.plug[0],
        sim=sim,
        se=se,
        disagreement=options.disagreement[0][2],
        weight=weight,
        options=options,
    )


def planned_fits(n: int, *, ready: bool) -> int:
    """Count the fits of teacher and student with n labelled rows."""
    return heldout.planned_fits(n, ready=ready) + (0 if ready else 2 * DRAWS)


def chance_right(proba: FloatArray, codes: IntArray) -> FloatArray:
    """Return the probability of each row's class (n,), that of a guess without one."""
    return np.where(codes >= 0, proba[np.arange(len(proba)), codes], 1 / proba.shape[1])


def expected_gain(proba: FloatArray, student: IntArray, teacher: IntArray) -> float:
    """Average the probability of the student's class minus that of the teacher's class."""
    return float((chance_right(proba, student) - chance_right(proba, teacher)).mean())


def _measure_options(
    held_out: HeldOut, on_pool: OnPool, proba: FloatArray, gold_weight: FloatArray | None
) -> OptionIngredients:
    right, codes = held_out.right, on_pool.codes
    weight = np.ones(right.shape[1]) if gold_weight is None else gold_weight
    share, size = weight / weight.sum(), kish_size(weight)
    pairs = range(len(OPTIONS))
    differences = right[:, None] - right  # (options, options, n)
    excess = differences - (differences @ share)[:, :, None]
    # With equal weights the variance of a mean; a term of one row keeps it from being 0.
    variance = excess**2 @ share**2 * size / max(size - 1, 1)
    se = np.sqrt(variance + size**-2)
    return OptionIngredients(
        cv=tuple((right @ share).tolist()),
        plug=tuple(float(chance_right(proba, codes[k]).mean()) for k in pairs),
        se=tuple(map(tuple, se.tolist())),
        disagreement=tuple(
            tuple(float((codes[j] != codes[k]).mean()) for k in pairs) for j in pairs
        ),
    )


def _simulated_gains(
    task: Task, proba: FloatArray, trainer: Trainer, rng: np.random.Generator
) -> FloatArray:
    """Return expected gains in worlds with other labelled rows, and labels drawn from `proba`.

    These are the class probabilities (n + N, C) of labelled and pool rows, in that order.
    """
    weak, strong = np.concatenate([task.weak_labelled, task.weak_pool]), task.strong
    n, n_pool = len(task.codes), len(task.weak_pool)
    # As many test as labelled rows, but between a fifth and a third of the pool.
    n_test = max(min(n, n_pool // 3), n_pool // 5)
    parts, codes = [], []
    for _ in range(DRAWS):
        labelled, test, pool = np.split(rng.permutation(n + n_pool), [n, n + n_test])
        parts.append((labelled, test, pool))
        # Inverse transform: the class is the number of cumulative probabilities below a uniform.
        codes.append((rng.random((n, 1)) > np.cumsum(proba[labelled], axis=1)[:, :-1]).sum(axis=1))
    every, tests, pools = zip(*parts, strict=True)
    teachers = trainer.fit_teachers(weak, codes, every)
    labels = [t.labels(weak[pool]) for t, pool in zip(teachers, pools, strict=True)]
    students = trainer.fit_students(strong, labels, pools)
    return np.array(
        [
            expected_gain(proba[test], student.predict(strong[test]), teacher.predict(weak[test]))
            for test, student, teacher in zip(tests, students, teachers, strict=True)
        ]
    )
