"""From predicted values to the table: gains, recovered performance, ranks, options and advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from w2s_data.finetune.gain.intervals import (
    Measurement,
    joint_level,
    measure,
    measure_ratio,
    rank_groups,
    undefined,
)
from w2s_data.finetune.gain.options import MISSING
from w2s_data.forecast.options import OPTIONS, Difference
from w2s_data.regression.methods import LabelledOnly, ValueMethod
from w2s_data.regression.options import ValueChoice, advise, choose, pairs_of
from w2s_data.regression.scores import Errors, ErrorScorer, scaled

TEACHER, CEILING, LABELLED_ONLY, POSTERIOR = "teacher", "ceiling", "labelled_only", "posterior"
HEADROOM = 0.01  # of the variance of the targets, below which recovered performance is noise


@dataclass(frozen=True)
class MeasuredOption:
    """One of the four options of a team, and the student that stands for it."""

    name: str  # teacher, gold, weak or both
    student: str  # a method's name; empty for the teacher
    measures: Mapping[str, Measurement]  # mse, rmse, mae, r2; empty where there is no result
    reason: str = ""  # why there is none


@dataclass(frozen=True)
class MethodGain:
    """Errors of a method's student, and its gain over the teacher: positive is better."""

    name: str
    measures: Mapping[str, Measurement]
    gain: Measurement  # the teacher's MSE minus its own
    relative_gain: Measurement  # over the teacher's MSE
    pgr: Measurement
    opr: Measurement
    over_labelled: Measurement  # MSE of the student of gold values alone minus its own
    rank_group: str


class ValueComparer:
    """Compares models, given their errors by name and part of the test rows."""

    def __init__(
        self,
        scorer: ErrorScorer,
        errors: Mapping[str, Mapping[str, Errors]],
        methods: Mapping[str, ValueMethod],
        failures: Mapping[str, str],
    ) -> None:
        self._scorer = scorer
        self._errors = errors
        self._methods = methods
        self._failures = failures
        self.level = scorer.level

    def ranked(self, part: str = "") -> list[str]:
        """Return the methods that have a result, the least error first."""
        known = [name for name in self._methods if name in self._errors]
        return sorted(known, key=lambda name: self._mean(name, part))

    def gains(self) -> tuple[MethodGain, ...]:
        """Return the methods by rank."""
        names = self.ranked()
        letters = self._letters(names)
        return tuple(self._gain(name, letter) for name, letter in zip(names, letters, strict=True))

    def reference(self, name: str) -> dict[str, Measurement]:
        """Return the measures of a model that is no method; empty without a result."""
        if name not in self._errors:
            return {}
        return self._scorer.measurements(self._errors[name][""])

    def failure(self, name: str) -> str:
        """Return why a model has no result."""
        return self._failures.get(name, "")

    def options(self, part: str = "") -> tuple[MeasuredOption, ...]:
        """Return the four options on a part of the test rows, in the order of their cost."""
        return tuple(
            MeasuredOption(name, "", {}, self._missing(name))
            if student is None
            else MeasuredOption(
                name,
                "" if name == TEACHER else student,
                self._scorer.measurements(self._errors[student][part]),
            )
            for name, student in self._stand_ins(part).items()
        )

    def choose(self, part: str = "") -> tuple[ValueChoice, str]:
        """Choose among the options on a part of the test rows; return the advice in words too."""
        stands = {name: own for name, own in self._stand_ins(part).items() if own is not None}
        differences = [
            Difference(
                dear,
                cheap,
                self._scorer.difference(
                    self._errors[stands[dear]][part] - self._errors[stands[cheap]][part]
                ),
            )
            for dear, cheap in pairs_of(list(stands))
        ]
        errors = {
            name: self._scorer.measurements(self._errors[own][part])["mse"]
            for name, own in stands.items()
        }
        values = {name: own.value for name, own in errors.items()}
        choice = choose(values, differences)
        return choice, advise(errors, choice)

    def on_part(self, part: str) -> dict[str, Any]:
        """Return the errors of teacher and methods, and the advice, on a part of the test rows."""
        choice, sentence = self.choose(part)
        teacher = self._errors[TEACHER][part]
        return {
            "teacher": _dicts(self._scorer.measurements(teacher)),
            "methods": [
                {
                    "name": name,
                    **_dicts(self._scorer.measurements(self._errors[name][part])),
                    "gain": self._scorer.difference(teacher - self._errors[name][part]).to_dict(),
                }
                for name in self.ranked(part)
            ],
            "advised": choice.advised,
            "sentence": sentence,
        }

    def on_group(self, part: str) -> dict[str, Any]:
        """Return the squared errors of teacher and best student in a group, and the gain there."""
        teacher = self._errors[TEACHER][part]
        found = {"teacher": self._scorer.difference(teacher.square, least=0.0).to_dict()}
        ranked = self.ranked()
        if ranked:
            own = self._errors[ranked[0]][part]
            found["student"] = self._scorer.difference(own.square, least=0.0).to_dict()
            found["gain"] = self._scorer.difference(teacher - own).to_dict()
        return found

    def _mean(self, name: str, part: str) -> float:
        return float(self._errors[name][part].square.point.mean())

    def _letters(self, names: Sequence[str]) -> list[str]:
        """Assign letters; two methods share one if they do not differ significantly."""
        pairs = list(combinations(range(len(names)), 2))
        level = joint_level(self.level, len(pairs))
        differs = np.zeros((len(names), len(names)), dtype=bool)
        for i, j in pairs:
            apart = self._errors[names[i]][""] - self._errors[names[j]][""]
            differs[i, j] = differs[j, i] = _measured(apart, level).differs_from_zero
        return rank_groups(differs)

    def _gain(self, name: str, letters: str) -> MethodGain:
        own, teacher = self._errors[name][""], self._errors[TEACHER][""]
        lead = undefined("there is no student of the gold values alone")
        if LABELLED_ONLY in self._errors:
            lead = self._scorer.difference(self._errors[LABELLED_ONLY][""] - own)
        relative = undefined("the teacher's error is not clearly above 0")
        if measure(teacher.square, self.level, (-np.inf, np.inf)).low > 0:
            relative = measure_ratio(teacher - own, teacher.square, self.level)
        return MethodGain(
            name=name,
            measures=self._scorer.measurements(own),
            gain=self._scorer.difference(teacher - own),
            relative_gain=relative,
            pgr=self._recovered(own),
            opr=self._outperforming(own),
            over_labelled=lead,
            rank_group=letters,
        )

    def _recovered(self, own: Errors) -> Measurement:
        """Performance gap recovered, where there is a gap."""
        if CEILING not in self._errors:
            return undefined(f"pgr is not defined without a ceiling ({self.failure(CEILING)})")
        teacher = self._errors[TEACHER][""]
        gap = teacher - self._errors[CEILING][""]
        headroom = _measured(gap, self.level)
        if headroom.value < HEADROOM or headroom.low <= 0:
            shown = scaled(headroom, self._scorer.variance)
            return undefined(
                f"pgr is not defined: the teacher's MSE minus the ceiling's is {shown.value:+.3g} "
                f"({shown.low:+.3g} to {shown.high:+.3g}); at least {HEADROOM:.0%} of the "
                "targets' variance and an interval above 0 are needed"
            )
        return measure_ratio(teacher - own, gap, self.level)

    def _outperforming(self, own: Errors) -> Measurement:
        """Outperforming ratio, where there is an error."""
        if LABELLED_ONLY not in self._errors:
            failure = self.failure(LABELLED_ONLY)
            return undefined(f"opr is not defined without a student of gold values ({failure})")
        if _measured(own.square, self.level).low <= 0:
            return undefined("opr is not defined: the student's error is not clearly above 0")
        return measure_ratio(self._errors[LABELLED_ONLY][""].square, own.square, self.level)

    def _stand_ins(self, part: str) -> dict[str, str | None]:
        """Return the model that stands for each option: the best of its kind."""
        found: dict[str, str | None] = dict.fromkeys(OPTIONS)
        found["teacher"] = TEACHER
        found["gold"] = LABELLED_ONLY if LABELLED_ONLY in self._errors else None
        for name in self.ranked(part):
            method = self._methods[name]
            if isinstance(method, LabelledOnly):
                continue
            kind = "both" if method.uses_gold else "weak"
            if found[kind] is None:
                found[kind] = name
        return found

    def _missing(self, option: str) -> str:
        """Return why an option has no result."""
        if option == "gold":
            return self.failure(LABELLED_ONLY)
        failed = [
            self._failures[name]
            for name, method in self._methods.items()
            if name in self._failures and method.uses_gold == (option == "both")
        ]
        return failed[0] if failed else MISSING[option]


def _measured(score: Any, level: float) -> Measurement:
    return measure(score, level, (-np.inf, np.inf))


def _dicts(measures: Mapping[str, Measurement]) -> dict[str, Any]:
    return {name: own.to_dict() for name, own in measures.items()}
