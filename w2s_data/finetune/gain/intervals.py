r"""Intervals of numbers with two sources of uncertainty: the test items and the seeds.

A `Score` holds a number for each seed and each bootstrap resample of the test items. Scores that
were measured on the same items and seeds can be subtracted, so that differences are paired.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from w2s_data.utils.intervals import Estimate, fieller_interval, tails, welch_quantile
from w2s_data.utils.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class Score:
    """A number for each seed, and its replicates on other test items."""

    point: FloatArray  # (S,)
    replicates: FloatArray  # (S, B), in bootstrap resamples that are the same for all scores
    n: int  # test items
    # Least difference that a single item makes, here of an accuracy.
    grain: float = 1.0

    def __sub__(self, other: Score) -> Score:
        # By broadcasting, a score of one seed (a teacher) is compared with every seed.
        points, replicates = self.point - other.point, self.replicates - other.replicates
        return Score(points, replicates, self.n, self.grain)

    @property
    def complement(self) -> Score:
        """One minus the score: the error of an accuracy."""
        return Score(1 - self.point, 1 - self.replicates, self.n, self.grain)

    def covariance(self, other: Score | None = None) -> tuple[float, float]:
        """Return the covariance (alone the variance) of means over seeds, by items and by seeds."""
        one, two = self, self if other is None else other
        items = _covariance(one.replicates.mean(axis=0), two.replicates.mean(axis=0))
        # The least variance is that of a single item: models that agree on every test item would
        # otherwise differ by exactly 0, with certainty.
        items += (self.grain / self.n) ** 2 if other is None else 0.0
        n_seeds = max(len(one.point), len(two.point))
        if n_seeds == 1:
            return items, 0.0
        points = (np.broadcast_to(score.point, (n_seeds,)) for score in (one, two))
        return items, _covariance(*points) / n_seeds


def _covariance(x: FloatArray, y: FloatArray) -> float:
    return float(((x - x.mean()) * (y - y.mean())).sum()) / (len(x) - 1)


@dataclass(frozen=True, repr=False)
class Measurement(Estimate):
    """A mean over seeds with its interval, for fresh test items and fresh seeds."""

    se_items: float = np.nan  # standard error due to the choice of test items
    se_seeds: float = np.nan  # and of seeds; NaN with one seed
    n_seeds: int = 0  # with one seed the interval is for fresh items only
    reason: str = ""  # why the value is NaN

    def __repr__(self) -> str:
        return f"Measurement(nan, {self.reason!r})" if self.reason else super().__repr__()


@dataclass(frozen=True)
class Comparison:
    """Accuracy of the first method minus the second, on the same items and seeds.

    The intervals of all comparisons hold together at the result's level (Bonferroni).
    """

    first: str
    second: str
    difference: Measurement


def joint_level(level: float, n: int) -> float:
    """Return the level at which each of n intervals is taken, so that all hold together at `level`.

    Bonferroni's: 1 - (1 - level) / n.
    """
    return 1 - (1 - level) / max(1, n)


def format_limits(estimate: Estimate, sign: str = "") -> str:
    """Return the limits of an interval in words.

    >>> format_limits(Estimate(0.01, -0.02, 0.04), "+")
    '-0.020 to +0.040'
    """
    return f"{estimate.low:{sign}.3f} to {estimate.high:{sign}.3f}"


def undefined(reason: str) -> Measurement:
    """Return NaN with its reason."""
    return Measurement(np.nan, reason=reason)


def measure(score: Score, level: float, limits: tuple[float, float] = (-1, 1)) -> Measurement:
    r"""Return the mean over seeds, with an interval for fresh items and fresh seeds.

    .. math:: \bar x \pm t_\nu \sqrt{v_{items} + v_{seeds}},\qquad
              v_{seeds} = \frac{1}{S(S-1)} \sum_s (x_s - \bar x)^2

    with v_items the bootstrap variance of the mean over seeds, and the degrees of freedom of
    Welch and Satterthwaite. The interaction of seeds and items is in both variances, so that the
    interval is, if anything, too wide.
    """
    value = float(score.point.mean())
    items, seeds = score.covariance()
    half = _quantile(items, seeds, score, level) * np.sqrt(items + seeds)
    n_seeds = len(score.point)
    return Measurement(
        value,
        max(limits[0], value - half),
        min(limits[1], value + half),
        level,
        float(np.sqrt(items)),
        float(np.sqrt(seeds)) if n_seeds > 1 else np.nan,
        n_seeds,
    )


def measure_ratio(above: Score, below: Score, level: float) -> Measurement:
    """Return the ratio of two means with Fieller's interval; `below` must be clearly above 0."""
    a, b = float(above.point.mean()), float(below.point.mean())
    v_aa, v_bb, v_ab = above.covariance(), below.covariance(), above.covariance(below)
    ratio = a / b
    # The delta method: the ratio's standard error is that of above - ratio * below, over below.
    items, seeds = (max(0.0, v_aa[k] - 2 * ratio * v_ab[k] + ratio**2 * v_bb[k]) for k in (0, 1))
    quantile = _quantile(*v_bb, below, level)
    n_seeds = max(len(above.point), len(below.point))
    return Measurement(
        ratio,
        *fieller_interval(a, b, (sum(v_aa), sum(v_ab), sum(v_bb)), quantile),
        level,
        float(np.sqrt(items) / b),
        float(np.sqrt(seeds) / b) if n_seeds > 1 else np.nan,
        n_seeds,
    )


def within_seed(score: Score, level: float) -> FloatArray:
    """Return percentile intervals (S, 2) of each seed's value over test items."""
    low, high = np.quantile(score.replicates, tails(level), axis=1)
    return np.column_stack([np.minimum(low, score.point), np.maximum(high, score.point)])


def rank_groups(differs: BoolArray) -> list[str]:
    """Assign letters to ranked items: two share a letter if and only if they do not differ.

    `differs` (M, M) is symmetric: whether two differ significantly. Insert and absorb of Piepho,
    *An algorithm for a letter-based representation of all-pairwise comparisons*, 2004.

    >>> differs = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], dtype=bool)
    >>> rank_groups(differs)  # the first and the third differ; the second could be either
    ['a', 'ab', 'b']
    """
    size = len(differs)
    columns = [frozenset(range(size))]
    for i, j in zip(*np.nonzero(np.triu(differs)), strict=True):
        split: list[frozenset[int]] = []
        for column in columns:
            split += [column - {i}, column - {j}] if {i, j} <= column else [column]
        # Absorb: a column inside another adds no pair that shares a letter.
        columns = [
            column
            for k, column in enumerate(split)
            if not any(column < other for other in split) and column not in split[:k]
        ]
    columns.sort(key=sorted)
    return [
        "".join(_letter(k) for k, column in enumerate(columns) if item in column)
        for item in range(size)
    ]


def _letter(number: int) -> str:
    # After z come (27), (28) ...: two letters in a row would read as two groups.
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"


def _quantile(items: float, seeds: float, score: Score, level: float) -> float:
    """Student's t quantile with the degrees of freedom of two independent variances."""
    freedoms = (max(1, score.n - 1), len(score.point) - 1)
    return welch_quantile((items, seeds), freedoms, level)
