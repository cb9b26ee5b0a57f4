r"""Domain classifier: which of two sides a row comes from, held out by folds.

Its scores are those of two ridge discriminants on principal components, and the share of the other
side in the row's cells. The discriminants see a shift of all rows; the cells see a few foreign rows
that lie together, which hardly move the means.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy

from w2s_data.shift.structure import Placed
from w2s_data.utils.threads import each_of, for_each
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

FOLDS = 5
# Penalties, relative to the largest eigenvalue. The large one is nearly the difference of the
# means, the small one finds a difference in directions of little variance.
RIDGES = (0.3, 0.003)
PRIOR_ROWS = 2.0  # of a cell, divided between the sides as all rows are


@dataclass(frozen=True)
class Sides:
    """Rows of two sides, in folds that hold both sides in equal parts."""

    other: BoolArray  # (n,), True for rows of the other side, False for the reference
    folds: IntArray  # (n,)

    @classmethod
    def of(cls, n_reference: int, n_other: int, rng: np.random.Generator) -> Sides:
        """Divide rows, those of the reference first, into folds at random."""
        parts = [rng.permutation(n) % FOLDS for n in (n_reference, n_other)]
        return cls(np.arange(n_reference + n_other) >= n_reference, np.concatenate(parts))

    def permuted(self, times: int, rng: np.random.Generator) -> FloatArray:
        """Return the sides (n, times) as numbers, permuted within each fold."""
        sides = np.empty((len(self.other), times), dtype=np.float32)
        for fold in range(FOLDS):
            rows = np.flatnonzero(self.folds == fold)
            own = np.tile(self.other[rows].astype(np.float32)[:, None], times)
            sides[rows] = rng.permuted(own, axis=0)
        return sides


def discriminants(points: FloatArray, sides: FloatArray, folds: IntArray) -> FloatArray:
    """Return held-out scores (ridges, n, B) of ridge regressions of B columns of sides (n, B).

    A ridge regression is linear in its targets, so that a thousand permutations of the sides cost
    little more than the sides themselves.
    """
    scores = np.zeros((len(RIDGES), *sides.shape), dtype=np.float32)

    def hold_out(fold: int) -> None:
        train, held_out = folds != fold, folds == fold
        if not train.any() or not held_out.any():
            return
        mean, *found = slopes(points[train], sides[train])
        for score, direction in zip(scores, found, strict=True):
            score[held_out] = (points[held_out] - mean) @ direction

    for_each(hold_out, range(FOLDS))
    return scores


def slopes(points: FloatArray, sides: FloatArray) -> list[FloatArray]:
    """Return the mean (K,) of the points, and the coefficients (K, B) of each ridge."""
    mean: FloatArray = points.mean(axis=0)
    centred = points - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    slope = vectors.T @ (centred.T @ (sides - sides.mean(axis=0)))
    largest = max(float(values[-1]), np.finfo(np.float64).tiny)
    shrunk = (vectors @ (slope / (np.maximum(values, 0) + r * largest)[:, None]) for r in RIDGES)
    return [mean, *shrunk]


def cell_scores(cells: IntArray, other: BoolArray, folds: IntArray) -> FloatArray:
    """Return held-out log odds (n,) of the other side in the cells of a row, over those of all."""
    if not cells.shape[1]:
        return np.zeros(len(cells))
    scores = np.zeros(len(cells))
    for fold in range(FOLDS):
        train, held_out = folds != fold, folds == fold
        for scale in cells.T:
            odds = cell_odds(scale[train], other[train], scale.max() + 1)
            scores[held_out] += odds[scale[held_out]]
    return np.asarray(scores / cells.shape[1])


def cell_odds(cells: IntArray, other: BoolArray, n_cells: int) -> FloatArray:
    """Return the log odds (k,) of the other side in each cell, over those of all rows."""
    share = other.mean()
    in_other = np.bincount(cells[other], minlength=n_cells) + PRIOR_ROWS * share
    in_reference = np.bincount(cells[~other], minlength=n_cells) + PRIOR_ROWS * (1 - share)
    return np.asarray(np.log(in_other / in_reference) - np.log(share / (1 - share)))


def root_deviance(successes: FloatArray, totals: FloatArray, share: FloatArray) -> FloatArray:
    """Return how many standard errors counts lie from those expected of a share, by likelihood."""
    expected = totals * share
    parts = xlogy(successes, successes / np.where(successes > 0, expected, 1))
    failures = totals - successes
    parts += xlogy(failures, failures / np.where(failures > 0, totals - expected, 1))
    return np.asarray(np.sqrt(np.maximum(2 * parts, 0)))


def excess_of_cells(placed: Placed, sides: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the largest root deviance (S, B) of a cell at each scale, and the cells (S, 1)."""
    share = sides.mean(axis=0)

    def excess(scale: IntArray) -> FloatArray:
        members = np.eye(int(scale.max()) + 1, dtype=np.float32)[scale]
        counts = (members.T @ sides).astype(np.float64)
        deviance = root_deviance(counts, members.sum(axis=0)[:, None], share)
        return np.asarray(deviance.max(axis=0))

    found = each_of(excess, list(placed.cells.T))
    n_cells = [scale.max() + 1 for scale in placed.cells.T]
    shape = len(found), sides.shape[1]
    return np.array(found).reshape(shape), np.array(n_cells, dtype=np.float64).reshape(-1, 1)
