"""Kullback–Leibler divergence of Bernoulli distributions, and its upper confidence limit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.utils.typing import FloatArray

MAX_STEPS = 100  # a guard: 15 suffice, for any p from 1e-300 on
PRECISION = 1e-14  # of w, absolute and relative: near the rounding of doubles
MAX_DIVERGENCE = 1e6  # the limit is 1 in double precision far below
TINY = 1e-300  # the logarithm of the ratio to a smaller p would overflow


def bernoulli_kl(p: ArrayLike, q: ArrayLike) -> FloatArray:
    """Return kl(p, q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), elementwise.

    Infinite where q excludes p.

    >>> bernoulli_kl([0.5, 0.0, 1.0], [0.25, 0.5, 0.0]).round(4)
    array([0.1438, 0.6931,    inf])
    """
    from scipy.special import rel_entr

    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return np.asarray(rel_entr(p, q) + rel_entr(1 - p, 1 - q))


def kl_upper_limit(p: ArrayLike, divergence: ArrayLike) -> FloatArray:
    """Return the largest q with kl(p, q) <= divergence; p in [0, 1], divergence >= 0.

    Newton's method in w = log((1 - p) / (1 - q)), in which kl(p, .) is convex, increasing and
    nearly linear far from p. It starts above the root, so it falls monotonically onto it. The
    distance q - p is kept by itself, so that nothing cancels when q is close to p.

    >>> kl_upper_limit([0.0, 0.3, 1.0], 0.1).round(4)
    array([0.0952, 0.521 , 1.    ])
    """
    p = np.asarray(p, dtype=np.float64)
    divergence = np.minimum(np.asarray(divergence, dtype=np.float64), MAX_DIVERGENCE)
    certain = p >= 1
    low = np.where(certain, 0.5, p)  # any value inside; replaced at the end
    miss = 1 - low
    positive = low > TINY
    safe = np.where(positive, low, 1.0)
    # Two upper bounds of the root: kl >= 2 (q - p)^2, and kl >= (1 - p) w + p log p.
    pinsker = np.sqrt(divergence / 2)
    inside = pinsker < miss
    w = np.where(inside, -np.log1p(-np.where(inside, pinsker, 0.0) / miss), np.inf)
    w = np.minimum(w, (divergence - low * np.log(safe)) / miss)
    for _ in range(MAX_STEPS):
        beyond = -miss * np.expm1(-w)  # q - p
        ratio = np.where(positive, beyond, 0.0) / safe
        excess = miss * w - low * np.log1p(ratio) - divergence
        slope = np.where(positive, beyond / (low + beyond + (w == 0)), 1.0)
        step = np.where(w > 0, excess / np.where(slope > 0, slope, 1.0), 0.0)
        w = np.maximum(w - step, 0.0)
        if (np.abs(step) <= PRECISION + PRECISION * w).all():
            break
    return np.asarray(np.where(certain, 1.0, np.minimum(low - miss * np.expm1(-w), 1.0)))
