"""The task that a forecast is made for: features and labels in memory, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd

from w2s_data.errors import EmptyDataError, FeatureError, InputError, SplitError, listing
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.posterior.inputs import check_weak
from w2s_data.posterior.pooling import log_views
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import (
    check_feature_block,
    check_names,
    check_same_length,
    check_weights,
)
from w2s_data.utils.votes import mean_label, votes

FEWEST_POOL = 10  # the pool is divided into five folds of at least two rows
FEWEST_LABELLED = 4  # two rows of each of two classes
FEW_ROWS = 50  # forecasts from fewer vary more than their intervals say


@dataclass(frozen=True)
class Labels:
    """Labels that a model gives to rows: classes, their probabilities, and scores behind them."""

    codes: IntArray  # (n,), -1 where there is no label
    proba: FloatArray  # (n, C)
    scores: FloatArray  # (n, C), higher for likelier classes

    @classmethod
    def of(cls, proba: FloatArray) -> Self:
        """Take the most probable classes of probabilities (n, C) as labels."""
        return cls(votes(proba), proba, log_odds(proba))

    @classmethod
    def joined(cls, parts: Sequence[tuple[IntArray, Self]], n: int) -> Self:
        """Put labels of disjoint rows that are n together in the rows' places."""
        n_classes = parts[0][1].proba.shape[1]
        whole = cls(np.full(n, -1), np.zeros((n, n_classes)), np.zeros((n, n_classes)))
        for rows, part in parts:
            whole.codes[rows], whole.proba[rows], whole.scores[rows] = astuple(part)
        return whole

    def take(self, rows: IntArray) -> Self:
        """Return the labels of some rows."""
        return type(self)(self.codes[rows], self.proba[rows], self.scores[rows])


@dataclass(frozen=True)
class Task:
    """Features of labelled and pool rows, and the labelled rows' classes 0 ... C - 1.

    `ready` are ready-made weak labels of labelled and pool rows, in whose place a teacher is
    trained on the weak features if there are none. `gold_weight` (n,) are density ratios of the
    pool to the labelled rows, if these come from elsewhere.
    """

    strong_labelled: FloatArray
    weak_labelled: FloatArray
    codes: IntArray
    strong_pool: FloatArray
    weak_pool: FloatArray
    n_classes: int
    gold_weight: FloatArray | None = None
    ready: tuple[Labels, Labels] | None = None

    @cached_property
    def strong(self) -> FloatArray:
        """Strong features of labelled and pool rows, in that order."""
        return np.concatenate([self.strong_labelled, self.strong_pool])


def log_odds(proba: FloatArray) -> FloatArray:
    """Return the log-odds of probabilities, finite for those of 0 and 1 as trees give them."""
    clipped = np.clip(proba, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped / (1 - clipped)))


def check_rows(
    strong_labelled: Any,
    weak_labelled: Any,
    y: AnyArray,
    *,
    strong_pool: Any,
    weak_pool: Any,
    weak_proba: tuple[Any, Any] | None,
    gold_weight: Any,
    max_pool: int | None,
    max_labelled: int | None,
    rng: np.random.Generator,
) -> tuple[Task, list[str]]:
    """Load the task, with samples of a large labelled set and pool, and notes on it."""
    classes, codes = _class_codes(y)
    if gold_weight is not None:
        gold_weight = check_weights(gold_weight, len(codes), "gold_weight")
    ready = None
    if weak_proba is not None:
        ready = _ready_labels(weak_proba, classes)
        if weak_labelled is None and weak_pool is None:  # the labels are all that is known
            weak_labelled, weak_pool = (log_views(labels.proba) for labels in ready)
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
    if ready is not None:
        for labels, n in zip(ready, (len(codes), n_pool), strict=True):
            check_same_length(features=np.empty(n), weak_proba=labels.codes)
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
        gold_weight = None if gold_weight is None else gold_weight[chosen["labelled"]]
    arrays = {}
    for name, matrix in matrices.items():
        numbers = chosen[name.partition("_")[2]]
        arrays[name] = np.asarray(matrix.take(numbers), dtype=np.float64)
        check_feature_block(arrays[name], numbers, name, nonzero=False)
    if ready is not None:
        ready = (ready[0].take(chosen["labelled"]), ready[1].take(chosen["pool"]))
    task = Task(codes=codes, n_classes=len(classes), gold_weight=gold_weight, ready=ready, **arrays)
    return task, notes + _notes(task)


def _ready_labels(weak_proba: Any, classes: AnyArray) -> tuple[Labels, Labels]:
    """Return ready-made weak labels of labelled and pool rows, of the classes of gold labels."""
    if not isinstance(weak_proba, tuple | list) or len(weak_proba) != 2:
        raise InputError("weak_proba must be a pair of arrays, for the labelled rows and the pool")
    arrays = [np.asarray(given) for given in weak_proba]
    means = [
        mean_label(check_weak(array, len(array), f"weak_proba of the {split}"))
        for array, split in zip(arrays, ("labelled rows", "pool"), strict=True)
    ]
    n_classes = means[0].shape[1]
    if means[1].shape[1] != n_classes:
        raise InputError(
            f"weak_proba has {n_classes} classes for the labelled rows and {means[1].shape[1]} "
            "for the pool"
        )
    if classes.dtype.kind not in "iu" or classes.min() < 0 or classes.max() >= n_classes:
        raise InputError(
            f"with weak_proba, labels y must be class codes from 0 to {n_classes - 1}, the columns "
            f"of weak_proba; got {listing(classes.tolist())}"
        )
    labelled, pool = (Labels.of(_restricted(mean, classes)) for mean in means)
    return labelled, pool


def _restricted(proba: FloatArray, classes: IntArray) -> FloatArray:
    """Keep the columns of some classes; rows without any of their mass are uniform."""
    kept = proba[:, classes]
    total = kept.sum(axis=1, keepdims=True)
    uniform = np.full_like(kept, 1 / len(classes))
    return np.asarray(np.divide(kept, total, out=uniform, where=total > 0))


def _sampled_note(split: str, whole: str, most: int, total: int) -> str:
    return (
        f"a random {most:,} of the {total:,} {split} rows were used, and the forecast is for "
        f"{whole} of that size (max_{split})"
    )


def _class_codes(y: AnyArray) -> tuple[AnyArray, IntArray]:
    """Return the sorted classes, and the code of each label."""
    labels = np.asarray(y)
    if labels.ndim != 1 or len(labels) == 0:
        raise InputError(f"y must hold one label per labelled row; got shape {labels.shape}")
    check_names(labels, "labels y")
    check_class_sizes(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    return classes, np.asarray(codes, dtype=np.int64)


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
