"""From test probabilities to scores: every model on the same items, resamples and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.gain.intervals import Measurement, Score, measure, within_seed
from w2s_data.finetune.gain.result import Reference
from w2s_data.finetune.metrics import (
    Accuracy,
    CalibrationError,
    GroupAccuracy,
    ItemBootstrap,
    MacroF1,
    Metric,
    Truth,
    WorstGroup,
)
from w2s_data.utils.intervals import wilson_interval
from w2s_data.utils.typing import FloatArray

UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class Scores:
    """Of one model: a score by metric, and the accuracy of each group."""

    metrics: Mapping[str, Score]
    groups: Mapping[str, Score]

    @property
    def accuracy(self) -> Score:
        """Share of test items that are right."""
        return self.metrics["accuracy"]

    def by_seed(self, seed: int, level: float) -> dict[str, Any]:
        """Values of one seed, by position, with Wilson's interval of the accuracy."""
        row = {name: score.point[seed] for name, score in self.metrics.items()}
        row["accuracy_low"], row["accuracy_high"] = _wilson(self.accuracy, seed, level)
        return row | {f"group_{name}": score.point[seed] for name, score in self.groups.items()}


class Scorer:
    """Measures models on the test rows.

    Parameters
    ----------
    data : GainData
    n_resamples, seed : int
    level : float
        Coverage of intervals.
    """

    def __init__(self, data: GainData, n_resamples: int, seed: int, level: float) -> None:
        self.truth: Truth = data.truth
        self.level = level
        n = len(self.truth.labels)
        self._bootstrap = ItemBootstrap(n, n_resamples, seed)
        self._metrics: dict[str, Metric] = {
            metric.name: metric for metric in (Accuracy(), MacroF1(), CalibrationError())
        }
        self._groups: dict[str, Metric] = {}
        self._sizes = dict.fromkeys(self._metrics, n)
        if self.truth.groups is not None:
            self._metrics[WorstGroup.name] = WorstGroup()
            sizes = np.bincount(self.truth.groups, minlength=self.truth.n_groups)
            self._sizes[WorstGroup.name] = int(sizes.min())
            self._groups = {name: GroupAccuracy(g) for g, name in enumerate(data.group_names)}
            self._sizes |= {
                f"group {name}": int(size)
                for name, size in zip(data.group_names, sizes, strict=True)
            }

    def score(self, proba: FloatArray) -> Scores:
        """Scores of probabilities (S, n, C)."""
        metrics = [*self._metrics.values(), *self._groups.values()]
        replicates = self._bootstrap.replicates(metrics, proba, self.truth)
        sizes = [
            *(self._sizes[m] for m in self._metrics),
            *(self._sizes[f"group {name}"] for name in self._groups),
        ]
        scores = [
            Score(metric.measure(proba, self.truth), drawn, size)
            for metric, drawn, size in zip(metrics, replicates, sizes, strict=True)
        ]
        cut = len(self._metrics)
        return Scores(
            dict(zip(self._metrics, scores[:cut], strict=True)),
            dict(zip(self._groups, scores[cut:], strict=True)),
        )

    def reference(self, name: str, scores: Scores | None, reason: str = "") -> Reference:
        """The measurements of a model that students are compared with."""
        if scores is None:
            return Reference(name, {}, {}, reason)
        metrics, groups = self.measurements(scores)
        return Reference(name, metrics, groups)

    def measurements(self, scores: Scores) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Mean over seeds of each metric, and of each group's accuracy, with intervals."""
        metrics = {name: measure(score, self.level, UNIT) for name, score in scores.metrics.items()}
        metrics["accuracy"] = self._share(scores.accuracy)
        return metrics, {name: self._share(score) for name, score in scores.groups.items()}

    def gains(
        self, scores: Scores, teacher: Scores
    ) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Paired differences to the teacher, by metric and by group."""
        return (
            {n: measure(s - teacher.metrics[n], self.level) for n, s in scores.metrics.items()},
            {n: measure(s - teacher.groups[n], self.level) for n, s in scores.groups.items()},
        )

    def gain_by_seed(self, scores: Scores, teacher: Scores) -> list[dict[str, float]]:
        """Gain in accuracy of each seed, with an interval over test items."""
        gain = scores.accuracy - teacher.accuracy
        limits = within_seed(gain, self.level)
        return [
            {"gain": value, "gain_low": low, "gain_high": high}
            for value, (low, high) in zip(gain.point.tolist(), limits.tolist(), strict=True)
        ]

    def _share(self, score: Score) -> Measurement:
        """A share of items; Wilson's interval where there is a single seed."""
        found = measure(score, self.level, UNIT)
        if len(score.point) > 1:
            return found
        low, high = _wilson(score, 0, self.level)
        return Measurement(found.value, low, high, self.level, found.se_items, np.nan, 1)


def _wilson(score: Score, seed: int, level: float) -> tuple[float, float]:
    low, high = wilson_interval(round(float(score.point[seed]) * score.n), score.n, level)
    return float(low), float(high)
