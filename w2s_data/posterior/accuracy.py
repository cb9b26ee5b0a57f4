r"""Accuracies on the pool: of the posterior, of weak labels, of every teacher, of a student.

.. math:: \frac1N \sum_{pool} g_i + \frac1m \sum_{known} ([right_i] - g_i)

with g the posterior's chance that an answer is right. Known rows are pool rows with a gold label,
drawn at random, or else the held-out gold rows, which then have to be like the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.posterior.calibration import completed_mean, corrected_mean
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import check_codes
from w2s_data.utils.votes import chance

# With fewer known rows of the pool the interval would be 40 points wide and more.
FEWEST_KNOWN = 20
BY_POOL, BY_CALIBRATION = "pool labels", "calibration"  # how an accuracy is measured


@dataclass(frozen=True)
class Known:
    """Pool rows with a gold label, drawn at random.

    `pool` (N,) are classes of rows that are still in the pool, -1 elsewhere; `gold` (n,) marks
    those that became gold rows.
    """

    pool: IntArray
    gold: BoolArray

    @classmethod
    def checked(cls, pool: Any, gold: Any, n_pool: int, n_gold: int, n_classes: int) -> Known:
        """Return known rows, none where nothing is given; raise InputError for other shapes."""
        codes = np.full(n_pool, -1) if pool is None else pool
        codes = check_codes(codes, n_pool, n_classes, "pool_labels", unknown=True)
        drawn = np.zeros(n_gold, dtype=bool) if gold is None else np.asarray(gold)
        if drawn.shape != (n_gold,) or drawn.dtype != bool:
            raise InputError(
                f"from_pool must be bool of shape ({n_gold},); got {drawn.dtype} of {drawn.shape}"
            )
        return cls(codes, drawn)

    @property
    def inside(self) -> bool:
        """Whether rows that are still in the pool suffice; models learned from the others."""
        return int((self.pool >= 0).sum()) >= FEWEST_KNOWN

    def __len__(self) -> int:
        rest = 0 if self.inside else int(self.gold.sum())
        return int((self.pool >= 0).sum()) + rest

    @property
    def method(self) -> str:
        """How accuracies are measured: "pool labels" from 20 of them on, else "calibration"."""
        return BY_POOL if len(self) >= FEWEST_KNOWN else BY_CALIBRATION


@dataclass(frozen=True)
class Scores:
    """Expected and true successes on pool rows (N,) and gold rows (n,), NaN where unknown."""

    pool: FloatArray
    pool_right: FloatArray
    gold: FloatArray
    gold_right: FloatArray

    def __sub__(self, other: Scores) -> Scores:
        return Scores(
            self.pool - other.pool,
            self.pool_right - other.pool_right,
            self.gold - other.gold,
            self.gold_right - other.gold_right,
        )


@dataclass(frozen=True)
class Judge:
    """Measures how often answers are right on the pool."""

    pool: FloatArray  # (N, C) posterior
    # (R, n, C), held out in R ways. Their mean is right more often than the posterior of the pool,
    # which is that of one training.
    gold: FloatArray
    codes: IntArray  # (n,)
    known: Known
    level: float
    gold_weight: FloatArray | None = None  # (n,), density ratios of the pool

    def scores(self, pool: IntArray, gold: IntArray) -> Scores:
        """Return the scores of class codes of pool rows (N,) and gold rows (n,) or (R, n).

        Codes are -1 where there is no answer.
        """
        right = np.where((pool < 0) | (self.known.pool < 0), np.nan, pool == self.known.pool)
        each = np.broadcast_to(gold, self.gold.shape[:2])
        gold_right = np.where(each < 0, np.nan, each == self.codes).mean(axis=0)
        expected = np.mean([chance(*pair) for pair in zip(self.gold, each, strict=True)], axis=0)
        return Scores(chance(self.pool, pool), right, expected, gold_right)

    def mean(self, scores: Scores, least: float = 0.0) -> Estimate:
        """Return the mean of scores over the pool, on rows that have one, at least `least`."""
        answered = np.isfinite(scores.pool)
        pool, gold = scores.pool[answered], np.isfinite(scores.gold)
        excess = scores.gold_right - scores.gold
        if self.known.method == BY_POOL:
            inside = (scores.pool_right - scores.pool)[answered]
            inside = inside[np.isfinite(inside)]
            outside = excess[gold & self.known.gold & (not self.known.inside)]
            return completed_mean(pool, inside, outside, self.level, least)
        weight = None if self.gold_weight is None else self.gold_weight[gold]
        return corrected_mean(
            *(pool, scores.gold[gold], scores.gold_right[gold], self.level, least), weight
        )
