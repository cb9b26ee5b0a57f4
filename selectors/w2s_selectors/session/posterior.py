"""Posterior of the sources: which one is best; and how weights divide a budget."""

from __future__ import annotations

import numpy as np

from w2s_data.utils.intervals import student_quantile
from w2s_data.utils.typing import FloatArray
from w2s_selectors.objectives.base import Judgement

N_DRAWS = 2000  # a probability is then right to .01


def draws(judgement: Judgement, seed: int) -> FloatArray:
    """Draw rewards from their posterior, (draws, K); NaN where a source was not judged.

    Counted rewards follow Beta(1 + successes, 1 + failures); others a normal distribution whose
    central part is the interval.
    """
    rng = np.random.default_rng(seed)  # its own: reading a posterior must not change choices
    rewards = judgement.rewards
    drawn = np.full((N_DRAWS, len(rewards)), np.nan)
    if judgement.counted and judgement.successes is not None and judgement.trials is not None:
        known = judgement.trials > 0
        won, lost = judgement.successes[known], (judgement.trials - judgement.successes)[known]
        drawn[:, known] = rng.beta(1 + won, 1 + lost, (N_DRAWS, len(won)))
        return drawn
    deviation = (judgement.high - judgement.low) / (2 * student_quantile(np.inf, judgement.level))
    known = np.isfinite(rewards) & np.isfinite(deviation)
    drawn[:, known] = rng.normal(rewards[known], deviation[known], (N_DRAWS, known.sum()))
    return drawn


def probability_best(judgement: Judgement, seed: int) -> FloatArray:
    """Estimate the probability that each source has the highest reward, (K,); NaN if not judged."""
    drawn = draws(judgement, seed)
    known = np.isfinite(drawn[0])
    best = np.full(drawn.shape[1], np.nan)
    if known.any():
        winners = np.flatnonzero(known)[drawn[:, known].argmax(axis=1)]
        best[known] = np.bincount(winners, minlength=len(best))[known] / len(drawn)
    return best


def fill(weights: FloatArray, room: FloatArray, budget: float, units: FloatArray) -> FloatArray:
    """Divide a budget in proportion to weights, at most `room`; full sources pass the rest on.

    >>> fill(np.array([3.0, 1.0, 0.0]), np.array([10.0, 90.0, 90.0]), 40.0, np.ones(3))
    array([10., 30.,  0.])
    """
    items = np.zeros(len(weights))
    weights = np.where(weights > 0, weights, 0.0)
    # Each pass fills at least one source or spends the budget, so that there are at most K.
    while (taking := (weights > 0) & (items < room)).any() and budget > 1e-9 * units.max():
        share = np.where(taking, weights, 0.0)
        wanted = budget * share / (share @ units)
        added = np.minimum(wanted, room - items)
        items += added
        budget -= float(added @ units)
    return items
