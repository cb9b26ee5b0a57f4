"""Errors of gold alone, weak alone and both, trained on parts of the labels.

Parts are nested, and every size is scored on the same left-out gold rows, so that differences
between sizes have far less noise than the errors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from w2s_data.forecast.posterior import kernel_features
from w2s_data.plan.learners import PoolStudents, gold_view, joined
from w2s_data.posterior.views import Relabel
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import mean_label, votes

GOLD, WEAK, BOTH = "gold", "weak", "both"
# Shares of the labels to train on. Smaller ones have another slope, and larger ones add little.
GOLD_SHARES = (1.0, 0.63, 0.4, 0.25)
POOL_SHARES = (1.0, 0.5, 0.25)
FALLS = 2.0  # standard errors by which an accuracy has to fall to be taken for a falling one
FEWEST_ROWS = 2  # that anything is trained on

Point = tuple[int, int]  # numbers of a share of the gold rows and of one of the pool


@dataclass(frozen=True)
class Task:
    """Features and labels: n gold rows, N pool rows, M teachers, C classes."""

    gold: FloatArray  # (n, D)
    pool: FloatArray  # (N, D)
    weak_gold: FloatArray  # (n, M, C), held out where the teacher learned from gold rows
    weak_pool: FloatArray  # (N, M, C)
    codes: IntArray  # (n,)
    relabel: Relabel | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.weak_gold.shape[2])


@dataclass(frozen=True)
class Measured:
    """Share of trainings in which each gold row was wrong, by the sizes trained on.

    The first sizes are the largest.
    """

    sizes: FloatArray  # (P, 2): gold rows, pool rows
    wrong: FloatArray  # (n, P)

    @property
    def errors(self) -> FloatArray:
        """Mean errors (P,)."""
        return np.asarray(self.wrong.mean(axis=0))

    def falls(self, side: int) -> bool:
        """Return whether accuracy falls significantly with gold rows (0) or pool rows (1)."""
        other = self.sizes[:, 1 - side]
        edge = np.flatnonzero(other == other.max())
        least = edge[self.sizes[edge, side].argmin()]
        rise = self.wrong[:, 0] - self.wrong[:, least]
        # As if one more row were half wrong, so that some doubt stays where all rows agree.
        error = np.sqrt((rise.var() + 0.25 / len(rise)) / len(rise))
        return bool(rise.mean() > FALLS * error)


def measure(
    task: Task,
    folds: int,
    repeats: int,
    rng: np.random.Generator,
    advance: Callable[[int], None],
    *,
    curves: bool = True,
) -> dict[str, Measured]:
    """Measure the errors of the three options, only those of the largest parts without `curves`."""
    n, n_pool = len(task.codes), len(task.pool)
    gold, pool = kernel_features(task.gold, task.pool)
    gold_sizes, pool_sizes = GOLD_SHARES[: None if curves else 1], POOL_SHARES
    grid = _grid(len(gold_sizes), len(pool_sizes) if curves else 1)
    shares: dict[str, dict[Point, FloatArray]] = {name: {} for name in (GOLD, WEAK, BOTH)}

    def count(name: str, point: Point, held_out: IntArray, proba: FloatArray) -> None:
        wrong = shares[name].setdefault(point, np.zeros(n))
        wrong[held_out] += (proba[held_out].argmax(axis=1) != task.codes[held_out]) / repeats

    for _ in range(repeats):
        order = rng.permutation(n_pool)
        students = PoolStudents(gold, pool[order])
        for train, held_out in stratified_folds(task.codes, folds, rng):
            ordered = train[_evenly(task.codes[train], rng)]
            for i, share in enumerate(gold_sizes):
                rows = ordered[: max(FEWEST_ROWS, round(share * len(ordered)))]
                trained = _Trained(task, students, order, rows)
                count(GOLD, (i, 0), held_out, trained.by_gold[1])
                for j in grid[i]:
                    size = max(FEWEST_ROWS, round(pool_sizes[j] * n_pool))
                    weak, both = trained.of(size)
                    count(BOTH, (i, j), held_out, both)
                    if i == 0 or task.relabel is not None:
                        count(WEAK, (i, j), held_out, weak)
            advance(1)
    kept = n * (1 - 1 / min(folds, n))
    return {
        name: Measured(
            np.array([(kept * gold_sizes[i], n_pool * pool_sizes[j]) for i, j in points]),
            np.stack(list(points.values()), axis=1),
        )
        for name, points in shares.items()
    }


def teacher_errors(task: Task) -> FloatArray:
    """Return the chance (n,) that the teacher is wrong on each gold row.

    It guesses where it abstains. Several teachers are averaged.
    """
    said = votes(mean_label(task.weak_gold))
    guess = 1 - 1 / task.n_classes
    return np.where(said < 0, guess, (said != task.codes).astype(np.float64))


class _Trained:
    """The options on some gold rows, for any number of pool rows."""

    def __init__(self, task: Task, students: PoolStudents, order: IntArray, rows: IntArray) -> None:
        self.task, self.students, self.rows = task, students, rows
        self.weak_gold, weak_pool = task.weak_gold, task.weak_pool
        if task.relabel is not None:
            on_gold, on_pool = task.relabel(rows)
            weak_pool = np.reshape(on_pool, weak_pool.shape)
            # The rows that the teacher learned from keep its held-out view.
            self.weak_gold = np.reshape(on_gold, self.weak_gold.shape).copy()
            self.weak_gold[rows] = task.weak_gold[rows]
        self.weak_pool = weak_pool[order]
        self.by_gold = gold_view(students.gold, students.pool, rows, task.codes, task.n_classes)

    def of(self, size: int) -> tuple[FloatArray, FloatArray]:
        """Return scores of all gold rows by weak alone and by both, of `size` pool rows."""
        rows, codes = self.rows, self.task.codes
        left_out, _, pool = self.by_gold
        weak = self.weak_pool[:size]
        by_weak, weak_view = self.students.of_pool(mean_label(weak))
        views = [*weak.swapaxes(0, 1), pool[:size], weak_view]
        own = [*self.weak_gold[rows].swapaxes(0, 1), left_out, by_weak[rows]]
        posterior = joined(views, own, codes[rows])
        known = np.eye(self.task.n_classes)[codes[rows]]
        return by_weak, self.students.of_both(posterior, rows, known)


def _grid(n_gold: int, n_pool: int) -> list[list[int]]:
    """Return the sizes of the pool to train on by size of the gold rows: two edges, one corner."""
    inner = [[0] for _ in range(n_gold)]
    inner[0] = list(range(n_pool))
    inner[-1] = sorted({0, n_pool - 1}) if n_gold > 1 else inner[-1]
    return inner


def _evenly(codes: IntArray, rng: np.random.Generator) -> IntArray:
    """Order rows at random such that every beginning has the classes in proportion."""
    place = np.empty(len(codes))
    for rows in _by_class(codes):
        place[rng.permutation(rows)] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def _by_class(codes: IntArray) -> Iterator[IntArray]:
    for code in np.unique(codes):
        yield np.flatnonzero(codes == code)
