"""From test probabilities to scores: every model on the same items, resamples and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.gain.intervals import Measurement, Score, measure, undefined
from w2s_data.finetune.metrics import (
    ACCURACY,
    AUROC,
    CALIBRATION_ERROR,
    COUNT_BYTES,
    LOG_LOSS,
    MACRO_F1,
    WORST_GROUP,
    ItemBootstrap,
    Metric,
    Truth,
    group_accuracy,
)
from w2s_data.utils.intervals import wilson_interval
from w2s_data.utils.typing import FloatArray, IntArray

UNIT = (0.0, 1.0)
SHOWN = (ACCURACY, MACRO_F1, AUROC, LOG_LOSS, CALIBRATION_ERROR)
# Least accuracy on a test split; like `worst_group`, on average too low.
WORST_SPLIT = "worst_split"


@dataclass(frozen=True)
class Scores:
    """Scores of one model by metric, and the accuracy in each group and each test split."""

    metrics: Mapping[str, Score]
    groups: Mapping[str, Score]
    splits: Mapping[str, Score] = field(default_factory=dict)  # empty where there is one split

    @property
    def accuracy(self) -> Score:
        """Share of test items that are right."""
        return self.metrics["accuracy"]

    def on(self, split: str) -> Score:
        """Accuracy on a test split; on the rows that the result is about for an empty name."""
        return self.splits[split] if split else self.accuracy

    def by_seed(self, seed: int, level: float) -> dict[str, Any]:
        """Return the values of one seed, with Wilson's interval of the accuracy."""
        row = {name: score.point[seed] for name, score in self.metrics.items()}
        row["accuracy_low"], row["accuracy_high"] = _wilson(self.accuracy, seed, level)
        row |= {f"group_{name}": score.point[seed] for name, score in self.groups.items()}
        return row | {f"split_{name}": score.point[seed] for name, score in self.splits.items()}


class Scorer:
    """Measures models on the test rows, with intervals of a level."""

    def __init__(self, data: GainData, n_resamples: int, seed: int, level: float) -> None:
        self.truth = data.truth
        self.level = level
        n = len(self.truth.labels)
        self._bootstrap = ItemBootstrap(n, n_resamples, seed)
        self._metrics = {m.name: m for m in SHOWN}
        self._groups: dict[str, Metric] = {}
        sizes = [n] * len(self._metrics)  # items behind each metric, the groups' last
        if self.truth.groups is not None:
            counts = np.bincount(self.truth.groups, minlength=self.truth.n_groups).tolist()
            self._metrics[WORST_GROUP.name] = WORST_GROUP
            self._groups = {name: group_accuracy(g) for g, name in enumerate(data.group_names)}
            sizes += [min(counts), *counts]
        self._sizes = sizes
        test = data.rows("test")
        self._main = np.searchsorted(test, data.test_rows())
        names = data.split_names
        # The split that all figures are about has their resamples, and so their intervals.
        self._same = names if len(names) == 1 else (data.main_split,)
        self._splits = {name: _Split.of(data, name, n_resamples, seed) for name in names}

    def score(self, proba: FloatArray) -> Scores:
        """Score probabilities (S, n, C) of all test rows."""
        metrics = [*self._metrics.values(), *self._groups.values()]
        main = proba if len(self._main) == proba.shape[1] else proba[:, self._main]
        measured = self._bootstrap.measure(metrics, main, self.truth)
        scores = [
            Score(point, drawn, size)
            for (point, drawn), size in zip(measured, self._sizes, strict=True)
        ]
        cut = len(self._metrics)
        of_metrics = dict(zip(self._metrics, scores[:cut], strict=True))
        splits = {
            name: of_metrics["accuracy"] if name in self._same else split.score(proba)
            for name, split in self._splits.items()
        }
        if len(splits) > 1:
            of_metrics[WORST_SPLIT] = _worst(list(splits.values()))
        return Scores(of_metrics, dict(zip(self._groups, scores[cut:], strict=True)), splits)

    def measurements(self, scores: Scores) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Return the mean over seeds of each metric, and of each group's accuracy."""
        metrics = {
            name: self._measure(score, (0.0, np.inf) if name == LOG_LOSS.name else UNIT)
            for name, score in scores.metrics.items()
        }
        metrics["accuracy"] = self.share(scores.accuracy)
        return metrics, {name: self.share(score) for name, score in scores.groups.items()}

    def gains(
        self, scores: Scores, teacher: Scores
    ) -> tuple[dict[str, Measurement], dict[str, Measurement]]:
        """Return the paired differences to the teacher, by metric and by group."""
        return (
            {
                name: self._measure(
                    score - teacher.metrics[name],
                    (-np.inf, np.inf) if name == LOG_LOSS.name else (-1.0, 1.0),
                )
                for name, score in scores.metrics.items()
            },
            {n: measure(s - teacher.groups[n], self.level) for n, s in scores.groups.items()},
        )

    def _measure(self, score: Score, limits: tuple[float, float]) -> Measurement:
        if np.isnan(score.point).any():
            return undefined("the test items have one class, which leaves nothing to rank")
        return measure(score, self.level, limits)

    def share(self, score: Score) -> Measurement:
        """Return the mean over seeds of an accuracy."""
        measured = measure(score, self.level, UNIT)
        if len(score.point) > 1:
            return measured
        # For a single seed the share is binomial: Wilson's interval also holds near 0 and 1,
        # where a bootstrap of few errors is too narrow.
        low, high = _wilson(score, 0, self.level)
        return replace(measured, low=low, high=high, se_seeds=np.nan, n_seeds=1)


@dataclass(frozen=True)
class _Split:
    """One test split, with resamples of its own rows."""

    at: IntArray  # among all test rows
    truth: Truth
    bootstrap: ItemBootstrap

    @classmethod
    def of(cls, data: GainData, name: str, n_resamples: int, seed: int) -> _Split:
        rows = data.test_rows(name)
        # Splits are independent: with the seed of another one, two of the same size would draw
        # the same places. By name, so that no split depends on which others there are.
        own = np.random.SeedSequence([seed, *name.encode()]).generate_state(1)
        kept = COUNT_BYTES // len(data.split_names)
        bootstrap = ItemBootstrap(len(rows), n_resamples, int(own[0]), kept)
        truth = Truth(data.labels[rows], len(data.class_names))
        return cls(np.searchsorted(data.rows("test"), rows), truth, bootstrap)

    def score(self, proba: FloatArray) -> Score:
        measured = self.bootstrap.measure([ACCURACY], proba[:, self.at], self.truth)
        return Score(*measured[0], len(self.at))


def _worst(scores: Sequence[Score]) -> Score:
    """Return the least score in each seed and resample."""
    point = np.min([score.point for score in scores], axis=0)
    replicates = np.min([score.replicates for score in scores], axis=0)
    return Score(point, replicates, min(score.n for score in scores))


def _wilson(score: Score, seed: int, level: float) -> tuple[float, float]:
    low, high = wilson_interval(round(float(score.point[seed]) * score.n), score.n, level)
    return float(low), float(high)
