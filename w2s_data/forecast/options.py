"""The four options of a team with gold and weak labels: accuracies, differences, and the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from w2s_data.utils.intervals import Estimate

OPTIONS = ("teacher", "gold", "weak", "both")  # in the order of their cost
# Names of the options in a sentence, and the advice to take one.
WORDS = {
    "teacher": "the teacher",
    "gold": "a student of the gold labels",
    "weak": "a student of weak labels",
    "both": "a student of both",
}
ADVICE = {
    "teacher": "use the teacher",
    "gold": "train on the gold labels",
    "weak": "train on weak labels",
    "both": "train on both",
}
WITH = {
    "teacher": "with the teacher",
    "gold": "with the gold labels alone",
    "weak": "with weak labels alone",
    "both": "with both",
}
# Accuracy that a cheaper option may lie behind the best, if the difference is not significant.
# Taking the cheaper one wherever it is not significant cost .02 on average in forecasts, as their
# intervals are wide. Measured on 1,000 items it costs more than a point in 18 % of tasks, with a
# tolerance of .01 in 9 %, with .005 in 4 %.
TOLERANCES = {"expected": 0.01, "measured": 0.005}


@dataclass(frozen=True)
class Option:
    """Accuracy of an option, expected or measured; NaN where it is not known."""

    name: str  # teacher, gold, weak or both
    accuracy: Estimate


@dataclass(frozen=True)
class Difference:
    """Accuracy of an option minus that of a cheaper one, compared on the same rows."""

    name: str
    other: str
    difference: Estimate


@dataclass(frozen=True)
class Choice:
    """The options compared with one another.

    Attributes
    ----------
    options : tuple of Option
        In the order of their cost: teacher, gold, weak, both.
    differences : tuple of Difference
        Each pair of options, the dearer minus the cheaper one.
    best : str
        The option with the highest accuracy.
    advised : str
        The cheapest one that is at most a tolerance behind, and not significantly.
    lead : Estimate
        The best option minus the next; NaN where only one is known.
    """

    options: tuple[Option, ...]
    differences: tuple[Difference, ...]
    best: str
    advised: str
    lead: Estimate

    @classmethod
    def among(
        cls,
        options: tuple[Option, ...],
        differences: tuple[Difference, ...],
        kind: str = "expected",
    ) -> Choice:
        """Choose among the options that are known, given the difference of each pair of them."""
        known = [option for option in options if not np.isnan(option.accuracy.value)]
        best, *others = _ranked(known)
        behind = {name: difference_of(differences, best, name) for name in others}
        close = [
            option.name
            for option in known
            if option.name == best or _is_close(behind[option.name], TOLERANCES[kind])
        ]
        lead = behind[others[0]] if others else Estimate(np.nan)
        return cls(options, differences, best, close[0], lead)

    def accuracy(self, name: str) -> Estimate:
        """Return the expected accuracy of an option."""
        return next(option.accuracy for option in self.options if option.name == name)

    def advise(self) -> str:
        """Advise an option, with its accuracy beside that of the best other one."""
        own = self.accuracy(self.advised).value
        others = [option for option in self.options if option.name != self.advised]
        ranked = _ranked([o for o in others if not np.isnan(o.accuracy.value)])
        if not ranked:
            return f"{ADVICE[self.advised]}: {own:.3f}; there is no other option to compare it with"
        rival = ranked[0]
        lead = difference_of(self.differences, self.advised, rival)
        text = (
            f"{ADVICE[self.advised]}: {own:.3f} against {self.accuracy(rival).value:.3f} "
            f"{WITH[rival]}, {lead.value:+z.3f} ({lead.level:.0%}: {lead.low:+z.3f} to "
            f"{lead.high:+z.3f})"
        )
        if self.advised != self.best:
            return f"{text}, not significantly less and cheaper"
        return text if lead.differs_from_zero else f"{text}, not significantly more"

    def scaled(self, share: float) -> Choice:
        """Return the choice for rows of which only a share can be right."""
        options = tuple(Option(o.name, scaled(o.accuracy, share)) for o in self.options)
        differences = tuple(
            Difference(d.name, d.other, scaled(d.difference, share)) for d in self.differences
        )
        return Choice.among(options, differences)

    def describe(self) -> str:
        """Say the best option, its lead over the next, and a cheaper one if it is as good."""
        following = _ranked(self.options)[1]
        lead = self.lead
        text = (
            f"{WORDS[self.best]} is expected to be best, at {self.accuracy(self.best).value:.3f}, "
            f"{lead.value:+z.3f} ({lead.level:.0%} interval {lead.low:+z.3f} to {lead.high:+z.3f}) "
            f"against {WORDS[following]}"
        )
        if self.advised != self.best:
            return f"{text}; {WORDS[self.advised]} costs less and does not differ significantly"
        certain = "significantly" if lead.differs_from_zero else "not significantly"
        return f"{text}, {certain} better"


def difference_of(differences: tuple[Difference, ...], name: str, other: str) -> Estimate:
    """Return the accuracy of an option minus that of another."""
    for pair in differences:
        if (pair.name, pair.other) == (name, other):
            return pair.difference
        if (pair.name, pair.other) == (other, name):
            found = pair.difference
            return Estimate(-found.value, -found.high, -found.low, found.level)
    raise KeyError((name, other))


def _ranked(options: Sequence[Option]) -> list[str]:
    """Return the names of known options, the most accurate first."""
    return [o.name for o in sorted(options, key=lambda option: -option.accuracy.value)]


def _is_close(behind: Estimate, tolerance: float) -> bool:
    return behind.value <= tolerance and not behind.differs_from_zero


def compare(accuracies: dict[str, Estimate], errors: Any, quantile: float, level: float) -> Choice:
    """Compare options, given standard errors (options, options) of their differences."""
    differences = []
    for (j, cheaper), (k, dearer) in combinations(enumerate(OPTIONS), 2):
        value = accuracies[dearer].value - accuracies[cheaper].value
        half = quantile * float(errors[j][k])
        found = Estimate(value, value - half, value + half, level)
        differences.append(Difference(dearer, cheaper, found))
    options = tuple(Option(name, accuracies[name]) for name in OPTIONS)
    return Choice.among(options, tuple(differences))


def scaled(estimate: Estimate, share: float) -> Estimate:
    """Multiply an estimate and its limits."""
    low, high = share * estimate.low, share * estimate.high
    return Estimate(share * estimate.value, low, high, estimate.level)
