"""From test probabilities to scores: every model on the same items, resamples and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.gain.intervals import Measurement, Score, measure
from w2s_data.finetune.metrics import (
    ACCURACY,
    CALIBRATION_ERROR,
    MACRO_F1,
    WORST_GROUP,
    ItemBootstrap,
    Metric,
    group_accuracy,
)
from w2s_data.utils.intervals import wilson_interval
from w2s_data.utils.typing import FloatArray

UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class Scores:
    """Scores of one model by metric, and the accuracy of each group."""

    metrics: Mapping[str, Score]
    groups: Mapping[str, Score]

    @property
    def accuracy(self) -> Score:
        """Share of test items that are right."""
        return self.metrics["accuracy"]

    def by_seed(self, seed: int, level: float) -> dict[str, Any]:
        """Return the values of one seed, with Wilson's interval of the accuracy."""
        row = {name: score.point[seed] for name, score in self.metrics.items()}
        row["accuracy_low"], row["accuracy_high"] = _wilson(self.accuracy, seed, level)
        return row | {f"group_{name}": score.point[seed] for name, score in self.groups.items()}


class Scorer:
    """Measures models on the test rows, with intervals of a level."""

    def __init__(self, data: GainData, n_resamples: int, seed: int, level: float) -> None:
        self.truth = data.truth
        self.level = level
        n = len(self.truth.labels)
        self._bootstrap = ItemBootstrap(n, n_resamples, seed)
        self._metrics = {m.name: m for m in (ACCURACY, MACRO_F1, CALIBRATION_ERROR)}
        self._groups: dict[str, Metric] = {}
        sizes = [n] * len(self._metrics)  # items behind each metric, the groups' last
        if self.truth.groups is not None:
            counts = np.bincount(self.truth.groups, minlength=self.truth.n_groups).tolist()
            self._metrics[WORST_GROUP.name] = WORST_GROUP
            self._groups = {name: group_accuracy(g) for g, name in enumerate(data.group_names)}
            sizes += [min(counts), *counts]
        self._sizes = sizes

    def score(self, proba: FloatArray) -> Scores:
        """Score probabilities (S, n, C)."""
        metrics = [*self._metrics.values(), *self._groups.values()]
        measured = self._bootstrap.measure(metrics, proba, self.truth)
        scores = [
            Score(point, drawn, size)
            for (point, drawn), size in zip(measured, self._sizes, strict=True)
        ]
        cut = len(self._metrics)
        return Scores(
            dict(zip(self._metrics, scores[:cut], strict=True)),
            dict(zip(self._groups, scores[cut:], strict=True)),
        )

    def measurements(self, scores: Scores) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Return the mean over seeds of each metric, and of each group's accuracy."""
        metrics = {name: measure(score, self.level, UNIT) for name, score in scores.metrics.items()}
        metrics["accuracy"] = self._share(scores.accuracy)
        return metrics, {name: self._share(score) for name, score in scores.groups.items()}

    def gains(
        self, scores: Scores, teacher: Scores
    ) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Return the paired differences to the teacher, by metric and by group."""
        return (
            {n: measure(s - teacher.metrics[n], self.level) for n, s in scores.metrics.items()},
            {n: measure(s - teacher.groups[n], self.level) for n, s in scores.groups.items()},
        )

    def _share(self, score: Score) -> Measurement:
        measured = measure(score, self.level, UNIT)
        if len(score.point) > 1:
            return measured
        # For a single seed the share is binomial: Wilson's interval also holds near 0 and 1,
        # where a bootstrap of few errors is too narrow.
        low, high = _wilson(score, 0, self.level)
        return replace(measured, low=low, high=high, se_seeds=np.nan, n_seeds=1)


def _wilson(score: Score, seed: int, level: float) -> tuple[float, float]:
    low, high = wilson_interval(round(float(score.point[seed]) * score.n), score.n, level)
    return float(low), float(high)
