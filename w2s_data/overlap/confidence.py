"""Confidence of the weak model in a point, in [0, 1]."""

from __future__ import annotations

from typing import Literal

import numpy as np

from w2s_data.features.matrix import FeatureMatrix
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.utils.typing import FloatArray

Measure = Literal["margin", "top1"]
# Averaged over 20 neighbours, confidence finds hard-only points with an AUC of .87 instead of .76.
N_SMOOTHING_NEIGHBORS = 20


def weak_confidence(
    proba: FloatArray, measure: Measure = "margin", temperature: float | None = None
) -> FloatArray:
    """Measure the confidence (N,) of class probabilities (N, C), in [0, 1].

    0 for a tie (margin) or the uniform distribution (top1), 1 for certainty.

    Parameters
    ----------
    measure : {"margin", "top1"}
        Top-1 minus top-2 probability, or rescaled top-1, (C p_max - 1) / (C - 1). Both are
        2 |p - 1/2| for two classes.
    temperature : float, optional
        T > 0; the probabilities are first replaced by p^(1/T), renormalised.

    Examples
    --------
    >>> weak_confidence(np.array([[0.6, 0.3, 0.1]]), "margin").round(2)
    array([0.3])
    >>> weak_confidence(np.array([[0.6, 0.3, 0.1]]), "top1").round(2)
    array([0.4])
    """
    if temperature is not None:
        with np.errstate(divide="ignore"):  # log 0 is -inf, and its class keeps probability 0
            log_proba = np.log(proba) / temperature
        proba = np.exp(log_proba - log_proba.max(axis=1, keepdims=True))
        proba = proba / proba.sum(axis=1, keepdims=True)
    n_classes = proba.shape[1]
    if measure == "margin" or n_classes == 2:
        ranked = np.partition(proba, n_classes - 2, axis=1)
        confidence = ranked[:, -1] - ranked[:, -2]
    else:
        confidence = (n_classes * proba.max(axis=1) - 1) / (n_classes - 1)
    return np.clip(confidence, 0.0, 1.0)  # rows sum to 1 but for rounding


def smooth_confidence(confidence: FloatArray, features: FeatureMatrix) -> FloatArray:
    """Add the mean confidence of each point's nearest neighbours in strong features.

    Both terms are z-scored and their sum is rescaled to [0, 1]. A constant confidence is returned
    as it is.
    """
    n = len(confidence)
    n_neighbors = min(N_SMOOTHING_NEIGHBORS, n - 1)
    if n_neighbors < 1 or confidence.std() == 0:
        return confidence
    # By cosine, as the alignment, so that the length of a row counts in neither.
    near = NeighborIndex(metric="cosine").fit(features).neighbors(n_neighbors)
    around = confidence[near.indices].mean(axis=1)
    total = (confidence - confidence.mean()) / confidence.std()
    if around.std() > 0:
        total = total + (around - around.mean()) / around.std()
    return np.asarray((total - total.min()) / (total.max() - total.min()))
