"""Screening sources by label consistency, with or without a target, and its judge."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.intervals import LEVEL, student_interval
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_selectors.objectives.base import Acquired, Judge, Judgement, Task
from w2s_selectors.objectives.consistency import LabelConsistency, Projection, screened_out

MINIMUM_TARGET = 200  # items; the match was not measured with fewer
BLOCK_ROWS = 4096  # projected together, so that an answer of any size fits into memory
TARGET_ROWS = 10_000  # a larger target or first round is sampled: a mean is then right to 1 %
N_STEPS = 200  # in which a plan spends its budget: half a percent each
N_FOURIER = 256  # the error of a kernel value is then about .06, of a mean over points far less
MEDIAN_ROWS = 500  # of the target, for the kernel's width; 124,750 pairs


@dataclass(frozen=True)
class Screen:
    """Stop the sources whose weak labels do not follow from the strong features.

    Exact leave-one-out ridge regression of the weak labels on the strong features, over all that
    is acquired; its correlation r with the weak labels inside a source is the source's label
    consistency. A source with 40 points or more is stopped while atanh(r), plus its standard
    error, is below half the upper quartile over the sources. Every source is judged again after
    every answer, so one that was stopped may come back.

    It needs neither labels nor a target sample. It seldom sees a source of which a quarter of the
    labels belong to other texts, misses one with half of them in two of five runs, and believes a
    teacher that is wrong in a smooth way.

    Examples
    --------
    >>> Screen().policy
    'round_robin'
    """

    name: ClassVar[str] = "screen"
    reward: ClassVar[str] = "label consistency"
    # About fifty mixtures of clean sources were tried; none beat an even one beyond noise.
    policy: ClassVar[str] = "round_robin"
    warm_up: ClassVar[int] = 2  # at batches of 20, the 40 points that it takes to stop a source

    def start(self, task: Task) -> Judge:
        """Judge without a target."""
        return ScreenJudge(task, match=False)


@dataclass(frozen=True)
class ScreenMatch(Screen):
    """`Screen`, and among the rest the source that brings what is acquired nearest to a target.

    Nearness is the distance of kernel means (256 random Fourier features of 64 principal
    components, Gaussian kernel of median width) after a batch from a source, or where costs differ
    after as many items as the price of the dearest source's batch buys.

    Needs a target of 200 unlabelled items or more, drawn like those the student will meet. Never
    give it the rows that the teacher was trained on: that cost 11 points in the worst run measured.

    Examples
    --------
    >>> ScreenMatch().reward
    'label consistency'
    """

    name: ClassVar[str] = "screen_match"

    def start(self, task: Task) -> Judge:
        """Judge against the task's target."""
        if task.target is None:
            raise InputError(
                f"objective 'screen_match' needs target: {MINIMUM_TARGET} or more unlabelled items "
                "like those the student will meet; without them use objective='screen'"
            )
        return ScreenJudge(task, match=True)


class ScreenJudge(Judge):
    """Label consistency by source, and the distance to a target where there is one."""

    def __init__(self, task: Task, match: bool) -> None:
        self._task, self._match = task, match
        self._rng = np.random.default_rng(task.seed)
        self._n_seen = 0

    def __call__(self, acquired: Acquired) -> Judgement:
        if self._n_seen == 0:
            self._begin(acquired)
        for start in range(self._n_seen, len(acquired), BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, len(acquired)))
            source = acquired.source[rows]
            components = self._project(acquired.strong_features.take(rows))
            self._consistency.add(source, components, acquired.weak_proba[rows])
            if self._match:
                self._kernel.add(source, components)
        self._consistency.update()
        self._n_seen = len(acquired)
        return self._judgement()

    def _begin(self, acquired: Acquired) -> None:
        """Fit the components on target rows and the points of the first round.

        Once only: later components would change what all earlier sums mean.
        """
        fitted = [acquired.strong_features.take(_sample(len(acquired), self._rng))]
        if self._match and self._task.target is not None:
            target = self._task.target[_sample(len(self._task.target), self._rng)]
            fitted.insert(0, target)
        self._project = Projection.fit(np.concatenate(fitted), seed=self._task.seed)
        n_components, n_classes = self._project.weights.shape[1], acquired.weak_proba.shape[1]
        self._consistency = LabelConsistency(self._task.n_sources, n_components, n_classes)
        if self._match:
            self._kernel = KernelMean(self._project(fitted[0]), self._task.n_sources, self._rng)

    def _judgement(self) -> Judgement:
        consistency = self._consistency
        z, n = consistency.fisher_z, consistency.n_points
        stop, limit = screened_out(z, n)
        # Fisher's z is nearly normal with variance 1 / (n - 3), whatever the correlation.
        error = 1 / np.sqrt(np.maximum(n - 3, 1))
        low, high = np.tanh(student_interval(z, error, np.inf, LEVEL))
        stopped = {
            int(k): f"its weak labels do not follow from the strong features: consistency "
            f"{consistency.correlation[k]:.2f} [{low[k]:.2f}, {high[k]:.2f}] over {n[k]} points; "
            f"the limit is {np.tanh(limit):.2f}, half the upper quartile of the sources (as atanh)"
            for k in np.flatnonzero(stop)
        }
        gains = None
        if self._match:
            # Points of stopped sources are set aside: nobody trains on them.
            self._kernel.leave_out([*(stopped.keys() - self._task.keep), *self._task.stop])
            # Equal money for every source: as many items as the dearest batch would pay.
            costs = self._task.costs
            affordable = self._task.batch_size * costs.max() / costs
            gains = self._kernel.distance() - self._kernel.distances_after(affordable)
        return Judgement(
            rewards=consistency.correlation,
            low=low,
            high=high,
            successes=consistency.agreeing,
            trials=n.astype(np.float64),
            gains=gains,
            stopped=stopped,
            level=LEVEL,
        )

    def values(self, sets: Sequence[Acquired]) -> list[float]:
        """Return the squared distance of each set to the target; NaN without a target."""
        if not self._match:
            return super().values(sets)
        return [
            self._kernel.distance_of(self._project(each.strong_features.array)) for each in sets
        ]

    def planned(self, room: FloatArray, budget: float, units: FloatArray) -> FloatArray | None:
        """Return the items (K,) that the greedy choice would buy next, at most `room`."""
        if not self._match:
            return None
        items, left = np.zeros(len(room)), budget
        step = max(1.0, budget / units.max() / N_STEPS)
        while True:
            n_new = np.minimum(step * units.max() / units, np.minimum(room - items, left / units))
            open_ = n_new >= 1e-9  # less than that is rounding of a source that is full
            if not open_.any():
                return items
            after = self._kernel.distances_after(np.where(open_, n_new, 0.0), items)
            best = int(np.nanargmin(np.where(open_, after, np.inf)))
            items[best] += n_new[best]
            left -= n_new[best] * units[best]


def _sample(n: int, rng: np.random.Generator) -> IntArray:
    return np.arange(n) if n <= TARGET_ROWS else np.sort(rng.permutation(n)[:TARGET_ROWS])


class KernelMean:
    """Squared distance between the kernel means of acquired points and of a target.

    The kernel is Gaussian, its width the median distance of target rows. Random Fourier features
    (Rahimi, Recht 2007) stand for it, so that a mean is a vector and points need not be kept.
    """

    def __init__(self, target: FloatArray, n_sources: int, rng: np.random.Generator) -> None:
        few = target[rng.permutation(len(target))[:MEDIAN_ROWS]]
        squares = np.einsum("ij,ij->i", few, few)
        distances = np.maximum(squares[:, None] + squares - 2 * few @ few.T, 0)
        width = np.sqrt(np.median(distances[np.triu_indices(len(few), 1)]))
        self._frequencies = rng.normal(size=(target.shape[1], N_FOURIER)) / max(width, 1e-12)
        self._phases = rng.uniform(0, 2 * np.pi, N_FOURIER)
        self._target = self._map(target).mean(axis=0)
        self._sums = np.zeros((n_sources, N_FOURIER))
        self._counts = np.zeros(n_sources)
        self._counted = np.ones(n_sources, dtype=np.bool_)

    def leave_out(self, sources: Collection[int]) -> None:
        """Take the points of these sources out of the mean of what is acquired."""
        self._counted[:] = True
        self._counted[list(sources)] = False

    def add(self, source: IntArray, components: FloatArray) -> None:
        """Add points; `source` (n,) holds the source of each."""
        np.add.at(self._sums, source, self._map(components))
        self._counts += np.bincount(source, minlength=len(self._counts))

    def distance(self) -> float:
        """Return the squared distance of the acquired points' mean to the target's."""
        sums, n = self._acquired()
        gap = sums / max(n, 1) - self._target
        return float(gap @ gap)

    def distance_of(self, components: FloatArray) -> float:
        """Return the squared distance of the mean of other points to the target's."""
        gap = self._map(components).mean(axis=0) - self._target
        return float(gap @ gap)

    def distances_after(self, n_new: FloatArray, planned: FloatArray | None = None) -> FloatArray:
        """Return the squared distance (K,) if `n_new` (K,) more points came from each source alone.

        `planned` (K,) points come from each source before that. NaN for sources without a point.
        """
        # New points of a source are expected to lie like those that it has brought.
        counted = self._counts > 0
        means = np.where(
            counted[:, None], self._sums / np.maximum(self._counts, 1)[:, None], np.nan
        )
        sums, n = self._acquired()
        if planned is not None:
            sums, n = sums + planned[counted] @ means[counted], n + planned.sum()
        after = (sums + n_new[:, None] * means) / np.maximum(n + n_new, 1e-12)[:, None]
        gap = after - self._target
        return np.asarray(np.einsum("ij,ij->i", gap, gap))

    def _acquired(self) -> tuple[FloatArray, float]:
        """Return the sum of the points that count, and their number."""
        return self._sums[self._counted].sum(axis=0), float(self._counts[self._counted].sum())

    def _map(self, components: FloatArray) -> FloatArray:
        angles = components @ self._frequencies + self._phases
        return np.asarray(np.cos(angles) * np.sqrt(2 / N_FOURIER))
