"""Features and labels as estimators of scikit-learn take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import column_or_1d

from w2s_data.errors import FeatureError, InputError, SplitError, first_line, listing, rows
from w2s_data.features.matrix import as_array
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_feature_block, check_proba


def check_features(X: AnyArray, allow_empty: bool = False) -> FloatArray:
    """Return finite features (n, D) in float64."""
    features = numeric_features(X)
    if len(features) == 0 and not allow_empty:
        raise FeatureError("X has no rows")
    converted: FloatArray = np.asarray(features, dtype=np.float64)
    check_feature_block(converted, np.arange(len(converted)), "X", nonzero=False)
    return converted


def numeric_features(X: Any) -> AnyArray:
    """Return a dense, real array (n, D) of at least one column; finite or not."""
    from scipy.sparse import issparse

    if issparse(X):
        raise TypeError("Sparse data was passed for X, but dense data is required: use X.toarray()")
    features = as_array(X, "X")
    if features.dtype == object:  # a table of numbers of several types
        try:
            features = features.astype(np.float64)
        except ValueError as error:
            raise FeatureError(
                f"X must be numbers of shape (n, D): {first_line(error)}; encode words first"
            ) from error
    if features.dtype.kind == "c":
        raise FeatureError("Complex data not supported: X must be real numbers of shape (n, D)")
    if features.ndim != 2 or not np.issubdtype(features.dtype, np.number):
        raise FeatureError(
            f"X must be numbers of shape (n, D); got {features.dtype} of shape {features.shape}. "
            "Reshape your data with X.reshape(-1, 1) for one feature, X.reshape(1, -1) for one row"
        )
    if not features.shape[1]:
        raise FeatureError(
            f"X has 0 feature(s) (shape={features.shape}) while a minimum of 1 is required."
        )
    return features


def check_targets(y: AnyArray) -> tuple[AnyArray, FloatArray]:
    """Return classes and (n, C) distributions of hard or soft labels."""
    try:
        labels = np.asarray(y)
    except ValueError as error:
        raise InputError("y must have shape (n,) or (n, C), all rows of one length") from error
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = column_or_1d(labels, warn=True)
    if labels.ndim == 2:
        soft = check_proba(labels, "y")
        return np.arange(soft.shape[1]), soft
    if labels.ndim != 1:
        raise InputError(f"y must have shape (n,) or (n, C); got {labels.shape}")
    if np.issubdtype(labels.dtype, np.floating):
        if not np.isfinite(labels).all():
            raise InputError(f"y has NaN labels in {rows(np.flatnonzero(~np.isfinite(labels)))}")
        if (labels != np.floor(labels)).any():
            raise InputError(
                "Unknown label type: continuous. y must hold class labels (n,) or probabilities "
                "(n, C)"
            )
    if labels.dtype == object:
        import pandas as pd

        missing = np.flatnonzero(pd.isna(labels))
        if len(missing):
            raise InputError(f"y has no label in {rows(missing)}: leave these rows out")
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        types = sorted({type(label).__name__ for label in labels.tolist()})
        raise InputError(
            f"y mixes labels of the types {listing(types)}, which have no order: give one type"
        ) from error
    if len(classes) < 2:
        raise SplitError(
            f"the labels hold one class ({listing(classes.tolist())}); a probe needs two"
        )
    return classes, np.eye(len(classes))[codes]
