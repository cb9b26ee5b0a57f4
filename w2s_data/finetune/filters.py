"""Filters of the rows to train on, and the controls of a filter."""

from __future__ import annotations

import numpy as np

from w2s_data.finetune.objectives import Model, Objective
from w2s_data.finetune.task import SUBSETS, Task
from w2s_data.overlap.confidence import weak_confidence
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray


def best_rows(score: FloatArray, count: IntArray | int, codes: IntArray | None = None) -> BoolArray:
    """Select the rows with the highest scores, in each class if `codes` are given.

    Among equal scores the first rows are selected; `count` is a number, or one per class (C,).

    >>> best_rows(np.array([0.1, 0.9, 0.5, 0.7]), 2)
    array([False,  True, False,  True])
    >>> best_rows(np.array([0.1, 0.9, 0.5, 0.7]), np.array([1, 1]), np.array([0, 1, 0, 1]))
    array([False,  True,  True, False])
    """
    if codes is None:
        codes, count = np.zeros(len(score), dtype=np.int64), np.array([count])
    chosen = np.zeros(len(score), dtype=bool)
    for code, wanted in enumerate(np.asarray(count)):
        members = np.flatnonzero(codes == code)
        chosen[members[np.argsort(-score[members], kind="stable")[:wanted]]] = True
    return chosen


def share_count(share: FloatArray | float, n: IntArray | int) -> IntArray:
    """Count the rows of a share of n: rounded, at least one where there is any.

    >>> share_count(0.3, np.array([10, 1, 0])).tolist()
    [3, 1, 0]
    """
    rounded = np.rint(np.asarray(share) * n).astype(np.int64)
    return np.minimum(np.maximum(rounded, 1), n)


def best_shares(score: FloatArray, share: FloatArray, codes: IntArray, size: int) -> BoolArray:
    """Select in each seed (S, N) the share (S,) of rows of highest score, inside each of C classes.

    The codes (S, N) of the classes may differ between seeds; rows of code -1 are left out.
    """
    # Inside each class: over all classes at once, those that are hard to learn would vanish.
    return np.stack(
        [
            best_rows(own, share_count(part, class_sizes(code, size)), code)
            for own, part, code in zip(score, share, codes, strict=True)
        ]
    )


def class_sizes(codes: IntArray, size: int) -> IntArray:
    """Count the rows of each of C classes; those of code -1 are left out.

    >>> class_sizes(np.array([0, 2, -1, 2]), 3).tolist()
    [1, 0, 2]
    """
    return np.bincount(codes[codes >= 0], minlength=size)


def train_filtered(
    task: Task,
    kept: BoolArray,
    objective: Objective,
    codes: IntArray | None = None,
    rest: float = 0.0,
    always: BoolArray | None = None,
    stage: str = "student",
) -> tuple[Model, dict[str, Model]]:
    """Train students on the rows that a method kept (S, N), and its controls on as many others.

    The controls have the same loss and labels. They are "random_subset" and "teacher_confidence",
    the rows of the teachers' most confident labels: as many as were kept, inside each class where
    the method chose by class. All other rows have weight `rest`. The codes of the classes are (N,)
    or (S, N), -1 where a row is not there to be chosen; the rows of `always` (N,) are trained on
    beside those that are chosen.
    """
    fixed = np.zeros(task.pool.n_rows, dtype=bool) if always is None else always
    chosen = {stage: kept, **(_control_rows(task, kept, codes) if task.settings.controls else {})}
    choices = {name: np.where(rows | fixed, 1.0, rest) for name, rows in chosen.items()}
    models = dict(task.train_each(objective, choices))
    return models.pop(stage), models


def _control_rows(task: Task, kept: BoolArray, codes: IntArray | None) -> dict[str, BoolArray]:
    """Choose the rows (S, N) of each control."""
    # On real data most of what a filter gains is one of these two: without them a gain of the
    # filter's own idea cannot be claimed.
    every = np.broadcast_to(0 if codes is None else codes, kept.shape)
    confidence = weak_confidence(task.labels(), "margin")
    scores: dict[str, list[FloatArray]] = {
        "random_subset": [rng.random(task.pool.n_rows) for rng in task.rngs(SUBSETS)],
        "teacher_confidence": [confidence] * task.n_seeds,
    }
    return {
        name: np.stack(
            [
                best_rows(of_seed, class_sizes(code[own], task.pool.n_classes), code)
                for of_seed, own, code in zip(score, kept, every, strict=True)
            ]
        )
        for name, score in scores.items()
    }
