r"""Log-linear pool: several class probabilities of a row joined into one.

.. math:: \log q(c) = b_c + \sum_v a_v \log p_v(c) - \log Z

Unlike a mean, a product of powers lets a view that is sure overrule views that are not, and a
uniform row of a view, such as an abstention, drops out of it by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from w2s_data.utils.threads import threads_for
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

# Probability inside a logarithm: hard labels hold zeros, and one wrong certainty must not outweigh
# everything that the other views say.
FLOOR = 1e-4
# Below it a pool of views is fitted to noise: equal weights do better.
FEWEST_GOLD = 20


@dataclass(frozen=True)
class LogLinearPool:
    """Weights a (V,) >= 0 of the views, and offsets b (C,) of the classes."""

    weights: FloatArray
    offsets: FloatArray

    def proba(self, views: FloatArray) -> FloatArray:
        """Join views (V, N, C) into probabilities (N, C).

        >>> pool = LogLinearPool(np.array([1.0, 1.0]), np.zeros(2))
        >>> pool.proba(np.array([[[0.9, 0.1]], [[0.5, 0.5]]])).round(3)
        array([[0.9, 0.1]])
        """
        logits = np.tile(self.offsets, (views.shape[1], 1))
        for weight, view in zip(self.weights, views, strict=True):
            logits += weight * log_views(view)
        return np.asarray(softmax(logits, axis=1))

    def spread(self, fitted: BoolArray) -> LogLinearPool:
        """Return the pool for more views, of which the `fitted` ones have a weight.

        A view that is silent everywhere must take no share of the weight from the others.
        """
        weights = np.zeros(len(fitted))
        weights[fitted] = self.weights
        return replace(self, weights=weights)


def log_views(views: FloatArray) -> FloatArray:
    """Return logarithms of probabilities, those below the floor raised to it."""
    return np.log(np.maximum(views, FLOOR, dtype=np.float64))


def with_shares(proba: FloatArray, ratio: FloatArray) -> FloatArray:
    """Return probabilities (..., C) for class shares that are `ratio` (C,) times as large.

    >>> with_shares(np.array([[0.5, 0.5]]), np.array([0.5, 1.5])).tolist()
    [[0.25, 0.75]]
    """
    weighted = proba * ratio
    return np.asarray(weighted / weighted.sum(axis=-1, keepdims=True))


def few_gold(codes: IntArray) -> bool:
    """Return whether gold rows are too few to weight views, or all of one class."""
    return len(codes) < FEWEST_GOLD or len(np.unique(codes)) < 2


def join_views(
    views: FloatArray,
    codes: IntArray,
    *,
    equal: bool | None = None,
    offsets: bool = True,
    weight: float = 1.0,
) -> LogLinearPool:
    """Fit a log-linear pool; its weights are equal where gold rows are few, unless `equal` says."""
    if few_gold(codes) if equal is None else equal:
        return fit_equal_pool(views, codes, weight=weight)
    return fit_pool(views, codes, offsets=offsets, weight=weight)


def fit_equal_pool(views: FloatArray, codes: IntArray, *, weight: float = 1.0) -> LogLinearPool:
    r"""Fit a log-linear pool of equal weights s/V without offsets, for very few gold rows.

    Only the sharpness s >= 0 is learned, with penalty (s - 1)^2: products of views that repeat one
    another are too sure, those of independent views not sure enough.
    """
    n_views, n_classes = len(views), views.shape[2]
    # The views as a single one, whose weight is s.
    joined = np.exp(log_views(views).mean(axis=0))[None]
    sharpness = fit_pool(joined, codes, offsets=False, weight=weight).weights[0]
    return LogLinearPool(np.full(n_views, sharpness / n_views), np.zeros(n_classes))


def fit_pool(
    views: FloatArray,
    codes: IntArray,
    *,
    offsets: bool = True,
    weight: float = 1.0,
    row_weight: FloatArray | None = None,
) -> LogLinearPool:
    r"""Fit a log-linear pool on gold rows.

    .. math:: \min_{a \ge 0,\, b} -w \sum_i \log q_i(y_i) + \sum_v (a_v - 1/V)^2 + \sum_c b_c^2

    V + C numbers with a prior of equal weights, so that 50 gold rows and ten classes are enough.
    The problem is convex.

    Parameters
    ----------
    views : float array (V, n, C)
        Class probabilities of the gold rows by each view, held out where it learned from them.
    codes : int array (n,)
        Gold classes.
    offsets : bool
        False keeps b at 0, as the two orders of a pair require.
    weight : float
        w, 1 / R where each gold row comes R times, held out in several ways.
    row_weight : float array (n,), optional
        Weight of each row in the sum, by default 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = rng.integers(2, size=400)
    >>> good = np.where(np.eye(2)[codes] > 0, 0.8, 0.2)
    >>> noise = rng.dirichlet([1, 1], size=400)
    >>> weights = fit_pool(np.stack([good, noise]), codes).weights
    >>> bool(weights[1] < 0.1 < 1 < weights[0])
    True
    """
    logs = log_views(views)
    n_views, n, n_classes = logs.shape
    targets = np.eye(n_classes)[codes]
    by_row = weight * (np.ones(n) if row_weight is None else row_weight)
    # A bootstrap asks hundreds of times for a hundred rows: what does not change is laid out once.
    flat, of_code = logs.reshape(n_views, -1), (np.arange(n), codes)

    def objective(at: FloatArray) -> tuple[float, FloatArray]:
        weights, shift = at[:n_views], at[n_views:]
        logits = (weights @ flat).reshape(n, n_classes) + shift
        logits -= logits.max(axis=1, keepdims=True)
        proba = np.exp(logits)
        total = proba.sum(axis=1)
        loss = by_row @ (np.log(total) - logits[of_code])
        excess = by_row[:, None] * (proba / total[:, None] - targets)
        above = weights - 1 / n_views
        slopes = [flat @ excess.ravel() + 2 * above, excess.sum(axis=0) + 2 * shift]
        return float(loss + above @ above + shift @ shift), np.concatenate(slopes)

    start = np.concatenate([np.full(n_views, 1 / n_views), np.zeros(n_classes)])
    # That a class has no gold row may be due to how they were drawn: no reason to rule it out.
    free = offsets & (targets.sum(axis=0) > 0)
    limits = [(0.0, None)] * n_views + [(None, None) if f else (0.0, 0.0) for f in free]
    with threads_for(flat.size):
        found = minimize(objective, start, jac=True, bounds=limits, method="L-BFGS-B").x
    return LogLinearPool(found[:n_views], found[n_views:])
