"""Rows to look at: the most typical shifted ones, and those most like the reference."""

from __future__ import annotations

import numpy as np

from w2s_data.shift.structure import CELL_COMPONENTS, MOST_ROUNDS, Placed
from w2s_data.utils.threads import serial
from w2s_data.utils.typing import FloatArray, IntArray

TYPICAL = 8  # rows, which fit on a screen
LEAST_TAIL = 0.05  # of a set, from which typical rows are taken


def typical_rows(placed: Placed, log_ratio: FloatArray, share: float, seed: int) -> IntArray:
    """Return rows from the middle of what is shifted, those of the largest kind first.

    The rows with the highest ratios are outliers; those nearest to the centres of k-means among
    the shifted rows show what kinds there are.
    """
    from sklearn.cluster import KMeans

    n = max(min(TYPICAL, len(log_ratio)), round(max(share, LEAST_TAIL) * len(log_ratio)))
    shifted = np.argsort(-log_ratio, kind="stable")[:n]
    near = placed.points[shifted, :CELL_COMPONENTS]
    n_kinds = min(TYPICAL, len(np.unique(near, axis=0)))
    with serial():
        kinds = KMeans(n_kinds, n_init=1, max_iter=MOST_ROUNDS, random_state=seed).fit(near)
    distance = kinds.transform(near)
    sizes = np.bincount(kinds.labels_, minlength=n_kinds)
    order = np.argsort(-sizes, kind="stable")
    return np.asarray(shifted[distance.argmin(axis=0)[order]])


def nearest_rows(log_ratio: FloatArray) -> IntArray:
    """Return the rows that are most like the reference, the nearest first."""
    return np.asarray(np.argsort(log_ratio, kind="stable")[:TYPICAL])
