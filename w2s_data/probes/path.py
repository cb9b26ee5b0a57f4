"""Held-out losses along a path of penalties, from strong to weak, as far as it is worth going."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from w2s_data.utils.typing import FloatArray

# The held-out loss has one minimum, and beyond it every step of the grid costs as much as all
# before: weaker penalties are not tried below the best by this many standard errors.
HOPELESS = 2.0


def follow(losses: Iterable[FloatArray]) -> tuple[list[FloatArray], int]:
    """Take losses of the same rows, penalty by penalty, up to a hopeless one; say which is least.

    >>> path = [[3.0, 4.0], [1.0, 2.0], [1.0, 2.5], [2.0, 3.0], [0.0, 0.0]]
    >>> tried, best = follow(np.array(loss) for loss in path)
    >>> len(tried), best
    (4, 1)
    """
    tried: list[FloatArray] = []
    best = 0
    for loss in losses:
        tried.append(loss)
        if loss.mean() < tried[best].mean():
            best = len(tried) - 1
        elif excess(loss, tried[best]) > HOPELESS:
            break
    return tried, best


def excess(loss: FloatArray, best: FloatArray) -> float:
    """Return by how many standard errors a mean loss exceeds the best, row by row.

    >>> round(excess(np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, 2.0])), 2)
    1.73
    >>> excess(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    inf
    """
    difference = loss - best
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(len(loss))
    if error == 0:
        return np.inf if mean > 0 else 0.0
    return float(mean / error)
