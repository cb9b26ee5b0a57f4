"""Choose the rows that a person should label next: unsure by the posterior, and of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.errors import rows as name_rows
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_feature_block, check_generator, check_proba

# Doubt about rows that seem sure, so that a pool without any doubt still has a choice.
LEAST_DOUBT = 0.01
MOST_ROWS = 10_000  # about five seconds of one core
SHARPNESS = 4.0  # a row of cosine .8 represents less than half of another
BATCH = 64  # rows whose gain is computed at once


@dataclass(frozen=True, eq=False)
class Choice:
    """Rows to label, the most useful first.

    Attributes
    ----------
    rows : int array (n,)
    doubt : array (n,)
        Chance in [0, 1] that the posterior's guess is wrong; of values its standard error.
    similar : int array (n,)
        Rows of the pool that each stands for, itself included.
    """

    rows: IntArray
    doubt: FloatArray
    similar: IntArray


def choose_rows(
    strong_features: Any,
    proba: FloatArray,
    n: int,
    *,
    max_rows: int = MOST_ROWS,
    random_state: RandomState = None,
) -> Choice:
    r"""Choose n rows whose labels should improve a student of gold and weak labels most.

    .. math:: \max_S \sum_i w_i \max_{j \in S} e^{4 (\cos(x_i, x_j) - 1)}, \quad
              w_i = 1 - \max_c q_i(c)

    The cosine is of standardised strong features, the sum goes over rows of the same guessed class.
    Rows join the set S one by one where they add most (facility location; Lin and Bilmes, *A class
    of submodular functions for document summarization*, 2011): those that the posterior doubts as
    it does many rows like them. A class gets half of the budget by its number of rows and half by
    its weight, so at least half of what random rows would give it. Rows come in the order of what
    they add, so that a person may stop anywhere.

    Parameters
    ----------
    strong_features : array (N, D), memory map or FeatureStore
        Features of the pool; if it is larger, only a sample of `max_rows` rows is read.
    proba : array (N, C)
        Posterior of the pool.
    n : int
        Rows to choose.
    max_rows : int
        From a larger pool, so many are drawn with chances proportional to w; the time grows with
        their square.
    random_state : int, Generator or None
        Controls that draw; nothing else is random.

    Raises
    ------
    InputError
        If there are fewer rows than n, or probabilities and features disagree.

    Notes
    -----
    The rows chosen are no random sample of the pool: an accuracy that is measured on them is not
    the accuracy on the pool.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong = rng.normal(size=(500, 8))
    >>> second = 1 / (1 + np.exp(-3 * strong[:, 0]))
    >>> choice = choose_rows(strong, np.c_[1 - second, second], 20)
    >>> bool(choice.doubt.mean() > 1.5 * np.minimum(second, 1 - second).mean())
    True
    """
    matrix = as_feature_matrix(strong_features, "strong_features")
    proba = check_proba(proba, "proba")
    _check_choice(matrix, proba, n, "proba")
    doubt = 1 - proba.max(axis=1)
    weights = np.maximum(doubt, LEAST_DOUBT)
    return _choose(matrix, doubt, weights, proba.argmax(axis=1), n, max_rows, random_state)


def choose_uncertain(
    strong_features: Any,
    errors: FloatArray,
    n: int,
    *,
    max_rows: int = MOST_ROWS,
    random_state: RandomState = None,
) -> Choice:
    """Choose n rows whose values should improve a student most, as `choose_rows` does for classes.

    The weight of a row is its expected squared error, the square of the posterior's standard error
    (N,); `doubt` is that error. There are no classes to share the budget.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong = rng.normal(size=(500, 8))
    >>> errors = np.exp(strong[:, 0])
    >>> choice = choose_uncertain(strong, errors, 20)
    >>> bool(choice.doubt.mean() > 1.5 * errors.mean())
    True
    """
    matrix = as_feature_matrix(strong_features, "strong_features")
    errors = np.asarray(errors, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(errors) & (errors >= 0)))
    if len(bad):
        raise InputError(f"errors must be finite and >= 0; they are not in {name_rows(bad)}")
    _check_choice(matrix, errors, n, "errors")
    squares = errors**2
    usual = float(squares.mean()) or 1.0
    weights = np.maximum(squares / usual, LEAST_DOUBT)
    one = np.zeros(len(errors), dtype=np.int64)
    return _choose(matrix, errors, weights, one, n, max_rows, random_state)


def _check_choice(matrix: FeatureMatrix, given: FloatArray, n: int, name: str) -> None:
    if len(given) != matrix.shape[0]:
        raise InputError(
            f"row counts disagree: strong_features has {matrix.shape[0]} rows, {name} {len(given)}"
        )
    if not isinstance(n, int | np.integer) or not 1 <= n <= len(given):
        raise InputError(f"n must be a whole number from 1 to the {len(given)} rows; got {n!r}")


def _choose(
    matrix: FeatureMatrix,
    doubt: FloatArray,
    weights: FloatArray,
    kinds: IntArray,
    n: int,
    max_rows: int,
    random_state: RandomState,
) -> Choice:
    """Choose n rows of these weights, which represent rows of their kind (N,)."""
    rng = check_generator(random_state)
    rows, stands_for = np.arange(len(weights)), 1.0
    if len(rows) > max(max_rows, n):
        rows = np.sort(rng.choice(rows, max(max_rows, n), replace=False, p=weights / weights.sum()))
        stands_for = len(weights) / len(rows)
    # A row that was drawn by its weight has used it.
    weights = weights[rows] if stands_for == 1 else np.ones(len(rows))
    block = matrix.take(rows)
    check_feature_block(block, rows, "strong_features", nonzero=False)
    points = _directions(block)
    chosen, size = _representatives(points, weights, kinds[rows], n)
    picked = rows[chosen]
    similar = np.maximum(1, np.round(size * stands_for)).astype(np.int64)
    return Choice(picked, doubt[picked], similar)


def _directions(strong: FloatArray) -> FloatArray:
    """Standardise the columns, and give every row length one."""
    centred = strong - strong.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = centred / np.where(spread > 0, spread, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=np.float32)


def _representatives(
    points: FloatArray, weights: FloatArray, classes: IntArray, n: int
) -> tuple[IntArray, FloatArray]:
    """Return n rows, the most useful first, and how many rows each represents."""
    first, copy_of = _distinct(points)
    mass = np.bincount(copy_of, weights, len(first))
    count = np.bincount(copy_of, np.ones(len(points)), len(first))
    parts = []
    for code, quota in _quotas(mass, count, classes[first], min(n, len(first))).items():
        own = np.flatnonzero(classes[first] == code)
        chosen, gains, nearest = _cover(points[first[own]], mass[own], quota)
        parts.append((first[own[chosen]], gains, np.bincount(nearest, count[own], quota)))
    rows, gains, sizes = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(-gains, kind="stable")
    # Where there are fewer different rows than the budget, copies of chosen ones.
    left = np.setdiff1d(np.arange(len(points)), rows)
    spare = left[np.argsort(-weights[left], kind="stable")][: n - len(rows)]
    return np.append(rows[order], spare), np.append(sizes[order], np.ones(len(spare)))


def _cover(points: FloatArray, weights: AnyArray, n: int) -> tuple[IntArray, AnyArray, IntArray]:
    """Choose n of different points; return them, what each added, and the nearest one by point."""
    covered, nearest = np.zeros(len(points)), np.zeros(len(points), dtype=np.int64)
    chosen: list[int] = []
    added: list[float] = []
    # A gain only falls as others are chosen, so an old one is a bound.
    bounds = np.full(len(points), np.inf)
    while len(chosen) < n:
        leaders = np.argsort(-bounds, kind="stable")[:BATCH]
        similar = np.exp(SHARPNESS * (points[leaders] @ points.T - 1))
        bounds[leaders] = np.maximum(similar - covered, 0) @ weights
        bounds[chosen] = -np.inf
        best = int(bounds[leaders].argmax())
        row, gain = int(leaders[best]), float(bounds[leaders[best]])
        # Rows with a higher bound come first; ties that rounding breaks would go round in circles.
        if gain < (1 - 1e-6) * bounds.max():
            continue
        nearest[similar[best] > covered] = len(chosen)
        covered = np.maximum(covered, similar[best])
        chosen.append(row)
        added.append(gain)
    return np.array(chosen), np.array(added), nearest


def _distinct(points: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the first row of each set of equal rows, and the number of that set by row."""
    numbers: dict[bytes, int] = {}
    copy_of = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in points])
    return np.unique(copy_of, return_index=True)[1], copy_of


def _quotas(mass: AnyArray, count: AnyArray, classes: IntArray, n: int) -> dict[int, int]:
    """Divide n rows among the guessed classes: half by number of rows, half by weight."""
    codes, inverse = np.unique(classes, return_inverse=True)
    available = np.bincount(inverse)
    by_count = np.bincount(inverse, count) / count.sum()
    by_mass = np.bincount(inverse, mass) / mass.sum()
    wanted = n * (by_count + by_mass) / 2
    quotas = np.minimum(np.floor(wanted).astype(np.int64), available)
    while quotas.sum() < n:  # the largest remainder first
        short = np.where(quotas < available, wanted - quotas, -np.inf)
        quotas[short.argmax()] += 1
    return {int(code): int(quota) for code, quota in zip(codes, quotas, strict=True) if quota}
