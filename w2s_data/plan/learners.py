"""Learners that are quick enough to be trained hundreds of times on parts of the labels.

All are ridge regressions on standardised strong features, in closed form. They stand for the
probes that a run trains, whose levels differ a little from theirs, but hardly the slopes over
sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from w2s_data.forecast.posterior import kernel_posterior
from w2s_data.posterior.pooling import join_views
from w2s_data.utils.typing import FloatArray, IntArray

# Ridge penalty of students of the pool, in units of the mean variance of a feature. It is that of
# a logistic probe with l2 = .1, whose curvature is a quarter of that of a square.
STUDENT_L2 = 0.4
SMALLEST = 1e-3  # probability of a ridge student, whose scores may be negative


class PoolStudents:
    """Ridge students of the first rows of the pool, which share its matrices of products.

    `gold` (n, D) and `pool` (N, D) are standardised features.
    """

    def __init__(self, gold: FloatArray, pool: FloatArray) -> None:
        self.gold, self.pool = gold, pool
        self._products: dict[int, FloatArray] = {}
        self._solved: dict[int, tuple[Any, FloatArray]] = {}

    def of_pool(self, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Train on targets (N', C) of the first rows of the pool.

        Returns probabilities of all gold rows, and of these N', each without its own target.
        """
        size, level = len(targets), targets.mean(axis=0)
        own = self.pool[:size]
        if size not in self._solved:
            factor = cho_factor(self._regular(self._product(size), size))
            leverage = (own * cho_solve(factor, own.T).T).sum(axis=1) + 1 / size
            self._solved[size] = factor, leverage[:, None]
        factor, leverage = self._solved[size]
        coef = cho_solve(factor, own.T @ (targets - level))
        left_out = (own @ coef + level - leverage * targets) / (1 - leverage)
        return _distributions(self.gold @ coef + level), _distributions(left_out)

    def of_both(self, targets: FloatArray, rows: IntArray, known: FloatArray) -> FloatArray:
        """Train on targets (N', C) of the pool and labels (m, C) of gold rows; score gold rows."""
        size, own = len(targets), self.gold[rows]
        everything = np.concatenate([targets, known])
        level = everything.mean(axis=0)
        matrix = self._regular(self._product(size) + own.T @ own, size + len(rows))
        right = self.pool[:size].T @ (targets - level) + own.T @ (known - level)
        return np.asarray(self.gold @ cho_solve(cho_factor(matrix), right) + level)

    def _product(self, size: int) -> FloatArray:
        if size not in self._products:
            self._products[size] = self.pool[:size].T @ self.pool[:size]
        return self._products[size]

    def _regular(self, product: FloatArray, rows: int) -> FloatArray:
        return product + STUDENT_L2 * rows / len(product) * np.eye(len(product))


def gold_view(
    gold: FloatArray, pool: FloatArray, rows: IntArray, codes: IntArray, n_classes: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit kernel ridge on some gold rows; return class probabilities.

    They are for these rows, each left out (m, C), all gold rows (n, C), and the pool (N, C). A
    class without a row keeps the share of chance.
    """
    known, own = np.unique(codes[rows], return_inverse=True)
    others = np.concatenate([gold, pool])
    spread = [np.full((size, n_classes), 1 / n_classes) for size in (len(rows), len(others))]
    if len(known) > 1:
        fitted = kernel_posterior(gold[rows], own, others)
        for wide, proba in zip(spread, (fitted.labelled, fitted.pool), strict=True):
            wide[:, known] = proba * (len(known) / n_classes)
    left_out, everything = spread
    return left_out, everything[: len(gold)], everything[len(gold) :]


def joined(views: list[FloatArray], own: list[FloatArray], codes: IntArray) -> FloatArray:
    """Join views (N, C) of the pool with the weights that views (m, C) of gold rows give them."""
    return join_views(np.stack(own), codes).proba(np.stack(views))


def _distributions(scores: FloatArray) -> FloatArray:
    proba = np.clip(scores, SMALLEST, 1.0)
    return np.asarray(proba / proba.sum(axis=1, keepdims=True))
