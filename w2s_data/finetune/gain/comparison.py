"""From trained students to the table: gains, recovered performance, ranks, forecast."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import InputError
from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.gain.intervals import (
    Measurement,
    Score,
    measure,
    measure_ratio,
    rank_groups,
    undefined,
)
from w2s_data.finetune.gain.predictions import predictions_table
from w2s_data.finetune.gain.result import (
    Comparison,
    ForecastCheck,
    GainResult,
    Reference,
    StudentGain,
    read_gain,
)
from w2s_data.finetune.gain.scores import Scorer, Scores
from w2s_data.finetune.gain.training import CEILING, LABELLED_ONLY, Trained

HEADROOM = 0.01  # ceiling minus teacher below which recovered performance has no meaning


class Comparer:
    """Puts students beside teacher and ceiling, on the same test items.

    Parameters
    ----------
    data : GainData
    ceiling, labelled_only : Trained
    level : float
        Coverage of intervals.
    n_resamples, seed : int
    """

    def __init__(
        self,
        data: GainData,
        ceiling: Trained,
        labelled_only: Trained,
        level: float,
        n_resamples: int,
        seed: int,
    ) -> None:
        self.data = data
        self.level = level
        self._scorer = Scorer(data, n_resamples, seed, level)
        said = data.weak_proba[data.rows("test")]  # (n, M, C)
        self._teacher = self._scorer.score(said.mean(axis=1)[None])
        n_teachers = said.shape[1]
        self._teachers = [
            self._scorer.score(said[None, :, m]) for m in range(n_teachers) if n_teachers > 1
        ]
        self._gold = {CEILING: ceiling, LABELLED_ONLY: labelled_only}
        self._gold_scores = {
            name: None if trained.failure else self._scorer.score(trained.proba[""])
            for name, trained in self._gold.items()
        }

    def compare(
        self,
        trained: Mapping[str, Trained],
        seeds: tuple[int, ...],
        tuning: str,
        forecast: ForecastCheck | None,
        naive: str,
        notes: tuple[str, ...],
    ) -> GainResult:
        """Rank the methods that have a result.

        Parameters
        ----------
        trained : dict from method to Trained
        naive : str
            Name of the method whose gain a forecast is about, if it is among them.
        """
        scores = {
            name: {model: self._scorer.score(proba) for model, proba in found.proba.items()}
            for name, found in trained.items()
            if not found.failure
        }
        ranked = sorted(scores, key=lambda name: -scores[name][""].accuracy.point.mean())
        comparisons, letters = self._rank({name: scores[name][""] for name in ranked})
        students = tuple(
            self._student(name, model, scores[name], letters[name])
            for name in ranked
            for model in scores[name]
        )
        teacher, ceiling, labelled_only = (
            self._reference("teacher", self._teacher),
            *(self._reference(name, self._gold_scores[name]) for name in self._gold),
        )
        counts = {split: len(self.data.rows(split)) for split in ("labelled", "pool", "test")}
        return GainResult(
            students=students,
            teacher=teacher,
            ceiling=ceiling,
            labelled_only=labelled_only,
            teachers=tuple(
                self._reference(f"teacher {m}", found) for m, found in enumerate(self._teachers)
            ),
            comparisons=comparisons,
            failures={name: found.failure for name, found in trained.items() if found.failure},
            forecast=_check_forecast(forecast, naive, students),
            by_seed=self._by_seed(scores, students, seeds),
            tuning=tuning,
            seeds=seeds,
            level=self.level,
            class_names=self.data.class_names,
            n_labelled=counts["labelled"],
            n_pool=counts["pool"],
            n_test=counts["test"],
            reading=read_gain(students, self.level),
            warnings=notes,
            diagnostics={
                name: trained[name].diagnostics for name in ranked if trained[name].diagnostics
            },
            by_item=predictions_table(
                self.data, {n: p for n in ranked if (p := trained[n].predicted) is not None}
            ),
        )

    def _reference(self, name: str, scores: Scores | None) -> Reference:
        reason = self._gold[name].failure if scores is None else ""
        return self._scorer.reference(name, scores, reason)

    def _rank(self, scores: Mapping[str, Scores]) -> tuple[tuple[Comparison, ...], dict[str, str]]:
        """Every pair of methods, and the letters that those not told apart share."""
        names = list(scores)
        pairs = list(combinations(range(len(names)), 2))
        level = 1 - (1 - self.level) / max(1, len(pairs))
        apart = np.zeros((len(names), len(names)), dtype=bool)
        comparisons = []
        for i, j in pairs:
            difference = measure(scores[names[i]].accuracy - scores[names[j]].accuracy, level)
            comparisons.append(Comparison(names[i], names[j], difference))
            apart[i, j] = apart[j, i] = difference.differs_from_zero
        return tuple(comparisons), dict(zip(names, rank_groups(apart), strict=True))

    def _student(
        self, name: str, model: str, scores: Mapping[str, Scores], letters: str
    ) -> StudentGain:
        found = scores[model]
        gains, group_gains = self._scorer.gains(found, self._teacher)
        metrics, groups = self._scorer.measurements(found)
        lead = undefined("a method has no lead over itself")
        if model:
            lead = measure(scores[""].accuracy - found.accuracy, self.level)
        return StudentGain(
            name=model or name,
            control_of=name if model else "",
            rank_group="" if model else letters,
            scores=metrics,
            gains=gains,
            groups=groups,
            group_gains=group_gains,
            pgr=self._recovered(found),
            opr=self._outperforming(found),
            lead=lead,
        )

    def _recovered(self, scores: Scores) -> Measurement:
        """Performance gap recovered, where there is a gap."""
        ceiling = self._gold_scores[CEILING]
        if ceiling is None:
            return undefined(
                f"pgr is not defined without a ceiling ({self._gold[CEILING].failure})"
            )
        gap = ceiling.accuracy - self._teacher.accuracy
        headroom = measure(gap, self.level)
        if headroom.value < HEADROOM or headroom.low <= 0:
            return undefined(
                f"pgr is not defined: ceiling minus teacher is {headroom.value:+.3f} "
                f"({headroom.low:+.3f} to {headroom.high:+.3f}); at least {HEADROOM} and an "
                "interval above 0 are needed"
            )
        return measure_ratio(scores.accuracy - self._teacher.accuracy, gap, self.level)

    def _outperforming(self, scores: Scores) -> Measurement:
        """Outperforming ratio, where there are errors."""
        labelled_only = self._gold_scores[LABELLED_ONLY]
        if labelled_only is None:
            failure = self._gold[LABELLED_ONLY].failure
            return undefined(f"opr is not defined without a student of labelled rows ({failure})")
        error = _error(scores.accuracy)
        found = measure(error, self.level)
        if found.low <= 0:
            return undefined(
                f"opr is not defined: the student's error is not clearly above 0 "
                f"({found.value:.3f})"
            )
        return measure_ratio(_error(labelled_only.accuracy), error, self.level)

    def _by_seed(
        self,
        scores: Mapping[str, Mapping[str, Scores]],
        students: tuple[StudentGain, ...],
        seeds: tuple[int, ...],
    ) -> pd.DataFrame:
        """A row a model and seed; see `GainResult.to_frame`."""
        ceiling, labelled_only = (self._gold_scores[name] for name in self._gold)
        rows: list[dict[str, Any]] = [
            {"role": "teacher", "student": name, **found.by_seed(0, self.level)}
            for name, found in [
                ("teacher", self._teacher),
                *((f"teacher {m}", each) for m, each in enumerate(self._teachers)),
            ]
        ]
        listed = [
            ({"role": name, "student": name}, found)
            for name, found in self._gold_scores.items()
            if found is not None
        ]
        for student in students:
            role = {"role": "control" if student.control_of else "method", "student": student.name}
            method, model = (
                (student.control_of, student.name)
                if student.control_of
                else (
                    student.name,
                    "",
                )
            )
            listed.append(({**role, "control_of": student.control_of}, scores[method][model]))
        weak = self._teacher.accuracy.point[0]
        recoverable = not any(student.pgr.reason for student in students)
        for names, found in listed:
            gains = self._scorer.gain_by_seed(found, self._teacher)
            for i, (seed, gain) in enumerate(zip(seeds, gains, strict=True)):
                row = {**names, "seed": seed, **found.by_seed(i, self.level), **gain}
                if ceiling is not None and recoverable:
                    gap = ceiling.accuracy.point[i] - weak
                    row["pgr"] = row["gain"] / gap if gap >= HEADROOM else np.nan
                error = 1 - row["accuracy"]
                if labelled_only is not None and error > 0:
                    row["opr"] = (1 - labelled_only.accuracy.point[i]) / error
                rows.append(row)
        frame = pd.DataFrame(rows)
        for name in ("pgr", "opr", "gain"):
            if name not in frame:
                frame[name] = np.nan
        if "control_of" in frame:
            frame["control_of"] = frame["control_of"].fillna("")
        if "seed" not in frame:
            frame["seed"] = np.nan
        return frame.astype({"seed": "Int64"})


def read_forecast(forecast: Any) -> ForecastCheck | None:
    """The gain of a forecast: a `GainForecast`, its dictionary, or None.

    Raises
    ------
    InputError
        If it is none of these.
    """
    if forecast is None:
        return None
    gain = (
        forecast.get("gain") if isinstance(forecast, Mapping) else getattr(forecast, "gain", None)
    )
    parts = gain if isinstance(gain, Mapping) else getattr(gain, "__dict__", {})
    value, low, high = (parts.get(name) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        raise InputError(
            "forecast must be a GainForecast or a mapping with gain: {value, low, high}; got "
            f"{type(forecast).__name__}"
        )
    return ForecastCheck(float(value), float(low), float(high))


def _check_forecast(
    forecast: ForecastCheck | None, naive: str, students: tuple[StudentGain, ...]
) -> ForecastCheck | None:
    """The forecast beside the gain of the naively trained student."""
    measured = [s.gain.value for s in students if s.name == naive and not s.control_of]
    if forecast is None or not measured:
        return forecast
    inside = forecast.low <= measured[0] <= forecast.high
    return ForecastCheck(
        forecast.value, forecast.low, forecast.high, naive, measured[0], bool(inside)
    )


def _error(accuracy: Score) -> Score:
    return Score(1 - accuracy.point, 1 - accuracy.replicates, accuracy.n)
