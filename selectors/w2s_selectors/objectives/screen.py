"""Screening sources by label consistency, with or without a target, and its judge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.intervals import LEVEL, student_interval
from w2s_data.utils.threads import one_thread
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_selectors.objectives.base import Acquired, Judge, Judgement, Task
from w2s_selectors.objectives.consistency import LabelConsistency, Projection, screened_out
from w2s_selectors.objectives.kernel import KernelMean

MINIMUM_TARGET = 200  # items; the match was not measured with fewer
BLOCK_ROWS = 4096  # projected together, so that an answer of any size fits into memory
TARGET_ROWS = 10_000  # a larger target or first round is sampled: a mean is then right to 1 %
N_STEPS = 200  # in which a plan spends its budget: half a percent each


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
        with one_thread():  # a round has few rows
            if self._n_seen == 0:
                self._begin(acquired)
            for rows in slices(self._n_seen, len(acquired)):
                self._add(acquired, rows, self._project(acquired.strong_features.take(rows)))
            self._consistency.update()
        self._n_seen = len(acquired)
        return self._judgement()

    def _add(self, acquired: Acquired, rows: slice, components: FloatArray) -> None:
        source = acquired.source[rows]
        self._consistency.add(source, components, acquired.weak_proba[rows])
        if self._match:
            self._kernel.add(source, components)

    def _begin(self, acquired: Acquired) -> None:
        components = self._start(acquired, self._task.target if self._match else None)
        if self._match:
            self._kernel = KernelMean(components, self._task.n_sources, self._rng)

    def _start(self, acquired: Acquired, target: FloatArray | None) -> FloatArray:
        """Fit the components on target rows, if any, and the points of the first round.

        Once only: later components would change what all earlier sums mean. Returns those of the
        target rows, or else of the points.
        """
        fitted = [acquired.strong_features.take(_sample(len(acquired), self._rng))]
        if target is not None:
            fitted.insert(0, target[_sample(len(target), self._rng)])
        self._project = Projection.fit(np.concatenate(fitted), seed=self._task.seed)
        n_components, n_classes = self._project.weights.shape[1], acquired.weak_proba.shape[1]
        self._consistency = LabelConsistency(self._task.n_sources, n_components, n_classes)
        return self._project(fitted[0])

    def _judgement(self) -> Judgement:
        consistency = self._consistency
        z, n = consistency.fisher_z, consistency.n_points
        stop, limit = screened_out(z, n)
        # Fisher's z is nearly normal with variance 1 / (n - 3), whatever the correlation.
        error = 1 / np.sqrt(np.maximum(n - 3, 1))
        low, high = np.tanh(student_interval(z, error, np.inf, LEVEL))
        stopped = {
            int(k): f"its weak labels do not follow from the strong features: consistency "
            f"{consistency.correlation[k]:.2f} ({low[k]:.2f} to {high[k]:.2f}) over {n[k]} points, "
            f"and less than {np.tanh(limit):.2f}, about half of what the better sources have"
            for k in np.flatnonzero(stop)
        }
        gains = None
        if self._match:
            self._kernel.leave_out(self._set_aside(stopped))
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

    def _set_aside(self, stopped: Collection[int]) -> list[int]:
        """Return the sources whose points nobody trains on."""
        return sorted((set(stopped) - self._task.keep) | self._task.stop)

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

        def nearness(items: FloatArray, n_new: FloatArray) -> FloatArray:
            return -self._kernel.distances_after(n_new, items)

        return spend_greedily(nearness, room, budget, units)


def spend_greedily(
    worth: Callable[[FloatArray, FloatArray], FloatArray],
    room: FloatArray,
    budget: float,
    units: FloatArray,
) -> FloatArray:
    """Return the items (K,) that a greedy choice buys for a budget, at most `room`.

    `worth` takes the items (K,) so far and the items (K,) that the next step would buy of each
    source; the source with the highest worth is next, NaN last.
    """
    items, left = np.zeros(len(room)), budget
    step = max(1.0, budget / units.max() / N_STEPS)
    while True:
        n_new = np.minimum(step * units.max() / units, np.minimum(room - items, left / units))
        open_ = n_new >= 1e-9  # less than that is rounding of a source that is full
        if not open_.any():
            return items
        gains = worth(items, np.where(open_, n_new, 0.0))
        best = int(np.where(open_ & ~np.isnan(gains), gains, -np.inf).argmax())
        items[best] += n_new[best]
        left -= n_new[best] * units[best]


def slices(start: int, stop: int) -> Iterator[slice]:
    """Yield slices of at most 4,096 rows."""
    for first in range(start, stop, BLOCK_ROWS):
        yield slice(first, min(first + BLOCK_ROWS, stop))


def _sample(n: int, rng: np.random.Generator) -> IntArray:
    return np.arange(n) if n <= TARGET_ROWS else np.sort(rng.permutation(n)[:TARGET_ROWS])
