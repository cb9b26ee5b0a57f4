"""Choose the rows that a person should label next: unsure by the posterior, and of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_proba

# Of rows that the posterior is sure of, so that a pool without any doubt still has a choice.
LEAST_DOUBT = 0.01
MOST_ROUNDS = 25  # of k-means, which changes little after them
# A small budget takes the heaviest of so many clusters: the centre of a large cluster is no place
# of doubt. Unless they would have fewer rows than this on average.
FEWEST_CLUSTERS, FEWEST_MEMBERS = 100, 5


@dataclass(frozen=True, eq=False)
class Choice:
    """Rows to label, the most useful first.

    Attributes
    ----------
    rows : int array (n,)
    doubt : array (n,)
        Chance in [0, 1] that the posterior's guess is wrong.
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
    max_rows: int = 20_000,
    random_state: RandomState = None,
) -> Choice:
    r"""Choose n rows whose labels should improve a student of gold and weak labels most.

    .. math:: w_i = 1 - \max_c q_i(c)

    Rows of each guessed class are clustered by k-means with weights w on standardised strong
    features of length one, and the row nearest to each centre is chosen: one that the posterior
    doubts as it does many rows like it. There are n clusters, or the n heaviest of a hundred. A
    class gets half of the budget by its number of rows and half by its weight, so at least half of
    what random rows would give it. Rows come in the order of their clusters' weight, so that a
    person may stop anywhere.

    Parameters
    ----------
    strong_features : array (N, D), memory map or FeatureStore
        Of the pool; of a larger one only a sample of `max_rows` rows is read.
    proba : array (N, C)
        Posterior of the pool.
    n : int
        Rows to choose.
    max_rows : int
        From a larger pool, so many are drawn with chances proportional to w and clustered.
    random_state : int, Generator or None

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
    >>> choice = choose_rows(strong, np.c_[1 - second, second], 20, random_state=0)
    >>> bool(choice.doubt.mean() > 2 * np.minimum(second, 1 - second).mean())
    True
    """
    matrix = as_feature_matrix(strong_features, "strong_features")
    proba = check_proba(proba, "proba")
    if len(proba) != matrix.shape[0]:
        raise InputError(
            f"row counts disagree: strong_features has {matrix.shape[0]} rows, proba {len(proba)}"
        )
    if not isinstance(n, int | np.integer) or not 1 <= n <= len(proba):
        raise InputError(f"n must be a whole number from 1 to the {len(proba)} rows; got {n!r}")
    rng = check_generator(random_state)
    doubt = 1 - proba.max(axis=1)
    weights = np.maximum(doubt, LEAST_DOUBT)
    rows, stands_for = np.arange(len(proba)), 1.0
    if len(rows) > max(max_rows, n):
        rows = np.sort(rng.choice(rows, max(max_rows, n), replace=False, p=weights / weights.sum()))
        stands_for = len(proba) / len(rows)
    # A row that was drawn by its weight has used it.
    weights = weights[rows] if stands_for == 1 else np.ones(len(rows))
    points = _directions(matrix.take(rows))
    chosen, mass, size = _representatives(points, weights, proba[rows].argmax(axis=1), n, rng)
    order = np.argsort(-mass, kind="stable")
    picked = rows[chosen[order]]
    similar = np.maximum(1, np.round(size[order] * stands_for)).astype(np.int64)
    return Choice(picked, doubt[picked], similar)


def _directions(strong: FloatArray) -> FloatArray:
    """Standardise the columns, and give every row length one."""
    centred = strong - strong.mean(axis=0)
    spread = centred.std(axis=0)
    scaled = centred / np.where(spread > 0, spread, 1)
    length = np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled / np.where(length > 0, length, 1), dtype=np.float64)


def _representatives(
    points: FloatArray, weights: FloatArray, classes: IntArray, n: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return n rows, the weight of the cluster of each, and its number of rows."""
    first, copy_of = _distinct(points)
    mass = np.bincount(copy_of, weights, len(first))
    count = np.bincount(copy_of, np.ones(len(points)), len(first))
    rows: list[int] = []
    masses: list[float] = []
    counts: list[float] = []
    n_distinct = min(n, len(first))
    for code, quota in _quotas(mass, count, classes[first], n_distinct).items():
        own = np.flatnonzero(classes[first] == code)
        finer = min(round(FEWEST_CLUSTERS * quota / n_distinct), len(own) // FEWEST_MEMBERS)
        clusters, centres = _clusters(points[first[own]], mass[own], max(quota, finer), rng)
        heaviest = np.argsort(-np.bincount(clusters, mass[own]), kind="stable")
        for k in heaviest[:quota]:
            members = own[clusters == k]
            if not len(members):  # k-means may leave a cluster empty; a spare row takes its place
                continue
            distance = ((points[first[members]] - centres[k]) ** 2).sum(axis=1)
            rows.append(int(first[members[distance.argmin()]]))
            masses.append(float(mass[members].sum()))
            counts.append(float(count[members].sum()))
    # Where there are fewer different rows than the budget; other rows before copies of chosen ones.
    left = np.setdiff1d(np.arange(len(points)), rows)
    is_copy = np.isin(copy_of[left], copy_of[rows])
    spare = left[np.lexsort((-weights[left], is_copy))][: n - len(rows)]
    return (
        np.array([*rows, *spare], dtype=np.int64),
        np.array([*masses, *np.zeros(len(spare))]),
        np.array([*counts, *np.ones(len(spare))]),
    )


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


def _clusters(
    points: FloatArray, weights: AnyArray, n: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Cluster different points into n clusters, none of them empty; return codes and centres."""
    from sklearn.cluster import KMeans

    if n == len(points):
        return np.arange(n), points
    seed = int(rng.integers(2**31))
    means = KMeans(n, n_init=1, max_iter=MOST_ROUNDS, random_state=seed)
    codes = means.fit(points, sample_weight=weights).labels_
    return np.asarray(codes, dtype=np.int64), np.asarray(means.cluster_centers_)
