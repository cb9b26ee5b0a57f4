"""The label posterior of all rows of a data set: pool, gold rows, and those that are neither."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.posterior.estimator import LabelPosterior
from w2s_data.posterior.views import Relabel
from w2s_data.utils.typing import FloatArray, IntArray


def label_rows(
    posterior: LabelPosterior,
    strong: FeatureMatrix,
    weak_proba: FloatArray,
    gold: IntArray,
    *,
    pool: IntArray,
    relabel: Relabel | None = None,
    progress: bool | None = False,
) -> FloatArray:
    """Fit a posterior, and return the probabilities (N, C) of every row.

    Parameters
    ----------
    posterior : LabelPosterior
        Is fitted to the pool and the gold rows.
    strong : FeatureMatrix (N, D)
    weak_proba : array (N, C) or (N, M, C)
        Held out on gold rows of which the teacher learned, which `relabel` then retrains.
    gold : array (N,)
        Class codes of the gold rows, -1 elsewhere.
    pool : array (n_pool,)
        Numbers of the pool's rows, ascending, none of them a gold row.

    Notes
    -----
    Pool rows have the posterior of the fit, gold rows that of a fit that did not see their label,
    and all others, such as test rows, that of a new row.
    """
    labelled = np.flatnonzero(gold >= 0)
    posterior.fit(
        FeatureView(strong, pool),
        weak_proba[pool],
        gold=(FeatureView(strong, labelled), weak_proba[labelled], gold[labelled]),
        relabel=relabel,
        progress=progress,
    )
    proba = np.empty((len(gold), len(posterior.classes_)))
    proba[pool], proba[labelled] = posterior.proba_, posterior.gold_proba_
    others = np.setdiff1d(np.arange(len(gold)), np.union1d(pool, labelled))
    if len(others):
        new: Any = FeatureView(strong, others)
        proba[others] = posterior.predict_proba(new, weak_proba[others])
    return proba
