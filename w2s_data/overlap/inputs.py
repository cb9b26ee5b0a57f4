"""Checks of the rows that an overlap detector is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.errors import FeatureError, InputError, rows
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.overlap.precision import PRECISIONS
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import (
    between,
    check_codes,
    check_proba,
    one_of,
    positive,
    share,
    whole,
)
from w2s_data.utils.votes import mean_label

CONSTRAINTS = {
    "threshold": one_of("changepoint", "binseg"),
    "alignment": one_of("top_share", "max"),
    "calibration": one_of(None) | positive,
    "n_anchors": one_of("auto", "full") | whole(1),
    "confidence": one_of("margin", "top1"),
    "top_share": between(0, 1, closed="right"),
    "quantify": one_of("mixture", "count"),
    "n_resamples": whole(0),
    "level": share,
    "precision": one_of(*PRECISIONS),
}


def check_rows(
    strong_features: Any, weak_proba: AnyArray, name: str = "strong_features"
) -> tuple[FeatureMatrix, FloatArray]:
    """Return features (N, D) and probabilities (N, C), the mean of the weak models that vote."""
    features = as_feature_matrix(strong_features, name)
    proba = np.asarray(weak_proba)
    if proba.ndim == 3:  # each by itself: the mean of unsound rows may look sound
        for m in range(proba.shape[1]):
            check_proba(proba[:, m], f"weak_proba of weak model {m}")
        proba = mean_label(proba)
    proba = check_proba(proba)
    if features.shape[0] != len(proba):
        raise InputError(
            f"row counts disagree: {name} have {features.shape[0]}, weak_proba has {len(proba)}"
        )
    if len(proba) == 0:
        raise FeatureError(f"{name} have no rows")
    return features, proba


def check_confidence(
    strong_features: Any, confidence: AnyArray | None
) -> tuple[FeatureMatrix, None, FloatArray]:
    """Return features (N, D), no probabilities, and ready-made confidence (N,) in [0, 1]."""
    features = as_feature_matrix(strong_features, "strong_features")
    given = np.asarray(confidence, dtype=np.float64)
    if given.shape != (features.shape[0],):
        raise InputError(
            f"confidence must have one number per row, shape ({features.shape[0]},); got "
            f"{given.shape}"
        )
    bad = np.flatnonzero(~((given >= 0) & (given <= 1)))  # NaN is in neither
    if len(bad):
        raise InputError(f"confidence must lie in [0, 1]; it does not in {rows(bad)}")
    return features, None, given


def check_alike(features: FeatureMatrix, classes: int, n_features: int, n_classes: int) -> None:
    """Raise unless new rows have the features and classes of the fit; 0 classes for values."""
    if (features.shape[1], classes) != (n_features, n_classes):
        raise InputError(
            f"the detector was fitted on {n_features} features and {n_classes} classes; got "
            f"{features.shape[1]} and {classes}"
        )


def check_pool(pool: AnyArray | None, n: int) -> IntArray:
    """Return the row numbers of a pool given as a mask, as numbers, or as None for all rows."""
    if pool is None:
        return np.arange(n)
    rows = np.asarray(pool)
    if rows.dtype == bool and rows.shape == (n,):
        rows = np.flatnonzero(rows)
    if rows.ndim == 1 and not len(rows):
        raise InputError(f"pool selects none of the {n} rows: it must select at least one")
    whole = rows.ndim == 1 and np.issubdtype(rows.dtype, np.integer)
    if not whole or rows.min() < 0 or rows.max() >= n:
        raise InputError(
            f"pool must be a mask of the {n} rows or row numbers from 0 to {n - 1}; got "
            f"{rows.dtype} of shape {np.shape(pool)}"
        )
    return rows


def check_gold(
    gold: tuple[Any, AnyArray, AnyArray] | None, n_features: int, n_classes: int
) -> tuple[FloatArray, FloatArray, IntArray] | None:
    """Return features, probabilities and class codes of the rows with a gold label, if any."""
    if gold is None:
        return None
    if len(gold) != 3:
        raise InputError(f"gold must be (strong_features, weak_proba, labels); got {len(gold)}")
    features, proba = check_rows(gold[0], gold[1], "gold features")
    if features.shape[1] != n_features or proba.shape[1] != n_classes:
        raise InputError(
            f"gold has {features.shape[1]} features and {proba.shape[1]} classes; the points have "
            f"{n_features} and {n_classes}"
        )
    labels = check_codes(gold[2], len(proba), n_classes, "gold labels", unknown=True)
    known = np.flatnonzero(labels >= 0)
    if not len(known):
        return None
    return features.take(known).astype(np.float64), proba[known], labels[known]
