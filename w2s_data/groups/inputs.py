"""Checks of the rows that `GroupAnalyzer` is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from w2s_data.data.regions import Region
from w2s_data.data.splits import SPLITS
from w2s_data.errors import EmptyDataError, InputError, listing, rows, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.neighbors.storage import fingerprint
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import check_names, check_proba, check_same_length
from w2s_data.utils.votes import abstains

MAX_NAMES = 1000  # tables of groups by groups must stay small


@dataclass(frozen=True)
class Rows:
    """The N points that are analysed; codes are -1 where unknown.

    Groups and sources are their names, the largest first, and the code of each row.
    """

    features: FeatureMatrix
    proba: FloatArray
    pseudo: IntArray
    gold: IntArray
    splits: AnyArray
    regions: IntArray
    student: IntArray | None
    groups: tuple[list[Any], IntArray] | None
    sources: tuple[list[Any], IntArray] | None

    @property
    def voted(self) -> BoolArray:
        """Rows with a gold label on which the weak model does not abstain."""
        return self.known & ~abstains(self.proba)

    @property
    def known(self) -> BoolArray:
        """Rows with a gold label."""
        return self.gold >= 0


def check_rows(
    strong_features: Any,
    weak_proba: AnyArray,
    *,
    groups: ArrayLike | None,
    sources: ArrayLike | None,
    labels: ArrayLike | None,
    splits: ArrayLike | None,
    regions: ArrayLike | None,
    detector: OverlapDetector | None,
    student_proba: AnyArray | None,
) -> Rows:
    """Check all arrays of N rows against each other; absent ones are unknown."""
    matrix = as_feature_matrix(strong_features, "strong_features")
    n = matrix.shape[0]
    if n == 0:
        raise EmptyDataError("strong_features have no rows")
    given = {
        "groups": groups,
        "sources": sources,
        "labels": labels,
        "splits": splits,
        "regions": regions,
        "student_proba": student_proba,
    }
    arrays = {name: np.asarray(values) for name, values in given.items() if values is not None}
    check_same_length(strong_features=np.empty(n), weak_proba=np.asarray(weak_proba), **arrays)
    proba = _averaged(np.asarray(weak_proba))
    by_split = _check_splits(splits, n)
    if detector is not None:
        regions = _regions_of(detector, by_split, regions)
    return Rows(
        features=matrix,
        proba=proba,
        pseudo=proba.argmax(axis=1),
        gold=_check_codes(labels, "labels", n, proba.shape[1] - 1),
        splits=by_split,
        regions=_check_codes(regions, "regions", n, max(Region)),
        student=None if student_proba is None else _student(student_proba, proba.shape[1]),
        groups=_by_size(groups, "groups"),
        sources=_by_size(sources, "sources"),
    )


def _student(student_proba: AnyArray, n_classes: int) -> IntArray:
    """Return the student's class of each row, -1 in rows of NaN."""
    student = np.asarray(student_proba)
    asked = ~np.isnan(student).all(axis=1) if student.ndim == 2 else slice(None)
    known = check_proba(student[asked], "student_proba")
    if known.shape[1] != n_classes:
        raise InputError(f"student_proba has {known.shape[1]} classes, weak_proba {n_classes}")
    labels = np.full(len(student), -1)
    labels[asked] = known.argmax(axis=1)
    return labels


def _averaged(proba: AnyArray) -> FloatArray:
    if proba.ndim == 3:
        models = range(proba.shape[1])
        several = [check_proba(proba[:, m], f"weak_proba of weak model {m}") for m in models]
        proba = np.mean(several, axis=0)
    return check_proba(proba)


def _check_codes(values: ArrayLike | None, name: str, n: int, highest: int) -> IntArray:
    """Check integers from -1 (unknown) to `highest`; all are unknown where none are given."""
    if values is None:
        return np.full(n, -1)
    codes = np.asarray(values)
    if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer):
        raise InputError(
            f"{name} must be integers, one per row, -1 where unknown; got {codes.dtype} of "
            f"shape {codes.shape}"
        )
    bad = np.flatnonzero((codes < -1) | (codes > highest))
    if len(bad):
        raise InputError(
            f"{name} must lie in -1 (unknown) ... {highest}; got {codes[bad[0]]} in {rows(bad)}"
        )
    return codes.astype(np.int64)


def _check_splits(splits: ArrayLike | None, n: int) -> AnyArray:
    if splits is None:
        return np.full(n, "pool", dtype=object)
    names, _ = check_names(splits, "splits")
    for name in names:
        if name not in SPLITS:
            raise InputError(unknown("split", str(name), SPLITS))
    return np.asarray(splits, dtype=object)


def _by_size(values: ArrayLike | None, name: str) -> tuple[list[Any], IntArray] | None:
    """Return the names in order of their size, the largest first, and the code of each row."""
    if values is None:
        return None
    names, codes = check_names(values, name)
    if len(names) > MAX_NAMES:
        raise InputError(
            f"{name} hold {len(names):,} different names in {len(codes):,} rows "
            f"({listing(names, 3)}); at most {MAX_NAMES:,} can be compared: is this an id?"
        )
    order = np.argsort(-np.bincount(codes), kind="stable")
    return [names[i] for i in order], np.argsort(order)[codes]


def _regions_of(detector: OverlapDetector, splits: AnyArray, regions: ArrayLike | None) -> IntArray:
    """Return the regions of a detector that was fitted on the pool, -1 outside it."""
    if regions is not None:
        raise InputError("use either regions or detector, not both")
    check_is_fitted(detector, "regions_")
    pool = np.flatnonzero(splits == "pool")
    if len(detector.regions_) != len(pool):
        raise InputError(
            f"the detector was fitted on {len(detector.regions_)} points; the pool has {len(pool)}"
        )
    result = np.full(len(splits), -1)
    result[pool] = detector.regions_
    return result


def check_index(index: NeighborIndex | None, features: FeatureMatrix, device: str) -> NeighborIndex:
    """Return the given index if it is one of these features, else a new one."""
    if index is None:
        # A fixed seed: an approximate index must not depend on the generator's other uses.
        return NeighborIndex("cosine", device=device, random_state=0).fit(features)
    if index.metric != "cosine":
        raise InputError(f"index must have metric 'cosine'; got {index.metric!r}")
    if getattr(index, "fingerprint_", None) != fingerprint(features):
        raise InputError(
            f"index was not fitted on these features (shape {features.shape}): fit it on them, or "
            "pass none"
        )
    return index
