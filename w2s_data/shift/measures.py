"""How far two sides lie apart: significance, AUC, share of unexplained rows, density ratios."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm, rankdata

from w2s_data.features.matrix import row_blocks
from w2s_data.shift.classifier import Sides, discriminants, excess_of_cells, root_deviance
from w2s_data.shift.structure import Placed
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.threads import for_each
from w2s_data.utils.typing import BoolArray, FloatArray

# With so few permutations beyond the observed value, their own share says little about the tail.
FEWEST_BEYOND = 10
TAIL = 0.2  # of the permutations, from which the tail is learned
LEAST_PART = 0.01  # of all rows that a region of unexplained rows has
RANKED_BYTES = 2**19  # of columns of scores that are ranked at a time
# Largest part of the reference in that region; the share is measured by the rest.
MOST_REFERENCE = 0.5


def significance(
    placed: Placed, sides: Sides, n_permutations: int, rng: np.random.Generator
) -> float:
    """Return the p-value of the hypothesis that the sides of rows were drawn by lot.

    The statistic is the largest of several surprises, minus the logarithm of a normal p-value each:
    held-out AUC of the discriminants, and the most uneven cell of each scale.
    """
    columns = np.column_stack([sides.other.astype(np.float32), sides.permuted(n_permutations, rng)])
    scores = discriminants(placed.points, columns, sides.folds)
    aucs = np.array([_auc_of_columns(score, columns) for score in scores])
    null = aucs[:, 1:]
    spread = np.maximum(null.std(axis=1, keepdims=True), 1e-9)
    surprises = -norm.logsf((aucs - null.mean(axis=1, keepdims=True)) / spread)
    excess, n_cells = excess_of_cells(placed, columns)
    of_cells = -norm.logsf(excess) - np.log(2 * n_cells)
    largest = np.vstack([surprises, np.maximum(of_cells, 0)]).max(axis=0)
    return tail_probability(float(largest[0]), largest[1:])


def tail_probability(observed: float, permuted: FloatArray) -> float:
    """Return the chance of a surprise at least as large, from those of permutations.

    Beyond nearly all of them an exponential tail, that of minus the logarithm of a p-value, takes
    the place of counting, so that a correction for many tests needs no more permutations. After
    Winkler et al., *Faster permutation inference in brain imaging*, NeuroImage 2016.

    >>> permuted = np.random.default_rng(0).exponential(size=500)
    >>> [round(tail_probability(surprise, permuted), 4) for surprise in (1.0, 7.0)]
    [0.4152, 0.001]
    """
    beyond = int((permuted >= observed - 1e-9).sum())
    start = np.quantile(permuted, 1 - TAIL)
    excess = permuted[permuted > start] - start
    if beyond >= FEWEST_BEYOND or not len(excess):
        return (1 + beyond) / (1 + len(permuted))
    return float(len(excess) / len(permuted) * np.exp(-(observed - start) / excess.mean()))


def holm(p_values: FloatArray) -> FloatArray:
    """Return p-values corrected for their number; the chance of any false alarm is below each.

    >>> holm(np.array([0.01, 0.5, 0.02])).round(2).tolist()
    [0.03, 0.5, 0.04]
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * factors))
    return corrected


def auc_estimate(scores: FloatArray, other: BoolArray, level: float) -> Estimate:
    """Return the AUC of scores for the other side, in [0, 1], with DeLong's interval.

    >>> scores, other = np.arange(8.0), np.arange(8) >= 4
    >>> auc_estimate(np.r_[scores, scores + 0.5], np.r_[other, other], 0.95)
    Estimate(1, 0.6877 to 1)
    """
    ranks = rankdata(scores)
    n, m = int(other.sum()), int((~other).sum())
    # For each row the share of the other side that it is above, or below.
    above = (ranks[other] - rankdata(scores[other])) / m
    below = 1 - (ranks[~other] - rankdata(scores[~other])) / n
    auc = float(above.mean())
    half = float(norm.ppf((1 + level) / 2) * np.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m))
    # Sides without overlap have no spread: as far as one more row of the smaller one could be off.
    half = max(half, (1 - (1 - level) ** (1 / min(n, m))) * (auc in (0.0, 1.0)))
    return Estimate(auc, max(0.0, auc - half), min(1.0, auc + half), level)


def unexplained_share(
    candidates: FloatArray, sides: Sides, level: float, *, of_other: bool = True
) -> Estimate:
    r"""Return the share of a side that mixing in rows of the other side cannot explain, at least.

    .. math:: 1 - (1 - P_{other}(A)) / (1 - P_{reference}(A))

    with A the rows above the threshold that parts the sides most significantly. Score (one of
    `candidates` (S, n)) and threshold are chosen without the fold in which they are counted, so
    that the share is not flattered by the choice; it may fall below 0 by chance and is cut there.
    Blanchard, Lee, Scott, *Semi-supervised novelty detection*, JMLR 2010.
    """
    inside = sides.other if of_other else ~sides.other
    above = np.zeros(len(inside), dtype=bool)
    scores = candidates if of_other else -candidates
    for fold in np.unique(sides.folds):
        train, held_out = sides.folds != fold, sides.folds == fold
        if not inside[train].any() or inside[train].all():
            continue
        cuts = [_best_cut(score[train], inside[train]) for score in scores]
        best = int(np.argmax([excess for excess, _ in cuts]))
        above[held_out] = scores[best][held_out] > cuts[best][1]
    n, m = int(inside.sum()), int((~inside).sum())
    return _mixture_share(int((above & inside).sum()), n, int((above & ~inside).sum()), m, level)


def _best_cut(scores: FloatArray, inside: BoolArray) -> tuple[float, float]:
    """Return the largest root deviance of a region above a threshold, and the threshold."""
    order = np.argsort(-scores, kind="stable")
    counts = np.cumsum(inside[order]).astype(np.float64)
    totals = np.arange(1.0, len(scores) + 1)
    share = counts[-1] / totals[-1]
    excess = root_deviance(counts, totals, np.full(len(counts), share))
    # Equal scores stay on one side of a threshold.
    ordered = scores[order]
    is_last = np.append(ordered[1:] < ordered[:-1], False)
    least = max(5, int(LEAST_PART * len(scores)))
    reference_above = (totals - counts) / (totals[-1] - counts[-1])
    usable = is_last & (counts / totals > share) & (totals >= least)
    usable &= reference_above <= MOST_REFERENCE
    if not usable.any():
        return 0.0, np.inf
    k = int(np.where(usable, excess, -1).argmax())
    return float(excess[k]), float((ordered[k] + ordered[k + 1]) / 2)


def _mixture_share(above: int, n: int, reference_above: int, m: int, level: float) -> Estimate:
    """Return the unexplained share of n rows, with Katz's interval of a ratio of two shares."""
    if above == 0:
        return Estimate(0.0, 0.0, 1 - (1 - level) ** (1 / n), level)
    below, reference_below = n - above + 0.5, m - reference_above + 0.5
    ratio = (below / (n + 0.5)) / (reference_below / (m + 0.5))
    error = np.sqrt(1 / below - 1 / (n + 0.5) + 1 / reference_below - 1 / (m + 0.5))
    factor = np.exp(norm.ppf((1 + level) / 2) * error)
    value, low, high = (1 - ratio * f for f in (1, factor, 1 / factor))
    return Estimate(max(0.0, value), max(0.0, low), max(0.0, high), level)


def _auc_of_columns(scores: FloatArray, sides: FloatArray) -> FloatArray:
    """Return the AUC (B,) of each column of scores (n, B) for sides (n, B), 1 or 0.

    >>> _auc_of_columns(np.array([[1.0], [2.0], [2.0]]), np.array([[0.0], [0.0], [1.0]]))
    array([0.75])
    """
    sums = np.empty(scores.shape[1])

    def add_ranks(part: slice) -> None:
        own, inside = (np.ascontiguousarray(a[:, part].T) for a in (scores, sides))
        order = own.argsort(axis=1)
        ordered = np.take_along_axis(own, order, axis=1)
        inside = np.take_along_axis(inside, order, axis=1)
        # Runs of equal scores, most of one row, share the mean of their ranks.
        is_first = np.ones(own.shape, dtype=bool)
        np.not_equal(ordered[:, 1:], ordered[:, :-1], out=is_first[:, 1:])
        first = np.flatnonzero(is_first)
        column = np.repeat(np.arange(len(own)), is_first.sum(axis=1))
        rank = first - column * own.shape[1]
        mean_rank = rank + (np.diff(first, append=own.size) + 1) / 2
        counts = np.add.reduceat(inside.ravel(), first)
        sums[part] = np.bincount(column, counts * mean_rank, minlength=len(own))

    for_each(add_ranks, row_blocks(scores.T.shape, RANKED_BYTES))
    n = sides.sum(axis=0, dtype=np.float64)
    m = len(sides) - n
    return np.asarray((sums - n * (n + 1) / 2) / (n * m))
