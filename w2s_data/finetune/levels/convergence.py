"""Whether a training was long enough: the trend of its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_STEPS = 30  # fewer losses are too noisy for a verdict
START = 0.1  # share of the steps that give the first loss
SKIPPED = 1 / 3  # of the steps, in which every loss falls
LEAST_FALL = 0.1  # of the first loss, in as long a training again
# Share of the first loss. Lower ones fall because rows seen before are known by heart: with
# 30 % of the labels wrong, MiniLM's falls to a third in three passes over 700 rows. Too few steps
# leave nearly all of it.
LEAST_LEFT = 0.6
Z = 2.33  # one-sided 1 %: most trainings must pass without a word


@dataclass(frozen=True)
class LossTrend:
    """Line through the loss of the last two thirds of the steps, in units of the first loss.

    Time is the sum of the learning rates so far, 1 at the end: a rate that falls to zero flattens
    any loss over the steps.
    """

    slope: float  # change of the loss in as long a training again; negative when it falls
    error: float  # standard error of the slope
    end: float  # of the line

    @property
    def is_undertrained(self) -> bool:
        """Whether the loss still falls, by more than noise, and much of it is left."""
        falls = self.slope < -LEAST_FALL and self.slope < -Z * self.error
        return bool(falls and self.end > LEAST_LEFT)


def loss_trend(losses: Sequence[float], rates: Sequence[float]) -> LossTrend:
    """Fit the trend of the losses of all steps by their rates; NaN for fewer than 30 steps.

    >>> steps = np.arange(300)
    >>> loss_trend(0.7 - 0.1 * steps / 300, np.full(300, 1e-5)).is_undertrained
    True
    >>> loss_trend(0.7 * np.exp(-steps / 20) + 0.3, np.full(300, 1e-5)).is_undertrained
    False
    """
    values = np.asarray(losses, dtype=np.float64)
    if len(values) < FEWEST_STEPS:
        return LossTrend(np.nan, np.nan, np.nan)
    skipped = round(SKIPPED * len(values))
    time = np.cumsum(rates) / np.sum(rates)
    own, late = values[skipped:], time[skipped:]
    centred = late - late.mean()
    slope = (centred @ own) / (centred @ centred)
    residual = own - own.mean() - slope * centred
    error = np.sqrt((residual @ residual) / (len(own) - 2) / (centred @ centred))
    end = own.mean() + slope * centred[-1]
    first = max(abs(values[: round(START * len(values))].mean()), np.finfo(float).tiny)
    return LossTrend(float(slope / first), float(error / first), float(end / first))
