"""Checks of what `GroupAnalyzer` is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from w2s_data.data.regions import Region
from w2s_data.data.splits import SPLITS
from w2s_data.errors import EmptyDataError, InputError, listing, rows, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.groups.discovery import METHODS
from w2s_data.groups.tables import Rows
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.neighbors.results import fingerprint
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_proba

MAX_NAMES = 1000  # tables of groups by groups must stay small


def check_options(
    n_groups: Any, n_neighbors: Any, duplicate_threshold: Any, discovery: str, level: float
) -> None:
    """Refuse options out of range."""
    if discovery not in METHODS:
        raise InputError(unknown("discovery", str(discovery), METHODS))
    whole = isinstance(n_groups, int | np.integer) and not isinstance(n_groups, bool)
    if n_groups != "auto" and not (whole and n_groups >= 1):
        raise InputError(f"n_groups must be 'auto' or a number >= 1; got {n_groups!r}")
    if not isinstance(n_neighbors, int | np.integer) or n_neighbors < 1:
        raise InputError(f"n_neighbors must be a number >= 1; got {n_neighbors!r}")
    if duplicate_threshold != "auto" and not (
        isinstance(duplicate_threshold, int | float | np.number) and -1 < duplicate_threshold <= 1
    ):
        raise InputError(
            "duplicate_threshold must be 'auto' or a cosine in (-1, 1]; got "
            f"{duplicate_threshold!r}"
        )
    if not 0 < level < 1:
        raise InputError(f"level must lie in (0, 1); got {level!r}")


def check_rows(
    features: Any,
    weak_proba: AnyArray,
    labels: ArrayLike | None,
    splits: ArrayLike | None,
    regions: ArrayLike | None,
    student_proba: AnyArray | None,
) -> Rows:
    """All arrays of N rows, checked against each other; what is missing is unknown."""
    matrix = as_feature_matrix(features, "strong_features")
    n = matrix.shape[0]
    if n == 0:
        raise EmptyDataError("strong_features have no rows")
    proba = _averaged(weak_proba)
    _check_length(n, "weak_proba", len(proba))
    student = None if student_proba is None else _student_labels(student_proba, n, proba.shape[1])
    return Rows(
        matrix,
        proba,
        proba.argmax(axis=1),
        check_codes(labels, "labels", n, proba.shape[1] - 1),
        _check_splits(splits, n),
        check_codes(regions, "regions", n, max(Region)),
        student,
    )


def _student_labels(student_proba: AnyArray, n: int, n_classes: int) -> IntArray:
    """The student's class of each row, -1 in rows of NaN."""
    student = np.asarray(student_proba)
    asked = ~np.isnan(student).all(axis=1) if student.ndim == 2 else slice(None)
    known = check_proba(student[asked], "student_proba")
    _check_length(n, "student_proba", len(student))
    if known.shape[1] != n_classes:
        raise InputError(f"student_proba has {known.shape[1]} classes, weak_proba {n_classes}")
    labels = np.full(n, -1)
    labels[asked] = known.argmax(axis=1)
    return labels


def _averaged(weak_proba: AnyArray) -> FloatArray:
    proba = np.asarray(weak_proba)
    if proba.ndim == 3:
        models = range(proba.shape[1])
        several = [check_proba(proba[:, m], f"weak_proba of weak model {m}") for m in models]
        proba = np.mean(several, axis=0)
    return check_proba(proba)


def _check_length(n: int, name: str, length: int) -> None:
    if length != n:
        raise InputError(f"row counts disagree: strong_features have {n}, {name} has {length}")


def check_codes(values: ArrayLike | None, name: str, n: int, highest: int) -> IntArray:
    """Whole numbers from -1 (unknown) to `highest`; all unknown where none are given."""
    if values is None:
        return np.full(n, -1)
    codes = np.asarray(values)
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer):
        raise InputError(
            f"{name} must be whole numbers, one a row, -1 where unknown; got {codes.dtype} of "
            f"shape {codes.shape}"
        )
    _check_length(n, name, len(codes))
    bad = np.flatnonzero((codes < -1) | (codes > highest))
    if len(bad):
        raise InputError(
            f"{name} must lie in -1 (unknown) ... {highest}; got {codes[bad[0]]} in {rows(bad)}"
        )
    return codes.astype(np.int64)


def _check_splits(splits: ArrayLike | None, n: int) -> AnyArray:
    if splits is None:
        return np.full(n, "pool", dtype=object)
    found = np.asarray(splits, dtype=object)
    if found.ndim != 1:
        raise InputError(f"splits must name one split for each row; got shape {found.shape}")
    _check_length(n, "splits", len(found))
    strange = [name for name in pd.unique(pd.Series(found)) if name not in SPLITS]
    if strange:
        raise InputError(unknown("split", str(strange[0]), SPLITS))
    return found


def check_names(values: ArrayLike, name: str, n: int) -> tuple[list[Any], IntArray]:
    """Names in order of their size, the largest first, and the code of each row."""
    series = pd.Series(np.asarray(values, dtype=object).ravel(), dtype=object)
    _check_length(n, name, len(series))
    missing = np.flatnonzero(series.isna())
    if len(missing):
        raise InputError(f"{name} are missing in {rows(missing)}: name them, or leave them out")
    codes, found = pd.factorize(series)
    if len(found) > MAX_NAMES:
        raise InputError(
            f"{name} hold {len(found):,} different names in {n:,} rows ({listing(found, 3)}); "
            f"at most {MAX_NAMES:,} can be compared: is this an id?"
        )
    order = np.argsort(-np.bincount(codes), kind="stable")
    return [found[i] for i in order], np.argsort(order)[codes]


def regions_of(rows: Rows, detector: OverlapDetector, regions: ArrayLike | None) -> Rows:
    """The rows with the regions of a detector that was fitted on the pool."""
    if regions is not None:
        raise InputError("give regions or detector, not both")
    pool = np.flatnonzero(rows.splits == "pool")
    if len(detector.regions_) != len(pool):
        raise InputError(
            f"the detector was fitted on {len(detector.regions_)} points; the pool has {len(pool)}"
        )
    found = np.full(len(rows.pseudo), -1)
    found[pool] = detector.regions_
    return replace(rows, regions=found)


def check_index(index: NeighborIndex | None, features: FeatureMatrix, device: str) -> NeighborIndex:
    """The index handed in if it is one of these features, else a new one."""
    if index is None:
        return NeighborIndex("cosine", device=device, random_state=0).fit(features)
    if index.metric != "cosine":
        raise InputError(f"index must be under metric 'cosine'; got {index.metric!r}")
    if getattr(index, "fingerprint_", None) != fingerprint(features):
        raise InputError(
            f"index was not fitted on these features (shape {features.shape}): fit it on them, or "
            "leave it out"
        )
    return index
