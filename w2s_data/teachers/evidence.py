r"""How much each of several teachers says for the right class: shares of their common evidence.

.. math::
    e_m = a_m \sum_i w_i \Bigl(\log p_m(y_i) - \frac1C \sum_c \log p_m(c)\Bigr), \qquad
    share_m = \frac{\max(e_m, 0)}{\sum_k \max(e_k, 0)}

over gold rows i, with the weights a of a log-linear pool of the teachers alone. The weights of the
whole posterior answer another question: what a teacher adds beside models of the gold labels, which
is often nothing of the best teacher, who says what they say.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.posterior.pooling import few_gold, fit_pool, log_views
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains

FEWEST = 20  # gold rows of each source of the pool, from which its share is made that of the pool
RARE = 0.05  # sources of less of the pool change little, and may have no gold row


def evidence_shares(
    proba: FloatArray,
    labels: IntArray,
    row_weight: FloatArray | None = None,
    *,
    offsets: bool = True,
) -> FloatArray:
    """Return each teacher's share (M,) of the evidence for the right class, NaN if unknown.

    Parameters
    ----------
    proba : array (n, M, C)
        Held-out probabilities of the gold rows; a uniform row abstains and says nothing.
    labels : int array (n,)
        Gold classes.
    row_weight : array (n,), optional
        Weights of the gold rows, by default 1.
    offsets : bool
        False for classes that are the two orders of pairs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=500)
    >>> right = rng.random((500, 2)) < [0.8, 0.5]  # the second one guesses
    >>> proba = 0.3 + 0.4 * np.eye(2)[np.where(right, y[:, None], 1 - y[:, None])]
    >>> bool(evidence_shares(proba, y)[0] > 0.95)
    True
    """
    n, n_teachers, _ = proba.shape
    if few_gold(labels):
        return np.full(n_teachers, np.nan)
    weight = np.ones(n) if row_weight is None else row_weight
    # A silent teacher must take no part in what is shared among the others.
    voting = ~abstains(proba).all(axis=0)
    views = proba[:, voting].swapaxes(0, 1)
    if not len(views):
        return np.full(n_teachers, np.nan)
    pool = fit_pool(views, labels, offsets=offsets, row_weight=weight)
    logs = log_views(views)  # (M, n, C)
    for_right = logs[:, np.arange(n), labels] - logs.mean(axis=2)
    evidence = np.zeros(n_teachers)
    evidence[voting] = np.maximum(pool.weights * (for_right @ weight), 0)
    total = evidence.sum()
    return np.asarray(evidence / total if total > 0 else np.full(n_teachers, np.nan))


def like_pool(sources: AnyArray | None, pool: IntArray, gold: IntArray) -> FloatArray | None:
    """Return weights (n,) of gold rows by which each source counts as in the pool.

    None where there are no sources, or where one of the pool has too few gold rows.

    >>> sources = np.array(["a"] * 40 + ["b"] * 20 + ["a"] * 10)
    >>> weights = like_pool(sources, pool=np.arange(60, 70), gold=np.arange(60))
    >>> weights[[0, -1]]
    array([1.5, 0. ])
    """
    if sources is None or not len(pool):
        return None
    wanted = pd.Series(sources[pool]).astype(str).value_counts(normalize=True)
    own = pd.Series(sources[gold]).astype(str)
    counts = own.value_counts()
    if (counts.reindex(wanted.index[wanted >= RARE]).fillna(0) < FEWEST).any():
        return None
    ratio = wanted.reindex(counts.index).fillna(0) / (counts / len(gold))
    return np.asarray(own.map(ratio), dtype=np.float64)
