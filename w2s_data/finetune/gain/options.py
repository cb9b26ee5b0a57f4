"""The four options of a team, measured on the same test items and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from w2s_data.finetune.gain.intervals import Measurement, Score, measure, undefined
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.methods.labelled_only import LabelledOnly
from w2s_data.forecast.options import OPTIONS, Choice, Difference, Option

MISSING = {
    "weak": "no method was trained that uses weak labels alone, e.g. naive",
    "both": "no method was trained that uses gold and weak labels, e.g. stacked",
}


@dataclass(frozen=True)
class MeasuredOption(Option):
    """Measured accuracy of an option, and the student that stands for it."""

    accuracy: Measurement
    student: str = ""  # a method's name; empty for the teacher


@dataclass(frozen=True)
class Candidate:
    """Result that stands for an option: scores by seed, or a reason why there are none."""

    student: str
    score: Score | None
    accuracy: Measurement


def choose(candidates: Mapping[str, Candidate], level: float) -> Choice:
    """Compare the options that have a result, each pair on the same items and seeds."""
    options = tuple(
        MeasuredOption(name, candidates[name].accuracy, candidates[name].student)
        for name in OPTIONS
    )
    differences = []
    for cheaper, dearer in combinations(OPTIONS, 2):
        one, other = candidates[dearer].score, candidates[cheaper].score
        if one is not None and other is not None:
            differences.append(Difference(dearer, cheaper, measure(one - other, level)))
    return Choice.among(options, tuple(differences), "measured")


def missing(name: str, reason: str = "") -> Candidate:
    """Return an option without a result."""
    return Candidate("", None, undefined(reason or MISSING[name]))


def stand_ins(ranked: Sequence[str], methods: Mapping[str, Method]) -> dict[str, str]:
    """Return the first method of weak labels alone, and the first of gold and weak labels."""
    found: dict[str, str] = {}
    for name in ranked:
        method = methods[name]
        if not isinstance(method, LabelledOnly):
            found.setdefault("both" if method.uses_gold else "weak", name)
    return found
