"""Checks of what a label posterior is fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.errors import EmptyDataError, FeatureError, InputError, ProbabilityError
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.posterior.views import Gold, Relabel
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_codes, check_feature_block, check_proba


def check_weak(weak_proba: Any, n_rows: int | None, name: str = "weak_proba") -> FloatArray:
    """Return the probabilities of M teachers as (N, M, C), N being any number if it is None."""
    try:
        proba = np.asarray(weak_proba)
    except ValueError as error:
        raise ProbabilityError(
            f"{name} must have shape (N, C), or (N, M, C) for M teachers; its rows have several "
            "lengths"
        ) from error
    several = proba[:, None, :] if proba.ndim == 2 else proba
    if several.ndim != 3 or not several.shape[1]:
        raise ProbabilityError(
            f"{name} must have shape (N, C), or (N, M, C) for M teachers; got {proba.shape}"
        )
    if n_rows is not None and len(several) != n_rows:
        raise InputError(
            f"row counts disagree: strong features have {n_rows} rows, {name} has {len(several)}"
        )
    teachers = [check_proba(several[:, m], name) for m in range(several.shape[1])]
    return np.stack(teachers, axis=1)


def check_teachers(weak: FloatArray, shape: tuple[int, ...], name: str, whose: str) -> None:
    """Raise unless weak probabilities (N, M, C) have the teachers and classes of other rows."""
    if weak.shape[1:] != shape:
        raise ProbabilityError(
            f"{name} has {weak.shape[1]} teachers and {weak.shape[2]} classes, {whose} "
            f"{shape[0]} and {shape[1]}"
        )


def checked_relabel(relabel: Relabel, n_gold: int, shape: tuple[int, ...]) -> Relabel:
    """Return `relabel` that raises unless it labels n gold rows and a pool of this (N, M, C)."""

    def relabel_checked(rows: IntArray) -> tuple[FloatArray, FloatArray]:
        found = relabel(rows)
        try:
            on_gold, on_pool = found
        except (TypeError, ValueError) as error:
            raise InputError(
                "relabel must return two arrays, the weak probabilities of all gold rows and of "
                f"the pool; got {type(found).__name__}"
            ) from error
        parts = (on_gold, n_gold, "gold weak_proba"), (on_pool, shape[0], "weak_proba")
        for part, n, name in parts:
            title = f"{name} of relabel"
            check_teachers(check_weak(part, n, title), shape[1:], title, "the pool")
        return on_gold, on_pool

    return relabel_checked


def check_ratio(ratio: Any, n_classes: int) -> FloatArray:
    """Return ratios of class shares (C,); raise unless they are finite numbers above 0."""
    given = np.asarray(ratio)
    numbers = given.shape == (n_classes,) and given.dtype.kind in "fiu"
    if not numbers or not (np.isfinite(given) & (given > 0)).all():
        raise InputError(f"ratio must be {n_classes} finite numbers above 0; got {ratio!r}")
    return given.astype(np.float64)


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
    check_teachers(weak, shape, "gold weak_proba", "the pool")
    codes = check_codes(gold[2], n, shape[1], "gold labels", unknown=False)
    return Gold(strong, weak, codes)
