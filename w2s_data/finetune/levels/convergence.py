"""Whether a training was long enough: the trend of its loss at the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEWEST_STEPS = 30  # fewer losses are too noisy for a verdict
START, END = 0.1, 1 / 3  # shares of the steps that give the first loss, and the trend
LEAST_FALL = 0.05  # of the first loss; less is what a rate that falls to zero leaves
Z = 2.33  # one-sided 1 %: most trainings must pass without a word


def loss_trend(losses: Sequence[float]) -> tuple[float, float]:
    """Return the change of the loss over the last third of the steps, and its standard error.

    The change is that of a fitted line, in units of the mean loss of the first tenth of the steps;
    negative when the loss falls. NaN for fewer than 30 steps.

    >>> change, error = loss_trend(np.linspace(1, 0.4, 60))
    >>> round(change, 2)
    -0.21
    """
    values = np.asarray(losses, dtype=np.float64)
    if len(values) < FEWEST_STEPS:
        return np.nan, np.nan
    end = values[-round(END * len(values)) :]
    time = np.arange(len(end)) - (len(end) - 1) / 2
    slope = (time @ end) / (time @ time)
    residual = end - end.mean() - slope * time
    error = np.sqrt((residual @ residual) / (len(end) - 2) / (time @ time))
    first = values[: round(START * len(values))].mean()
    scale = len(end) / max(abs(first), np.finfo(float).tiny)
    return float(slope * scale), float(error * scale)


def is_undertrained(losses: Sequence[float]) -> bool:
    """Return whether the loss still falls at the end, by more than its noise and noticeably."""
    change, error = loss_trend(losses)
    return bool(change < -LEAST_FALL and change < -Z * error)
