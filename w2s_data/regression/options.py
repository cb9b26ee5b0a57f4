"""The four options by mean squared error: differences, and the cheapest that is good enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from w2s_data.forecast.options import ADVICE, OPTIONS, WITH, Difference, difference_of
from w2s_data.utils.intervals import Estimate

# Part of the least error, expected or measured, by which a cheaper option may lie above it, if the
# difference is not significant.
TOLERANCE = 0.02


@dataclass(frozen=True)
class ValueChoice:
    """The options compared with one another.

    Attributes
    ----------
    differences : tuple of Difference
        Mean squared error of each option minus that of each cheaper one.
    best, advised : str
        The option with the least error, and the cheapest that is at most a tolerance above it, and
        not significantly; empty where none is known.
    """

    differences: tuple[Difference, ...]
    best: str
    advised: str


def choose(errors: Mapping[str, float], differences: Sequence[Difference]) -> ValueChoice:
    """Choose among options given their mean squared errors, NaN where one is not known.

    A cheaper option is advised if it lies at most 2 % above the best, and not significantly.

    >>> pairs = [Difference("gold", "teacher", Estimate(-0.5, -0.7, -0.3))]
    >>> choose({"teacher": 1.0, "gold": 0.5}, pairs).advised
    'gold'
    """
    known = [name for name in OPTIONS if np.isfinite(errors.get(name, np.nan))]
    if not known:
        return ValueChoice(tuple(differences), "", "")
    best = min(known, key=lambda name: errors[name])
    most = (1 + TOLERANCE) * errors[best]
    for name in known:
        if name == best:
            break
        behind = difference_of(tuple(differences), name, best)
        if errors[name] <= most and not behind.differs_from_zero:
            return ValueChoice(tuple(differences), best, name)
    return ValueChoice(tuple(differences), best, best)


def _differ(choice: ValueChoice, name: str, other: str) -> bool:
    """Return whether two options are not one: the mix of both may be that of one of them alone."""
    found = difference_of(choice.differences, name, other)
    return not abs(found.value) < 1e-9 * abs(found.high - found.low)


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """List each pair of options, the dearer one first.

    >>> pairs_of(["teacher", "gold", "weak"])
    [('gold', 'teacher'), ('weak', 'teacher'), ('weak', 'gold')]
    """
    return [(dearer, cheaper) for cheaper, dearer in combinations(names, 2)]


def advise(errors: Mapping[str, Estimate], choice: ValueChoice) -> str:
    """Say which option is advised, with its error beside the least of all others.

    >>> pairs = (Difference("gold", "teacher", Estimate(-0.5, -0.7, -0.3)),)
    >>> chosen = ValueChoice(pairs, "gold", "gold")
    >>> advise({"teacher": Estimate(1.0), "gold": Estimate(0.5)}, chosen)
    'train on the gold labels: MSE 0.5 against 1 with the teacher, -0.5 (95%: -0.7 to -0.3)'
    """
    own = choice.advised
    others = {
        name: found.value
        for name, found in errors.items()
        if name != own and np.isfinite(found.value) and _differ(choice, name, own)
    }
    text = f"{ADVICE[own]}: MSE {errors[own].value:.4g}"
    if not others:
        return f"{text}; there is no other option to compare it with"
    rival = min(others, key=lambda name: others[name])
    lead = difference_of(choice.differences, own, rival)
    text += (
        f" against {others[rival]:.4g} {WITH[rival]}, {lead.value:+.3g} ({lead.level:.0%}: "
        f"{lead.low:+.3g} to {lead.high:+.3g})"
    )
    if own != choice.best:
        return f"{text}, not significantly more and cheaper"
    return text if lead.differs_from_zero else f"{text}, not significantly less"
