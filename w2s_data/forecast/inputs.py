"""The task that a forecast is made for: features and labels in memory, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import EmptyDataError, FeatureError, InputError, SplitError, listing
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block, check_names, check_same_length

FEWEST_POOL = 10  # the pool is divided into five folds of at least two rows
FEWEST_LABELLED = 4  # two rows of each of two classes
FEW_ROWS = 50  # forecasts from fewer vary more than their intervals say


@dataclass(frozen=True)
class Task:
    """Features of labelled and pool rows, and the labelled rows' classes 0 ... C - 1."""

    strong_labelled: FloatArray
    weak_labelled: FloatArray
    codes: IntArray
    strong_pool: FloatArray
    weak_pool: FloatArray

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.codes.max()) + 1


def check_rows(
    strong_labelled: Any,
    weak_labelled: Any,
    y: AnyArray,
    *,
    strong_pool: Any,
    weak_pool: Any,
    max_pool: int | None,
    max_labelled: int | None,
    rng: np.random.Generator,
) -> tuple[Task, list[str]]:
    """Load the task, with samples of a large labelled set and pool, and notes on it."""
    codes = _class_codes(y)
    features = {
        "strong_labelled": strong_labelled,
        "weak_labelled": weak_labelled,
        "strong_pool": strong_pool,
        "weak_pool": weak_pool,
    }
    matrices = {name: as_feature_matrix(given, name) for name, given in features.items()}
    lengths = {name: np.empty(matrix.shape[0]) for name, matrix in matrices.items()}
    check_same_length(
        strong_labelled=lengths["strong_labelled"], weak_labelled=lengths["weak_labelled"], y=codes
    )
    n_pool = check_same_length(strong_pool=lengths["strong_pool"], weak_pool=lengths["weak_pool"])
    if n_pool < FEWEST_POOL:
        raise EmptyDataError(
            f"the pool holds {n_pool} rows; a forecast needs at least {FEWEST_POOL} unlabelled rows"
        )
    for side in ("strong", "weak"):
        labelled, pool = (matrices[f"{side}_{split}"].shape[1] for split in ("labelled", "pool"))
        if labelled != pool:
            raise FeatureError(
                f"{side}_labelled has {labelled} columns and {side}_pool {pool}: both must come "
                "from one encoder"
            )
    notes = []
    chosen: dict[str, IntArray] = {"labelled": np.arange(len(codes)), "pool": np.arange(n_pool)}
    if max_pool is not None and n_pool > max_pool:
        chosen["pool"] = np.sort(rng.choice(n_pool, max_pool, replace=False))
        notes.append(_sampled_note("pool", "a pool", max_pool, n_pool))
    if max_labelled is not None and len(codes) > max_labelled:
        chosen["labelled"] = sampled_by_class(codes, max_labelled, rng)
        most = len(chosen["labelled"])
        notes.append(_sampled_note("labelled", "a labelled set", most, len(codes)))
        codes = codes[chosen["labelled"]]
    arrays = {}
    for name, matrix in matrices.items():
        numbers = chosen[name.partition("_")[2]]
        arrays[name] = np.asarray(matrix.take(numbers), dtype=np.float64)
        check_feature_block(arrays[name], numbers, name, nonzero=False)
    task = Task(codes=codes, **arrays)
    return task, notes + _notes(task)


def _sampled_note(split: str, whole: str, most: int, total: int) -> str:
    return (
        f"a random {most:,} of the {total:,} {split} rows were used, and the forecast is for "
        f"{whole} of that size (max_{split})"
    )


def _class_codes(y: AnyArray) -> IntArray:
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) == 0:
        raise InputError(f"y must hold one label per labelled row; got shape {labels.shape}")
    check_names(labels, "labels y")
    check_class_sizes(labels)
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def check_class_sizes(labels: AnyArray) -> None:
    """Raise SplitError unless there are two classes or more, and two rows or more of each."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise SplitError(
            f"the labelled rows hold a single class ({listing(classes.tolist())}): "
            "a forecast needs two or more"
        )
    if counts.min() < 2:
        raise SplitError(
            f"class {listing(classes[counts < 2].tolist())} has a single labelled row: "
            "cross-validation needs two or more of each class; label more, or drop the class"
        )


def sampled_by_class(codes: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """Draw random rows in ascending order, two of every class among them."""
    order = rng.permutation(len(codes))
    drawn = pd.Series(codes[order])
    needed = (drawn.groupby(drawn).cumcount() < 2).to_numpy()  # the first two rows of a class
    chosen = np.concatenate([order[needed], order[~needed]])[: max(most, int(needed.sum()))]
    return np.sort(chosen)


def _notes(task: Task) -> list[str]:
    """Tell why the forecast is less certain than its intervals say."""
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
        ("strong", task.strong_labelled, task.strong_pool),
        ("weak", task.weak_labelled, task.weak_pool),
    ):
        if (labelled == labelled[0]).all() and (pool == labelled[0]).all():
            notes.append(f"the {side} features are constant: a model of them predicts one class")
    same = task.weak_pool.shape == task.strong_pool.shape
    if same and (task.weak_pool == task.strong_pool).all():
        notes.append(
            "strong and weak features are the same: the student can gain only by smoothing its "
            "teacher's labels"
        )
    return notes
