"""Filters of the rows to train on, and the controls of a filter."""

from __future__ import annotations

import numpy as np

from w2s_data.finetune.objectives import Model, Objective
from w2s_data.finetune.task import SUBSETS, Task
from w2s_data.overlap.confidence import weak_confidence
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray


def best_rows(score: FloatArray, count: IntArray | int, codes: IntArray | None = None) -> BoolArray:
    """Select the rows with the highest scores, in each class if `codes` are given.

    Of equal scores the first rows are selected; `count` is a number, or one per class (C,).

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

    The codes (S, N) of the classes may differ between seeds.
    """
    # Inside each class: over all classes at once, those that are hard to learn would vanish.
    return np.stack(
        [
            best_rows(own, share_count(part, np.bincount(code, minlength=size)), code)
            for own, part, code in zip(score, share, codes, strict=True)
        ]
    )


def filter_controls(
    task: Task,
    kept: BoolArray,
    objective: Objective,
    codes: IntArray | None = None,
    rest: float = 0.0,
) -> dict[str, Model]:
    """Train students on as many other rows, with the same loss and labels.

    They are "random_subset" and "teacher_confidence", the rows of the teachers' most confident
    labels: as many as the method kept (S, N), inside each class where it chose by class (`codes`),
    the other rows with weight `rest`.
    """
    # On real data most of what a filter gains is one of these two: without them a gain of the
    # filter's own idea cannot be claimed.
    if not task.settings.controls:
        return {}
    codes = np.zeros(task.pool.n_rows, dtype=np.int64) if codes is None else codes
    counts = [np.bincount(codes[own], minlength=codes.max() + 1) for own in kept]
    confidence = weak_confidence(task.labels(), "margin")
    chance = [rng.random(task.pool.n_rows) for rng in task.rngs(SUBSETS)]
    choices = {
        "random_subset": [
            best_rows(score, count, codes) for score, count in zip(chance, counts, strict=True)
        ],
        "teacher_confidence": [best_rows(confidence, count, codes) for count in counts],
    }
    return {
        name: task.train(objective, stage=name, rows=np.where(np.stack(rows), 1.0, rest))
        for name, rows in choices.items()
    }
