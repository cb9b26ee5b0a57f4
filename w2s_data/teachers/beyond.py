r"""The part of a teacher's information on the gold labels that another teacher has not.

.. math:: \frac1n \sum_i \log q_{ab}(y_i) - \log q_a(y_i)

over the gold rows on which b votes, with held-out log-linear pools q of one teacher and of both.
"""

from __future__ import annotations

import numpy as np

from w2s_data.posterior.pooling import few_gold, fit_pool
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.intervals import Estimate, mean_estimate
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import abstains

FOLDS = 5
FEWEST = 20  # gold rows on which a teacher votes, below which nothing is said
# Nats per vote: a teacher whose votes surely add less is not worth asking. A vote of a teacher that
# is right in 60 % of two classes is worth .02 alone.
NEGLIGIBLE = 0.01


def added_by(
    own: FloatArray, other: FloatArray, labels: IntArray, level: float, seed: int
) -> Estimate:
    """Return the log-likelihood that a teacher adds to another one, in nats per vote.

    Parameters
    ----------
    own, other : array (n, C)
        Held-out probabilities of the gold rows.
    labels : array (n,)
        Gold classes.
    seed : int
        Seed of the folds in which the pools are held out.
    """
    voted = ~abstains(own)
    if voted.sum() < FEWEST or few_gold(labels):
        return Estimate(np.nan, level=level)
    gains = np.zeros(len(labels))
    for train, held_out in stratified_folds(labels, FOLDS, np.random.default_rng(seed)):
        both = _log_likelihood(np.stack([other, own]), labels, train, held_out)
        gains[held_out] = both - _log_likelihood(other[None], labels, train, held_out)
    return mean_estimate(gains[voted], level)


def _log_likelihood(
    views: FloatArray, labels: IntArray, train: IntArray, held_out: IntArray
) -> FloatArray:
    pool = fit_pool(views[:, train], labels[train])
    proba = pool.proba(views[:, held_out])
    return np.asarray(np.log(proba[np.arange(len(held_out)), labels[held_out]]))
