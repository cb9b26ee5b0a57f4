"""Checks of what a label posterior is fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.errors import EmptyDataError, FeatureError, InputError, ProbabilityError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.posterior.views import Gold
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_codes, check_feature_block, check_proba


def check_weak(weak_proba: Any, n_rows: int, name: str = "weak_proba") -> FloatArray:
    """Return the probabilities of M teachers as (N, M, C)."""
    proba = np.asarray(weak_proba)
    several = proba[:, None, :] if proba.ndim == 2 else proba
    if several.ndim != 3:
        raise ProbabilityError(
            f"{name} must have shape (N, C), or (N, M, C) for M teachers; got {proba.shape}"
        )
    if len(several) != n_rows:
        raise InputError(
            f"row counts disagree: strong features have {n_rows} rows, {name} has {len(several)}"
        )
    teachers = [check_proba(several[:, m], name) for m in range(several.shape[1])]
    return np.stack(teachers, axis=1)


def check_pool(weak_proba: Any, n_rows: int) -> FloatArray:
    """Return the weak probabilities (N, M, C) of a pool, which has two rows or more."""
    weak = check_weak(weak_proba, n_rows)
    if len(weak) < 2:  # the student's view of a row is that of a student of the others
        raise EmptyDataError("the pool has one row: a label posterior requires two or more")
    return weak


def check_gold(gold: Any, n_features: int, shape: tuple[int, ...]) -> Gold:
    """Return checked gold rows; `shape` is (M, C), that of a row's weak probabilities."""
    if not isinstance(gold, tuple | list) or len(gold) != 3:
        raise InputError("gold must be (strong_features, weak_proba, labels) of the gold rows")
    features = as_feature_matrix(gold[0], "gold features")
    n = features.shape[0]
    if n == 0:
        raise EmptyDataError("gold has no rows: a label posterior requires some gold labels")
    if features.shape[1] != n_features:
        raise FeatureError(
            f"gold features have {features.shape[1]} columns, those of the pool {n_features}: both "
            "must come from one encoder"
        )
    strong = np.asarray(features.take(np.arange(n)), dtype=np.float64)
    check_feature_block(strong, np.arange(n), "gold features", nonzero=False)
    weak = check_weak(gold[1], n, "gold weak_proba")
    if weak.shape[1:] != shape:
        raise ProbabilityError(
            f"gold weak_proba has {weak.shape[1]} teachers and {weak.shape[2]} classes, the pool "
            f"{shape[0]} and {shape[1]}"
        )
    codes = check_codes(gold[2], n, shape[1], "gold labels", unknown=False)
    return Gold(strong, weak, codes)
