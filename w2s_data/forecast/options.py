"""The four options of a team with gold and weak labels: accuracies, differences, and the best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

from w2s_data.forecast.heldout import OPTIONS
from w2s_data.utils.intervals import Estimate

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
# Accuracy that a cheaper option may lie behind the best, if the difference is not significant.
# Taking the cheaper one wherever it is not significant cost .02 on average, as intervals are wide.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Option:
    """Expected accuracy of an option."""

    name: str  # teacher, gold, weak or both
    accuracy: Estimate


@dataclass(frozen=True)
class Difference:
    """Expected accuracy of an option minus that of a cheaper one, compared on the same rows."""

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
        The option with the highest expected accuracy.
    advised : str
        The cheapest one that is at most .01 behind, and not significantly.
    lead : Estimate
        The best option minus the next.
    """

    options: tuple[Option, ...]
    differences: tuple[Difference, ...]
    best: str
    advised: str
    lead: Estimate

    @classmethod
    def among(cls, options: tuple[Option, ...], differences: tuple[Difference, ...]) -> Choice:
        """Choose among options whose differences are known."""
        ranked = sorted(options, key=lambda option: -option.accuracy.value)
        best, following = ranked[0].name, ranked[1].name
        close = [
            option.name
            for option in options
            if option.name == best or _is_close(difference_of(differences, best, option.name))
        ]
        lead = difference_of(differences, best, following)
        return cls(options, differences, best, close[0], lead)

    def accuracy(self, name: str) -> Estimate:
        """Return the expected accuracy of an option."""
        return next(option.accuracy for option in self.options if option.name == name)

    def scaled(self, share: float) -> Choice:
        """Return the choice for rows of which only a share can be right."""
        options = tuple(Option(o.name, scaled(o.accuracy, share)) for o in self.options)
        differences = tuple(
            Difference(d.name, d.other, scaled(d.difference, share)) for d in self.differences
        )
        return Choice.among(options, differences)

    def describe(self) -> str:
        """Say the best option, its lead over the next, and a cheaper one if it is as good."""
        ranked = sorted(self.options, key=lambda option: -option.accuracy.value)
        lead = self.lead
        text = (
            f"{WORDS[self.best]} is expected to be best, at {ranked[0].accuracy.value:.3f}, "
            f"{lead.value:+.3f} ({lead.level:.0%} interval {lead.low:+.3f} to {lead.high:+.3f}) "
            f"against {WORDS[ranked[1].name]}"
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


def _is_close(behind: Estimate) -> bool:
    return behind.value <= TOLERANCE and not behind.differs_from_zero


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
