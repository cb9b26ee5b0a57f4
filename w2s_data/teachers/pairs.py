"""Pairs of teachers: how often they agree, and whether they err together given the class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from w2s_data.utils.intervals import Estimate, percentile_interval
from w2s_data.utils.typing import FloatArray, IntArray

RESAMPLES = 500  # enough for limits of a correlation to two digits
FEWEST = 20  # gold rows on which both vote, below which a correlation is mostly noise


@dataclass(frozen=True)
class Pair:
    """Two teachers side by side."""

    first: str
    second: str
    n: int  # rows on which both vote
    agreement: float  # share of them with the same class, in [0, 1]; NaN where there are none
    copies: bool  # the same vote, or silence, on every row
    n_gold: int  # gold rows on which both vote
    dependence: Estimate  # correlation of their errors within classes, in [-1, 1]; 0 if independent
    p_value: float  # of independence given the class (Cochran, Mantel, Haenszel); NaN if unknown

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return vars(self) | {"dependence": self.dependence.to_dict()}


def compare_teachers(
    said: IntArray,
    gold: IntArray,
    labels: IntArray,
    names: Sequence[str],
    strata: IntArray | None = None,
    *,
    level: float,
    seed: int,
) -> list[Pair]:
    """Compare every two teachers by their votes.

    Parameters
    ----------
    said : int array (N, M)
        Votes of all rows, -1 for silence.
    gold : int array (n, M)
        Held-out votes of the gold rows.
    labels : int array (n,)
        Gold classes.
    strata : int array (n,), optional
        Within which errors are compared; by default the classes.
    seed : int
        Seed of the resamples, the same for all pairs: another teacher changes nothing in them.
    """
    within = np.unique(labels if strata is None else strata, return_inverse=True)[1]
    pairs = []
    for a, b in combinations(range(said.shape[1]), 2):
        both = (said[:, a] >= 0) & (said[:, b] >= 0)
        same = said[:, a] == said[:, b]
        known = (gold[:, a] >= 0) & (gold[:, b] >= 0)
        table = _error_table(gold[known][:, [a, b]] != labels[known, None], within[known])
        dependence, p_value = _dependence(table, level, seed)
        pairs.append(
            Pair(
                *(names[a], names[b], int(both.sum())),
                agreement=float(same[both].mean()) if both.any() else np.nan,
                copies=bool(both.any() and same.all() and (gold[:, a] == gold[:, b]).all()),
                n_gold=int(known.sum()),
                dependence=dependence,
                p_value=p_value,
            )
        )
    return pairs


def _error_table(wrong: Any, strata: IntArray) -> IntArray:
    """Count rows (strata, 2, 2) by whether the first and the second teacher are wrong."""
    table = np.zeros((int(strata.max(initial=-1)) + 1, 2, 2), dtype=np.int64)
    np.add.at(table, (strata, wrong[:, 0].astype(int), wrong[:, 1].astype(int)), 1)
    return table


def _dependence(table: IntArray, level: float, seed: int) -> tuple[Estimate, float]:
    """Return the correlation within strata with its bootstrap interval, and the p-value of 0."""
    n = int(table.sum())
    value = float(within_correlation(table))
    if n < FEWEST or np.isnan(value):
        return Estimate(value if n >= FEWEST else np.nan, level=level), np.nan
    # Rows drawn again are cells drawn again, without the rows.
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, table.ravel() / n, size=RESAMPLES).reshape(-1, *table.shape)
    low, high = percentile_interval(within_correlation(drawn), value, level)
    return Estimate(value, low, high, level), independence_p_value(table)


def within_correlation(table: IntArray) -> FloatArray:
    """Return the correlation of two binary variables within strata, from counts (..., K, 2, 2).

    Covariances and variances are summed over the strata. NaN where a variable is constant in each.

    >>> float(within_correlation(np.array([[[40, 10], [10, 40]]])))
    0.6
    """
    above, left, right = _moments(table)
    spread = np.sqrt(left.sum(axis=-1) * right.sum(axis=-1))
    unknown = np.full_like(spread, np.nan)
    return np.asarray(np.divide(above.sum(axis=-1), spread, out=unknown, where=spread > 0))[()]


def independence_p_value(table: IntArray) -> float:
    """Return the p-value of independence within strata, from counts (K, 2, 2).

    The statistic of Cochran, Mantel and Haenszel without correction for continuity. Mantel,
    Haenszel, Journal of the National Cancer Institute 22, 1959.

    >>> round(independence_p_value(np.array([[[12, 8], [8, 12]], [[12, 8], [8, 12]]])), 3)
    0.077
    """
    from scipy.stats import chi2

    above, left, right = _moments(table)
    total = table.sum(axis=(1, 2))
    variance = (left * right)[total > 1] / (total - 1)[total > 1]
    if variance.sum() == 0:
        return np.nan
    return float(chi2.sf(above.sum() ** 2 / variance.sum(), df=1))


def _moments(table: IntArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return sums of products and of squares around the means, by stratum."""
    n = np.maximum(table.sum(axis=(-1, -2)), 1)
    first, second = table[..., 1, :].sum(axis=-1), table[..., :, 1].sum(axis=-1)
    above = table[..., 1, 1] - first * second / n
    return above, first - first**2 / n, second - second**2 / n
