"""Earlier plans compared with what came, and the pace of learning that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from w2s_data.plan.curves import Curve
from w2s_data.utils.intervals import Estimate

NEEDED = ("n", "N", "option", "accuracies", "curves")  # of an earlier plan, to compare with
# Spread of how much faster or slower than expected one task learns.
PACE_SPREAD = 0.4
SLOWEST, FASTEST = 0.2, 3.0


@dataclass(frozen=True)
class Outcome:
    """Forecast of an earlier plan for the sizes that came, and the measurement there."""

    option: str
    before: tuple[int, int]  # gold rows, pool rows
    after: tuple[int, int]
    forecast: Estimate  # accuracy
    came: Estimate
    gain_forecast: Estimate
    gain: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain types."""
        estimates = ("forecast", "came", "gain_forecast", "gain")
        return {
            "option": self.option,
            "before": list(self.before),
            "after": list(self.after),
            **{name: getattr(self, name).to_dict() for name in estimates},
        }


def compare_plans(
    earlier: Sequence[Mapping[str, Any]], now: Mapping[str, Any], level: float
) -> tuple[Outcome, ...]:
    """Compare each plan with the next one, and the last with `now`.

    All are as `LabelPlanner.to_dict` returns them.
    """
    outcomes = []
    for before, after in pairwise([*earlier, now]):
        option, sizes = before["option"], (after["n"], after["N"])
        if sizes == (before["n"], before["N"]):
            continue
        curve = Curve.from_dict(before["curves"][option])
        then, later = (Estimate(**plan["accuracies"][option]) for plan in (before, after))
        outcomes.append(
            Outcome(
                option,
                (before["n"], before["N"]),
                sizes,
                forecast=curve.accuracy(*sizes, level),
                came=later,
                gain_forecast=curve.gain(*sizes, level),
                gain=_difference(later, then),
            )
        )
    return tuple(outcomes)


def pace_of(history: Sequence[Outcome], level: float) -> Estimate:
    """Return how fast labels have helped, as a multiple of what was forecast; 1 without history.

    The ratio of gains that came to those forecast, drawn towards 1 by a normal prior.
    """
    from scipy.stats import norm

    precision, total = PACE_SPREAD**-2, PACE_SPREAD**-2
    for outcome in history:
        expected = outcome.gain_forecast.value
        variance = _error(outcome.gain) ** 2 + _error(outcome.gain_forecast) ** 2
        precision += expected**2 / variance
        total += expected * outcome.gain.value / variance
    value, half = total / precision, float(norm.ppf((1 + level) / 2)) / np.sqrt(precision)
    low, value, high = np.clip([value - half, value, value + half], SLOWEST, FASTEST)
    return Estimate(float(value), float(low), float(high), level)


def _difference(later: Estimate, earlier: Estimate) -> Estimate:
    """Return the difference of two accuracies, as if they were independent."""
    half = np.hypot((later.high - later.low) / 2, (earlier.high - earlier.low) / 2)
    value = later.value - earlier.value
    return Estimate(value, value - float(half), value + float(half), later.level)


def _error(estimate: Estimate) -> float:
    """Return the standard error that an interval stands for, above 0."""
    from scipy.stats import norm

    z = float(norm.ppf((1 + estimate.level) / 2))
    return max((estimate.high - estimate.low) / (2 * z), 1e-4)
