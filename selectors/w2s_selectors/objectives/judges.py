"""How overlap, screen and screen_match judge: one object a selection, fed after each answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.intervals import beta_interval
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_selectors.objectives.acquired import Acquired
from w2s_selectors.objectives.judgement import LEVEL, Judgement, Task
from w2s_selectors.objectives.match import KernelMean, LabelConsistency, Projection, screened_out

BLOCK_ROWS = 4096  # looked at together
TARGET_ROWS = 10_000  # of a larger target, and of a larger first round, a sample is looked at


class OverlapJudge:
    """Counts overlap points; the detector is fitted when enough has come since its last fit."""

    def __init__(self, detector: OverlapDetector, growth: float) -> None:
        self._detector, self._growth = detector, growth
        self._overlap: BoolArray = np.zeros(0, dtype=np.bool_)
        self._n_fitted = 0

    def __call__(self, acquired: Acquired) -> Judgement:
        n, known = len(acquired), len(self._overlap)
        if n >= (1 + self._growth) * self._n_fitted or self._detector.smooth_confidence:
            self._fit(acquired)
        elif n > known:
            added = acquired.strong_features.take(slice(known, n))
            regions = self._detector.predict(added, acquired.weak_proba[known:])
            self._overlap = np.append(self._overlap, regions == Region.OVERLAP)
        return self._counted(acquired)

    def _fit(self, acquired: Acquired) -> None:
        self._detector.fit(acquired.strong_features, acquired.weak_proba)
        self._overlap = self._detector.regions_ == Region.OVERLAP
        self._n_fitted = len(acquired)

    def _counted(self, acquired: Acquired) -> Judgement:
        trials = acquired.counts.astype(np.float64)
        successes = np.bincount(
            acquired.source, self._overlap, minlength=acquired.n_sources
        ).astype(np.float64)
        low, high = beta_interval(successes, trials, LEVEL)
        newest = self._overlap[acquired.newest]
        return Judgement(
            rewards=np.divide(
                successes, trials, out=np.full(len(trials), np.nan), where=trials > 0
            ),
            low=low,
            high=high,
            successes=successes,
            trials=trials,
            observed=float(newest.mean()) if len(newest) else np.nan,
        )

    def values(self, sets: Sequence[Acquired]) -> list[float]:
        """Overlap density of each set, under one detector fitted on all of them."""
        features = np.concatenate([each.strong_features.array for each in sets])
        proba = np.concatenate([each.weak_proba for each in sets])
        regions = self._detector.set_params(n_resamples=0).fit(features, proba).regions_
        ends = np.cumsum([len(each) for each in sets])[:-1]
        return [float((part == Region.OVERLAP).mean()) for part in np.split(regions, ends)]

    def conclude(self, acquired: Acquired) -> Judgement:
        """Fit once more on everything, with the thresholds' own doubt in the intervals."""
        self._detector.set_params(n_resamples=OverlapDetector().n_resamples)
        self._fit(acquired)
        counted = self._counted(acquired)
        shares = self._detector.shares(acquired.source)
        low, high = counted.low.copy(), counted.high.copy()
        codes = shares["name"].to_numpy(dtype=np.int64)
        low[codes] = np.fmin(low[codes], shares["density_low"])
        high[codes] = np.fmax(high[codes], shares["density_high"])
        return Judgement(
            counted.rewards, low, high, counted.successes, counted.trials, observed=counted.observed
        )


class ScreenJudge:
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
        """Fit the components on target rows and what has come in the first round."""
        fitted = [acquired.strong_features.take(_some(len(acquired), self._rng))]
        if self._match and self._task.target is not None:
            target = self._task.target[_some(len(self._task.target), self._rng)]
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
        half = 1.96 / np.sqrt(np.maximum(n - 3, 1))
        low, high = np.tanh(z - half), np.tanh(z + half)
        stopped = {
            int(k): f"its weak labels do not follow from the strong features: consistency "
            f"{consistency.correlation[k]:.2f} [{low[k]:.2f}, {high[k]:.2f}] over {n[k]} points; "
            f"the limit is {np.tanh(limit):.2f}, half the upper quartile of the sources (as atanh)"
            for k in np.flatnonzero(stop)
        }
        gains = None
        if self._match:
            gains = self._kernel.distance() - self._kernel.distances_after(self._affordable())
        return Judgement(
            rewards=consistency.correlation,
            low=low,
            high=high,
            successes=consistency.agreeing,
            trials=n.astype(np.float64),
            gains=gains,
            stopped=stopped,
        )

    def _affordable(self) -> FloatArray:
        """Items of each source that the price of the dearest batch buys."""
        return np.asarray(self._task.batch_size * self._task.costs.max() / self._task.costs)

    def values(self, sets: Sequence[Acquired]) -> list[float]:
        """Squared distance of each set to the target; NaN without a target."""
        if not self._match:
            return [np.nan] * len(sets)
        return [
            self._kernel.distance_of(self._project(each.strong_features.array)) for each in sets
        ]

    def planned(self, room: FloatArray, budget: float, units: FloatArray) -> FloatArray | None:
        """Items (K,) that greedy choice would buy next: at most `room`, for `budget` in `units`."""
        if not self._match:
            return None
        items, left = np.zeros(len(room)), budget
        step = max(1.0, budget / units.max() / 200)
        while True:
            n_new = np.minimum(step * units.max() / units, np.minimum(room - items, left / units))
            open_ = n_new >= 1e-9
            if not open_.any():
                return items
            after = self._kernel.distances_after(np.where(open_, n_new, 0.0), items)
            best = int(np.nanargmin(np.where(open_, after, np.inf)))
            items[best] += n_new[best]
            left -= n_new[best] * units[best]


def _some(n: int, rng: np.random.Generator) -> IntArray:
    return np.arange(n) if n <= TARGET_ROWS else np.sort(rng.permutation(n)[:TARGET_ROWS])
