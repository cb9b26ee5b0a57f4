"""Error-aware groups: fine clusters of one class, merged unless the teacher's error differs.

In the spirit of George (Sohoni et al., *No Subclass Left Behind*, NeurIPS 2020), which clusters
each class finely because errors gather in subclasses that nobody named; here gold labels of some
rows say which clusters belong together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from w2s_data.groups.kmeans import kmeans
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

ROWS_PER_CELL = 50  # with fewer, the error rates of cells are mostly chance
MAX_CELLS = 32  # finer cells would hold few gold labels each


def error_groups(
    features: Any,
    wrong: BoolArray,
    known: BoolArray,
    n_groups: int | None,
    device: str,
    rng: np.random.Generator,
) -> IntArray:
    """Group the rows of one class by the teacher's error rate, 0 where it is lowest.

    Without `n_groups`, cells are merged as long as that shortens the description of the errors,
    which is their log-likelihood, half a log n for each rate, and the group of each cell. Without
    the last, sorting the cells by their error would turn chance into groups.
    """
    n = len(wrong)
    n_cells = max(1, min(MAX_CELLS, n // ROWS_PER_CELL))
    if n_cells == 1 or not known.any():
        return np.zeros(n, dtype=np.int64)
    cells = kmeans(features, n_cells, spherical=True, device=device, random_state=rng).codes
    total = np.bincount(cells[known], minlength=n_cells).astype(np.float64)
    errors = np.bincount(cells[known & wrong], minlength=n_cells).astype(np.float64)
    prior = errors.sum() / total.sum()
    # One pseudo-row at the mean rate, so that cells with few gold labels do not sort to the ends.
    order = np.argsort((errors + prior) / (total + 1), kind="stable")
    merged = _merged(errors[order], total[order], n_groups, _of_rates)
    return merged[np.argsort(order)][cells]


def square_groups(
    features: Any,
    squares: FloatArray,
    n_groups: int | None,
    device: str,
    rng: np.random.Generator,
) -> IntArray:
    """Group rows by the teacher's mean squared error, 0 where it is lowest; NaN is unknown.

    As `error_groups`, with the likelihood of normal errors around 0 of one variance per group.
    """
    n, known = len(squares), np.isfinite(squares)
    n_cells = max(1, min(MAX_CELLS, n // ROWS_PER_CELL))
    if n_cells == 1 or not (squares[known] > 0).any():
        return np.zeros(n, dtype=np.int64)
    cells = kmeans(features, n_cells, spherical=True, device=device, random_state=rng).codes
    total = np.bincount(cells[known], minlength=n_cells).astype(np.float64)
    sums = np.bincount(cells[known], squares[known], minlength=n_cells)
    mean = sums.sum() / total.sum()
    # The pseudo-row stays in the sums, since no likelihood bounds a variance of 0.
    sums, total = sums + mean, total + 1
    order = np.argsort(sums / total, kind="stable")
    merged = _merged(sums[order], total[order], n_groups, _of_variances)
    return merged[np.argsort(order)][cells]


def _of_rates(wrong: float, n: float) -> float:
    """Compute the log-likelihood of binomial errors at their common rate."""
    from scipy.special import xlogy

    return float(xlogy(wrong, wrong) + xlogy(n - wrong, n - wrong) - xlogy(n, n))


def _of_variances(squares: float, n: float) -> float:
    """Compute the log-likelihood of normal errors at their common variance, but for a constant."""
    return -n / 2 * math.log(squares / n)


def _merged(
    errors: FloatArray,
    total: FloatArray,
    n_groups: int | None,
    of_sums: Callable[[float, float], float],
) -> IntArray:
    """Merge neighbours in error rate whose rates differ least; return the group of each cell."""

    def likelihood(part: list[int]) -> float:
        return of_sums(float(errors[part].sum()), float(total[part].sum()))

    parts = [[cell] for cell in range(len(errors))]
    while len(parts) > (1 if n_groups is None else n_groups):
        losses = [
            likelihood(left) + likelihood(right) - likelihood(left + right)
            for left, right in itertools.pairwise(parts)
        ]
        best = int(np.argmin(losses))
        # Nats saved by naming one group fewer for every cell.
        fewer_names = len(errors) * math.log(len(parts) / (len(parts) - 1))
        if n_groups is None and losses[best] > math.log(total.sum()) / 2 + fewer_names:
            break
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])
