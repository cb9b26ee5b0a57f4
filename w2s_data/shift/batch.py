"""How many rows of a shifted set need a label before labelled rows speak for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.shift.ratio import MOST_WEIGHT
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.weighting import FEWEST_EFFECTIVE, effective_size

# Foreseen sizes came out a third above those measured once the rows were labelled (digits).
AIM = 1.5 * FEWEST_EFFECTIVE
MOST_UNCOVERED = 0.05
LARGEST = 30.0  # log density ratio


@dataclass(frozen=True)
class Coverage:
    """Worth of labelled rows for a set.

    Attributes
    ----------
    effective_size : float
        Unweighted rows that they are worth, see `effective_size`.
    uncovered : float
        Share of the set in [0, 1] that no weight of at most 10 makes up for.
    """

    effective_size: float
    uncovered: float

    @property
    def is_enough(self) -> bool:
        """Whether estimates on the weighted rows should hold for the set."""
        return self.effective_size >= AIM and self.uncovered < MOST_UNCOVERED

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name."""
        return {"effective_size": self.effective_size, "uncovered": self.uncovered}


def novelty(log_ratio: FloatArray) -> FloatArray:
    r"""Return the chance (n,) that a row of the set is of a kind that labelled rows lack.

    .. math:: \max(0, 1 - 1 / r(x))
    """
    return np.maximum(0.0, -np.expm1(-np.maximum(log_ratio, 0.0)))


def coverage(labelled: FloatArray, others: FloatArray, n_new: int) -> Coverage:
    r"""Foresee what labelled rows are worth once `n_new` rows of a set are labelled too.

    New rows are drawn with chances s proportional to `novelty`, which makes the density ratio

    .. math:: r'(x) = r(x) \frac{n + k}{n + k \, r(x) \, s(x) / \bar s}

    Parameters
    ----------
    labelled, others : array (n,), (N,)
        Log density ratio of the set to the labelled rows, at labelled rows and rows of the set.
    n_new : int
        Rows k that are added.

    Examples
    --------
    >>> same = np.zeros(100)
    >>> coverage(same, same, 0)
    Coverage(effective_size=100.0, uncovered=0.0)
    >>> apart = coverage(np.full(100, -5.0), np.full(1000, 5.0), 40)
    >>> round(apart.effective_size), round(apart.uncovered, 2)
    (41, 0.0)
    """
    n, chance = len(labelled), novelty(others)
    chance = chance / chance.sum() if chance.sum() > 0 else np.full(len(others), 1 / len(others))

    def renewed(log_ratio: FloatArray) -> FloatArray:
        # A classifier of few labelled rows cannot see how much above 10 a ratio is: without limit.
        absent = log_ratio > np.log(MOST_WEIGHT)
        ratio = np.exp(np.where(absent, LARGEST, log_ratio))
        drawn = novelty(log_ratio) / max(float(novelty(others).mean()), 1e-12)
        return np.asarray(ratio * (n + n_new) / (n + n_new * ratio * drawn))

    of_set = renewed(others)
    uncovered = float(np.maximum(0.0, 1 - MOST_WEIGHT / np.maximum(of_set, 1e-12)).mean())
    known = np.minimum(renewed(labelled), MOST_WEIGHT)
    # The new rows as their quantiles, so that nothing is drawn.
    order = np.argsort(of_set)
    places = np.searchsorted(np.cumsum(chance[order]), (np.arange(n_new) + 0.5) / max(1, n_new))
    new = np.minimum(of_set[order][np.minimum(places, len(others) - 1)], MOST_WEIGHT)
    return Coverage(effective_size(np.concatenate([known, new])), uncovered)


def rows_needed(labelled: FloatArray, others: FloatArray, most: int) -> int | None:
    """Return the fewest new rows, at most `most`, with which coverage is enough; None if none."""
    for n_new in range(1, most + 1):
        if coverage(labelled, others, n_new).is_enough:
            return n_new
    return None
