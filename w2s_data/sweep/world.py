"""The rows that a sweep is measured on, and the draws of its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data.errors import InputError
from w2s_data.probes.linear import LinearProbe
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

FEWEST = 40  # training points below which the accuracy of a student says nothing


@dataclass(frozen=True)
class World:
    """Labelled, pool and test rows of a run, and how teachers and students are trained on them.

    Attributes
    ----------
    strong : float array (R, D_s)
    weak : float array (R, D_w) or None
        None where weak labels are ready-made: no teacher is trained.
    weak_proba : float array (R, C)
        The weak labels of the run.
    labels : int array (R,)
        Gold labels, -1 where unknown; known on all test rows.
    splits : array (R,) of "labelled", "pool" and "test"
    teacher, student : LinearProbe
        With fixed penalties, not fitted.
    hard : bool
        Whether students learn the most probable class, or the probabilities.
    groups : array (R,), optional
        Names of groups.
    models : mapping, optional
        Features (R, D) of other encoders, by name.
    entropy : int
        Root of all random numbers.
    sources : array (R,), optional
        Names of sources.
    rounds : tuple of int arrays
        Rows that a selection bought, round by round.
    """

    strong: FloatArray
    weak: FloatArray | None
    weak_proba: FloatArray
    labels: IntArray
    splits: AnyArray
    teacher: LinearProbe
    student: LinearProbe
    hard: bool = True
    groups: AnyArray | None = None
    models: Mapping[str, FloatArray] = field(default_factory=dict)
    entropy: int = 0
    sources: AnyArray | None = None
    rounds: tuple[IntArray, ...] = ()

    @property
    def n_classes(self) -> int:
        """Classes C."""
        return int(self.weak_proba.shape[1])

    @property
    def knows_pool(self) -> bool:
        """Whether all pool rows have a gold label, which a ceiling needs."""
        return bool((self.labels[self.splits == "pool"] >= 0).all())

    @property
    def redraws(self) -> bool:
        """Whether each seed has another labelled set, and with it another teacher."""
        return self.weak is not None and self.knows_pool

    def draw(self, seed: int) -> Draw:
        """Draw the labelled set and the pool of a seed; the test rows are always the same.

        Where gold labels of the pool are known, labelled and pool rows are divided again, each
        class of each group in the numbers that the run has.
        """
        draw = self.fixed(seed)
        if self.redraws:
            draw.labelled, draw.pool = self._divided(draw.labelled, draw.pool, draw.rng)
        return draw

    def fixed(self, seed: int) -> Draw:
        """Return the labelled set and the pool of the run, with the random numbers of a seed."""
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy, spawn_key=(seed,)))
        labelled = np.flatnonzero((self.splits == "labelled") & (self.labels >= 0))
        pool, test = (np.flatnonzero(self.splits == name) for name in ("pool", "test"))
        return Draw(self, rng, labelled, pool, test)

    def _divided(
        self, labelled: IntArray, pool: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, IntArray]:
        rows = rng.permutation(np.concatenate([labelled, pool]))
        cells = self.labels if self.groups is None else self._cells()
        taken = []
        for cell in np.unique(cells[rows]):
            inside = rows[cells[rows] == cell]
            taken.append(inside[: np.count_nonzero(cells[labelled] == cell)])
        chosen = np.concatenate(taken)
        return rng.permutation(chosen), rows[~np.isin(rows, chosen)]

    def _cells(self) -> IntArray:
        assert self.groups is not None
        codes = np.unique(self.groups.astype(str), return_inverse=True)[1]
        return np.asarray(codes * self.n_classes + self.labels)

    def with_models(self, strong: str, weak: str) -> World:
        """Return the world in which two of the other encoders are student and teacher."""
        return replace(self, strong=self.models[strong], weak=self.models[weak])


@dataclass(eq=False)
class Draw:
    """Rows of one seed."""

    world: World
    rng: np.random.Generator
    labelled: IntArray
    pool: IntArray
    test: IntArray

    def teach(self, labelled: IntArray | None = None) -> FloatArray:
        """Return weak labels (R, C) of a teacher of some labelled rows, or those of the run."""
        world = self.world
        if world.weak is None:
            return world.weak_proba
        rows = self.labelled if labelled is None else labelled
        # As distributions: few rows may lack a class.
        targets = np.eye(world.n_classes)[world.labels[rows]]
        probe = clone(world.teacher).fit(world.weak[rows], targets)
        return np.asarray(probe.predict_proba(world.weak))

    def gold(self) -> FloatArray:
        """Return gold labels (R, C) as distributions; rows without one are uniform."""
        known = self.world.labels >= 0
        targets = np.full((len(known), self.world.n_classes), 1 / self.world.n_classes)
        targets[known] = np.eye(self.world.n_classes)[self.world.labels[known]]
        return targets

    def subset(self, rows: IntArray, n: int) -> IntArray:
        """Draw some of the rows without replacement."""
        return np.asarray(self.rng.choice(rows, n, replace=False))

    def hits(self, rows: IntArray, targets: FloatArray) -> FloatArray:
        """Return where a student of some rows is right on the test rows (T,)."""
        world = self.world
        given = targets[rows]
        if world.hard:
            given = np.eye(world.n_classes)[given.argmax(axis=1)]
        probe = clone(world.student).fit(world.strong[rows], given)
        predicted = probe.predict(world.strong[self.test])
        return np.asarray(predicted == world.labels[self.test], dtype=np.float64)

    def teacher_hits(self, proba: FloatArray) -> FloatArray:
        """Return where weak labels are right on the test rows (T,)."""
        predicted = proba[self.test].argmax(axis=1)
        return np.asarray(predicted == self.world.labels[self.test], dtype=np.float64)


@dataclass
class Cell:
    """Measurements of one seed: numbers by line and position, and facts by name."""

    points: list[tuple[str, float | None, float]] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    def add(self, line: str, x: float | None, value: Any) -> None:
        """Add a number; a line without positions is one level for the whole figure."""
        self.points.append((line, None if x is None else float(x), float(value)))


def check_size(n: int, what: str) -> int:
    """Return a number of training points, or raise if they are too few for any statement."""
    if n < FEWEST:
        raise InputError(
            f"{n} {what} are too few: students of fewer than {FEWEST} points say nothing; take a "
            "larger pool"
        )
    return n
