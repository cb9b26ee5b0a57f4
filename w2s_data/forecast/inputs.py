"""Checks of what a forecast is given, and what is unusual about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.errors import EmptyDataError, FeatureError, InputError, SplitError, listing, rows
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.forecast.parts import Task
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block, check_same_length

FEWEST_POOL = 10
FEWEST_LABELLED = 4
FEW_ROWS = 50


def check_task(
    weak_labelled: Any,
    strong_labelled: Any,
    y: AnyArray,
    weak_pool: Any,
    strong_pool: Any,
    max_pool: int | None,
    max_labelled: int | None,
    rng: np.random.Generator,
) -> tuple[Task, list[str]]:
    """The task in memory, with samples of a large labelled set and pool, and notes on it."""
    codes = _class_codes(y)
    given = {
        "weak_labelled": weak_labelled,
        "strong_labelled": strong_labelled,
        "weak_pool": weak_pool,
        "strong_pool": strong_pool,
    }
    matrices = {name: as_feature_matrix(features, name) for name, features in given.items()}
    lengths = {name: np.empty(matrix.shape[0]) for name, matrix in matrices.items()}
    check_same_length(
        weak_labelled=lengths["weak_labelled"], strong_labelled=lengths["strong_labelled"], y=codes
    )
    n_pool = check_same_length(weak_pool=lengths["weak_pool"], strong_pool=lengths["strong_pool"])
    if n_pool < FEWEST_POOL:
        raise EmptyDataError(
            f"the pool holds {n_pool} rows; a forecast needs at least {FEWEST_POOL} unlabelled rows"
        )
    for side in ("weak", "strong"):
        _check_columns(matrices[f"{side}_labelled"], matrices[f"{side}_pool"], side)
    notes = []
    sample = np.arange(n_pool)
    if max_pool is not None and n_pool > max_pool:
        sample = np.sort(rng.choice(n_pool, max_pool, replace=False))
        notes.append(
            f"a random {max_pool:,} of the {n_pool:,} pool rows were used, and the forecast is for "
            "a pool of that size (max_pool)"
        )
    labelled: IntArray = np.arange(len(codes))
    if max_labelled is not None and len(codes) > max_labelled:
        labelled = _sampled_by_class(codes, max_labelled, rng)
        notes.append(
            f"a random {len(labelled):,} of the {len(codes):,} labelled rows were used, and the "
            "forecast is for a labelled set of that size (max_labelled)"
        )
        codes = codes[labelled]
    arrays = {
        name: _load(matrix, sample if name.endswith("pool") else labelled, name)
        for name, matrix in matrices.items()
    }
    task = Task(codes=codes, **arrays)
    return task, notes + _notes(task)


def _class_codes(y: AnyArray) -> IntArray:
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) == 0:
        raise InputError(f"y must hold one label a labelled row; got shape {labels.shape}")
    missing = labels != labels  # NaN is the one value that differs from itself
    if labels.dtype == object:
        missing = missing | np.array([label is None for label in labels])
    if missing.any():
        raise InputError(f"y has no label in {rows(np.flatnonzero(missing))}")
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise SplitError(
            f"the labelled rows hold a single class ({listing(classes.tolist())}): "
            "a forecast needs two or more"
        )
    if counts.min() < 2:
        raise SplitError(
            f"class {listing(classes[counts < 2].tolist())} has a single labelled row: "
            "cross-validation needs two or more of each class; label more, or leave the class out"
        )
    return np.asarray(codes, dtype=np.int64)


def _sampled_by_class(codes: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """Random rows in ascending order, two of every class among them."""
    order = rng.permutation(len(codes))
    by_class = np.argsort(codes[order], kind="stable")
    ordered = codes[order][by_class]
    second = np.r_[True, True, ordered[2:] != ordered[:-2]]  # the first two rows of a class
    needed = np.zeros(len(codes), dtype=bool)
    needed[by_class[second]] = True
    chosen = np.concatenate([order[needed], order[~needed]])[: max(most, int(needed.sum()))]
    return np.sort(chosen)


def _check_columns(labelled: FeatureMatrix, pool: FeatureMatrix, side: str) -> None:
    if labelled.shape[1] != pool.shape[1]:
        raise FeatureError(
            f"{side}_labelled has {labelled.shape[1]} columns and {side}_pool {pool.shape[1]}: "
            "both must come from one encoder"
        )


def _load(matrix: FeatureMatrix, chosen: IntArray, name: str) -> FloatArray:
    features: FloatArray = np.asarray(matrix.take(chosen), dtype=np.float64)
    check_feature_block(features, chosen, name, nonzero=False)
    return features


def _notes(task: Task) -> list[str]:
    """What makes the forecast less sure than its intervals say."""
    notes = []
    n, n_pool = len(task.codes), len(task.weak_pool)
    if n < FEW_ROWS:
        notes.append(
            f"{n} labelled rows: forecasts from fewer than {FEW_ROWS} vary more than their "
            "intervals say"
        )
    if n_pool < FEW_ROWS:
        notes.append(
            f"{n_pool} pool rows: the student and its disagreement with the teacher are measured "
            "on very few rows"
        )
    for side, labelled, pool in (
        ("weak", task.weak_labelled, task.weak_pool),
        ("strong", task.strong_labelled, task.strong_pool),
    ):
        if (labelled == labelled[0]).all() and (pool == labelled[0]).all():
            notes.append(f"the {side} features are constant: a model of them predicts one class")
    same = task.weak_pool.shape == task.strong_pool.shape
    if same and (task.weak_pool == task.strong_pool).all():
        notes.append(
            "weak and strong features are the same: the student can gain only by smoothing its "
            "teacher's labels"
        )
    return notes
