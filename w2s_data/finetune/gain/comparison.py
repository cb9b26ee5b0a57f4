"""From trained students to the table: gains, recovered performance, ranks, forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import InputError
from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.gain.diagnostics import constant_notes, undertrained_notes
from w2s_data.finetune.gain.intervals import (
    Comparison,
    Measurement,
    Score,
    joint_level,
    measure,
    measure_ratio,
    rank_groups,
    undefined,
    within_seed,
)
from w2s_data.finetune.gain.kept import KeptStudent
from w2s_data.finetune.gain.options import Candidate, MeasuredOption, choose, missing, stand_ins
from w2s_data.finetune.gain.result import (
    ForecastCheck,
    GainResult,
    Reference,
    StudentGain,
)
from w2s_data.finetune.gain.scores import Scorer, Scores
from w2s_data.finetune.gain.splits import SplitGain, contrast_splits, gain_on_split, split_notes
from w2s_data.finetune.gain.training import CEILING, LABELLED_ONLY, VOTE, Trained
from w2s_data.finetune.methods.base import ORACLE, Method
from w2s_data.forecast.options import Choice
from w2s_data.utils.intervals import LEVEL
from w2s_data.utils.votes import mean_label

# Below a point of headroom, recovered performance is noise divided by noise.
HEADROOM = 0.01
NO_POSTERIOR = "no label posterior: it needs gold labels in the labelled split, and features"


class Comparer:
    """Compares students with teacher and ceiling (in `gold`), on the same test items."""

    def __init__(
        self, data: GainData, gold: Mapping[str, Trained], level: float, n_resamples: int, seed: int
    ) -> None:
        self.data = data
        self.level = level
        self._scorer = Scorer(data, n_resamples, seed, level)
        weak_proba = data.weak_proba[data.rows("test")]  # (n, M, C)
        teachers = {"teacher": mean_label(weak_proba)}
        if weak_proba.shape[1] > 1:
            teachers |= {f"teacher {m}": weak_proba[:, m] for m in range(weak_proba.shape[1])}
        self._teachers = {name: self._scorer.score(own[None]) for name, own in teachers.items()}
        self._teacher = self._teachers["teacher"]
        posterior = data.posterior
        self._vote = None
        if posterior is not None:
            self._vote = self._scorer.score(posterior[data.rows("test")][None])
        self._gold = gold
        self._gold_scores = {
            name: None if trained.failure else self._scorer.score(trained.proba[""])
            for name, trained in gold.items()
        }

    def compare(
        self,
        trained: Mapping[str, Trained],
        methods: Mapping[str, Method],
        seeds: tuple[int, ...],
        tuning: str,
        forecast: ForecastCheck | None,
        notes: tuple[str, ...],
    ) -> GainResult:
        """Rank the methods that have a result, and compare the four options."""
        scores = {
            name: {model: self._scorer.score(proba) for model, proba in student.proba.items()}
            for name, student in trained.items()
            if not student.failure
        }
        ranked = sorted(scores, key=lambda name: -scores[name][""].accuracy.point.mean())
        own = {name: scores[name][""] for name in ranked}
        comparisons, letters = self._rank(own)
        splits = [self._on_split(name, own, methods, trained) for name in self.data.split_names]
        students = tuple(
            self._student(name, model, scores[name], letters[name])
            for name in ranked
            for model in scores[name]
        )
        teacher, *teachers = (self._reference(*named) for named in self._teachers.items())
        succeeded = {name: trained[name] for name in ranked}
        known = {**self._gold, **succeeded}
        undertrained = {name: own.undertrained for name, own in known.items() if own.undertrained}
        # A forecast is about the plain student: its gain is what it has to be compared with.
        naive = next((name for name in ranked if methods[name].name == "naive"), "")
        choice = self._choose(own, methods, trained)
        constant = constant_notes(
            [option.accuracy.value for option in choice.options],
            self.data.truth.labels,
            self.data.class_names,
        )
        notes = (*notes, *constant, *split_notes(self.data), *undertrained_notes(undertrained))
        return GainResult(
            students=students,
            teacher=teacher,
            ceiling=self._reference(CEILING, self._gold_scores[CEILING]),
            labelled_only=self._reference(LABELLED_ONLY, self._gold_scores[LABELLED_ONLY]),
            vote=self._reference(VOTE, self._vote),
            vote_lead=self._vote_lead(choice, own),
            teachers=tuple(teachers),
            comparisons=comparisons,
            **vars(choice),
            failures={name: each.failure for name, each in trained.items() if each.failure},
            forecast=_check_forecast(forecast, naive, students),
            by_seed=self._by_seed(scores, students, seeds),
            tuning=tuning,
            seeds=seeds,
            level=self.level,
            class_names=self.data.class_names,
            n_labelled=len(self.data.rows("labelled")),
            n_pool=len(self.data.rows("pool")),
            n_test=len(self.data.test_rows()),
            main_split=self.data.main_split,
            splits=tuple(splits),
            contrasts=contrast_splits(splits, ranked),
            warnings=notes,
            undertrained=undertrained,
            penalties={n: s.l2 for n, s in {**self._gold, **trained}.items() if not s.failure},
            diagnostics={n: s.diagnostics for n, s in succeeded.items() if s.diagnostics},
            by_method=self._kept(succeeded),
        )

    def _choose(
        self,
        scores: Mapping[str, Scores],
        methods: Mapping[str, Method],
        trained: Mapping[str, Trained],
        split: str = "",
    ) -> Choice:
        """Compare the options on a split, the best method of each kind standing for it."""
        alone = self._gold_scores[LABELLED_ONLY]
        candidates = {"teacher": self._candidate("", self._teacher.on(split))}
        if alone is None:
            candidates["gold"] = missing("gold", self._gold[LABELLED_ONLY].failure)
        else:
            candidates["gold"] = self._candidate(LABELLED_ONLY, alone.on(split))
        ranked = sorted(scores, key=lambda name: -scores[name].on(split).point.mean())
        chosen, asked = stand_ins(ranked, methods), stand_ins([*methods], methods)
        for name in ("weak", "both"):
            if name in chosen:
                candidates[name] = self._candidate(chosen[name], scores[chosen[name]].on(split))
            else:
                failure = trained[asked[name]].failure if name in asked else ""
                candidates[name] = missing(name, failure)
        return choose(candidates, self.level)

    def _vote_lead(self, choice: Choice, scores: Mapping[str, Scores]) -> Measurement:
        """Compare the vote with the advised option, on the same items."""
        if self._vote is None:
            return undefined(NO_POSTERIOR)
        advised = next(option for option in choice.options if option.name == choice.advised)
        assert isinstance(advised, MeasuredOption)
        known = {"": self._teacher, LABELLED_ONLY: self._gold_scores[LABELLED_ONLY], **scores}
        rival = known[advised.student]
        assert rival is not None  # an option without a result is not advised
        return measure(self._vote.accuracy - rival.accuracy, self.level)

    def _candidate(self, student: str, accuracy: Score) -> Candidate:
        return Candidate(student, accuracy, self._scorer.share(accuracy))

    def _on_split(
        self,
        name: str,
        scores: Mapping[str, Scores],
        methods: Mapping[str, Method],
        trained: Mapping[str, Trained],
    ) -> SplitGain:
        """Compare teacher, students and one another on one test split."""
        references = {**self._gold_scores, VOTE: self._vote}
        known = {n: own for n, own in references.items() if own is not None} | {**scores}
        return gain_on_split(
            name,
            self._teacher.on(name),
            {n: own.on(name) for n, own in known.items()},
            methods=[*scores],
            alone=None if (alone := self._gold_scores[LABELLED_ONLY]) is None else alone.on(name),
            choice=self._choose(scores, methods, trained, name),
            scorer=self._scorer,
            n_splits=len(self.data.split_names),
        )

    def _kept(self, trained: Mapping[str, Trained]) -> dict[str, KeptStudent]:
        gold = self._gold[LABELLED_ONLY]
        students = {LABELLED_ONLY: gold, **trained}
        return {name: each.kept for name, each in students.items() if each.kept is not None}

    def _reference(self, name: str, scores: Scores | None) -> Reference:
        if scores is None:
            failed = self._gold.get(name)
            reason = NO_POSTERIOR if failed is None else failed.failure
            return Reference(name, {}, {}, reason)
        return Reference(name, *self._scorer.measurements(scores))

    def _rank(self, scores: Mapping[str, Scores]) -> tuple[tuple[Comparison, ...], dict[str, str]]:
        """Compare every pair of methods; methods that do not differ share a letter."""
        names = list(scores)
        pairs = list(combinations(range(len(names)), 2))
        level = joint_level(self.level, len(pairs))
        differs = np.zeros((len(names), len(names)), dtype=bool)
        comparisons = []
        for i, j in pairs:
            difference = measure(scores[names[i]].accuracy - scores[names[j]].accuracy, level)
            comparisons.append(Comparison(names[i], names[j], difference))
            differs[i, j] = differs[j, i] = difference.differs_from_zero
        return tuple(comparisons), dict(zip(names, rank_groups(differs), strict=True))

    def _student(
        self, name: str, model: str, scores: Mapping[str, Scores], letters: str
    ) -> StudentGain:
        own = scores[model]
        gains, group_gains = self._scorer.gains(own, self._teacher)
        metrics, groups = self._scorer.measurements(own)
        lead = undefined("a method has no lead over itself")
        if model:
            lead = measure(scores[""].accuracy - own.accuracy, self.level)
        alone = self._gold_scores[LABELLED_ONLY]
        over_labelled = undefined("there is no student of the labelled rows alone")
        if alone is not None:
            over_labelled = measure(own.accuracy - alone.accuracy, self.level)
        return StudentGain(
            name=model or name,
            control_of=name if model else "",
            rank_group="" if model else letters,
            scores=metrics,
            gains=gains,
            groups=groups,
            group_gains=group_gains,
            pgr=self._recovered(own),
            opr=self._outperforming(own),
            lead=lead,
            over_labelled=over_labelled,
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
        above, below = labelled_only.accuracy.complement, scores.accuracy.complement
        error = measure(below, self.level)
        if error.low <= 0:
            reason = f"the student's error is not clearly above 0 ({error.value:.3f})"
            return undefined(f"opr is not defined: {reason}")
        return measure_ratio(above, below, self.level)

    def _by_seed(
        self,
        scores: Mapping[str, Mapping[str, Scores]],
        students: tuple[StudentGain, ...],
        seeds: tuple[int, ...],
    ) -> pd.DataFrame:
        """One row per model and seed; see `GainResult.to_frame`."""
        ceiling, labelled_only = (self._gold_scores[n] for n in (CEILING, LABELLED_ONLY))
        rows: list[dict[str, Any]] = [
            {"role": "teacher", "student": name, **own.by_seed(0, self.level)}
            for name, own in self._teachers.items()
        ]
        if self._vote is not None:
            vote = self._vote.by_seed(0, self.level)
            rows.append({"role": VOTE, "student": VOTE, **vote})
        weak = self._teacher.accuracy.point[0]
        # Where the mean over seeds has no headroom, single seeds have none either.
        recoverable = ceiling is not None and not any(student.pgr.reason for student in students)
        for names, own in self._named(scores, students):
            gain = own.accuracy - self._teacher.accuracy
            limits = within_seed(gain, self.level)
            for i, seed in enumerate(seeds):
                row = {**names, "seed": seed, **own.by_seed(i, self.level), "gain": gain.point[i]}
                row["gain_low"], row["gain_high"] = limits[i]
                if ceiling is not None and recoverable:
                    gap = ceiling.accuracy.point[i] - weak
                    row["pgr"] = row["gain"] / gap if gap >= HEADROOM else np.nan
                error = 1 - row["accuracy"]
                if labelled_only is not None and error > 0:
                    row["opr"] = (1 - labelled_only.accuracy.point[i]) / error
                rows.append(row)
        frame = pd.DataFrame(rows)
        for name in ("pgr", "opr", "gain", "seed"):
            if name not in frame:
                frame[name] = np.nan
        if "control_of" in frame:
            frame["control_of"] = frame["control_of"].fillna("")
        return frame.astype({"seed": "Int64"})

    def _named(
        self, scores: Mapping[str, Mapping[str, Scores]], students: tuple[StudentGain, ...]
    ) -> Iterator[tuple[dict[str, str], Scores]]:
        """Scores of references, methods and controls, with the columns that name them."""
        for name, reference in self._gold_scores.items():
            if reference is not None:
                yield {"role": name, "student": name}, reference
        for student in students:
            control = student.control_of
            role = ORACLE if student.name == ORACLE else "control"
            names = {"role": role if control else "method", "student": student.name}
            own = scores[control][student.name] if control else scores[student.name][""]
            yield names | {"control_of": control}, own


def read_forecast(forecast: Any) -> ForecastCheck | None:
    """Read the gain of a forecast: a `GainForecast`, its dictionary, or None."""
    if forecast is None:
        return None
    mapped = isinstance(forecast, Mapping)
    gain = forecast.get("gain") if mapped else getattr(forecast, "gain", None)
    parts = gain if isinstance(gain, Mapping) else getattr(gain, "__dict__", {})
    value, low, high = (parts.get(name) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        raise InputError(
            "forecast must be a GainForecast or a mapping with gain: {value, low, high}; got "
            f"{type(forecast).__name__}"
        )
    return ForecastCheck(float(value), float(low), float(high), parts.get("level", LEVEL))


def _check_forecast(
    forecast: ForecastCheck | None, naive: str, students: tuple[StudentGain, ...]
) -> ForecastCheck | None:
    """Compare the forecast with the gain of the naively trained student."""
    measured = [s.gain.value for s in students if s.name == naive and not s.control_of]
    if forecast is None or not measured:
        return forecast
    inside = bool(forecast.low <= measured[0] <= forecast.high)
    return replace(forecast, student=naive, measured=measured[0], inside=inside)
