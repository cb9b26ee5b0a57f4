"""Views of the pool and of the gold rows: teachers, a model of the gold labels, a student.

A view of a gold row never comes from a model that saw its label, and a view of a pool row never
from a student that was trained on the row's own weak label; without that the pool would trust
whichever model memorised most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.features.matrix import FeatureMatrix, sampled
from w2s_data.probes.linear import LinearProbe, stratified_folds
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains

# Retrains the teacher on some gold rows: probabilities of all gold rows and of the pool.
Relabel = Callable[[IntArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Gold:
    """Gold rows: strong features (n, D), weak probabilities (n, M, C) and classes (n,)."""

    strong: FloatArray
    weak_proba: FloatArray
    codes: IntArray

    def __len__(self) -> int:
        return len(self.codes)


@dataclass(frozen=True)
class Views:
    """Class probabilities of each view: pool (V, N, C) and gold rows (V, n, C)."""

    names: tuple[str, ...]
    pool: FloatArray
    gold: FloatArray
    weak_gold: FloatArray  # (n, M, C), the teachers' views of the gold rows
    gold_model: GoldModel | None  # None without two gold classes
    student: Any


@dataclass(frozen=True)
class Recipe:
    """How the models of the views are trained."""

    l2: Any  # of the model of the gold labels: a number or "cv"
    student_l2: float
    folds: int
    max_pool: int  # rows that a student is trained on
    paired: bool
    device: str

    def probe(self, l2: Any, rng: np.random.Generator) -> LinearProbe:
        """Return an unfitted model."""
        # An intercept would prefer one place in a pair over the other.
        intercept = not self.paired
        return LinearProbe(l2=l2, fit_intercept=intercept, device=self.device, random_state=rng)


@dataclass(frozen=True)
class GoldModel:
    """A model of the classes that have gold rows; the others keep the share of chance.

    In a product of views a probability near 0 is a veto, which a model that never saw a class must
    not have.
    """

    probe: LinearProbe
    known: IntArray  # codes of the classes that the probe knows, in its order
    n_classes: int

    def predict_proba(self, strong: AnyArray) -> FloatArray:
        """Return class probabilities (n, C) of rows of strong features."""
        proba = np.full((len(strong), self.n_classes), 1 / self.n_classes)
        proba[:, self.known] = self.probe.predict_proba(strong) * (len(self.known) / self.n_classes)
        return proba


def mean_label(weak_proba: FloatArray) -> FloatArray:
    """Average teachers (N, M, C) to (N, C) without those that abstain; uniform where all do."""
    votes = ~abstains(weak_proba)
    total = np.einsum("nm,nmc->nc", votes, weak_proba)
    count = votes.sum(axis=1, keepdims=True)
    uniform = np.full_like(total, 1 / total.shape[1])
    return np.asarray(np.divide(total, count, out=uniform, where=count > 0))


def make_views(
    strong: FeatureMatrix,
    weak_proba: FloatArray,
    gold: Gold,
    recipe: Recipe,
    relabel: Relabel | None,
    names: tuple[str, ...],
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> Views:
    """Train the models of all views; `advance` is called after each training or group of them."""
    folds = stratified_folds(gold.codes, recipe.folds, rng)
    labels = mean_label(weak_proba)
    student, student_pool = _student(strong, labels, recipe, rng, advance)
    teachers_gold, student_gold = gold.weak_proba.copy(), student.predict_proba(gold.strong)
    if relabel is not None:
        # The student's labels came from a teacher that saw the gold rows: both start again.
        for train, held_out in folds:
            on_gold, on_pool = (np.asarray(proba, dtype=np.float64) for proba in relabel(train))
            fold_labels = mean_label(_by_teacher(on_pool))
            own, _ = _fitted(strong, fold_labels, np.arange(strong.shape[0]), recipe, rng)
            teachers_gold[held_out] = _by_teacher(on_gold)[held_out]
            student_gold[held_out] = own.predict_proba(gold.strong[held_out])
            advance(1)
    gold_model, gold_pool, gold_gold = _gold_view(strong, gold, recipe, folds, rng)
    advance(1)
    return Views(
        names=(*names, "gold labels", "student"),
        pool=np.stack([*weak_proba.transpose(1, 0, 2), gold_pool, student_pool]),
        gold=np.stack([*teachers_gold.transpose(1, 0, 2), gold_gold, student_gold]),
        weak_gold=teachers_gold,
        gold_model=gold_model,
        student=student,
    )


def _gold_view(
    strong: FeatureMatrix,
    gold: Gold,
    recipe: Recipe,
    folds: list[tuple[IntArray, IntArray]],
    rng: np.random.Generator,
) -> tuple[Any, FloatArray, FloatArray]:
    n_classes = gold.weak_proba.shape[2]
    uniform = 1 / n_classes
    known, codes = np.unique(gold.codes, return_inverse=True)
    if len(known) < 2:  # nothing to learn from one class: a view that abstains
        return (
            None,
            np.full((strong.shape[0], n_classes), uniform),
            np.full((len(gold), n_classes), uniform),
        )
    targets = np.eye(len(known))[codes]
    model = GoldModel(recipe.probe(recipe.l2, rng).fit(gold.strong, targets), known, n_classes)
    held_out_proba = np.empty((len(gold), n_classes))
    for train, held_out in folds:
        # The penalty of all gold rows: choosing it again in each fold changes little and costs
        # a dozen times as much.
        part = recipe.probe(model.probe.l2_, rng).fit(gold.strong[train], targets[train])
        fold_model = GoldModel(part, known, n_classes)
        held_out_proba[held_out] = fold_model.predict_proba(gold.strong[held_out])
    return model, predict_blocks(model, strong, n_classes), held_out_proba


def _student(
    strong: FeatureMatrix,
    labels: FloatArray,
    recipe: Recipe,
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> tuple[Any, FloatArray]:
    """Train a student of the weak labels; return it and its out-of-fold view of the pool."""
    every = np.arange(strong.shape[0])
    student, rows = _fitted(strong, labels, every, recipe, rng)
    # A row that no training saw needs no fold.
    proba = predict_blocks(student, strong, labels.shape[1])
    advance(1)
    for train, held_out in stratified_folds(np.zeros(len(rows), np.int64), recipe.folds, rng):
        part, _ = _fitted(strong, labels, rows[train], recipe, rng)
        proba[rows[held_out]] = part.predict_proba(strong.take(rows[held_out]))
        advance(1)
    return student, proba


def _fitted(
    strong: FeatureMatrix,
    labels: FloatArray,
    rows: IntArray,
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[Any, IntArray]:
    """Fit a student on the rows that have a weak label, or a sample of them; return both."""
    voted = rows[~abstains(labels[rows])]
    chosen = sampled(voted if len(voted) else rows, recipe.max_pool, rng)
    probe = recipe.probe(recipe.student_l2, rng)
    return probe.fit(strong.take(chosen), labels[chosen]), chosen


def predict_blocks(model: Any, strong: FeatureMatrix, n_classes: int) -> FloatArray:
    """Return class probabilities (N, C) of strong features that are read block by block."""
    proba = np.empty((strong.shape[0], n_classes))
    for rows, block in strong.blocks():
        proba[rows] = model.predict_proba(block)
    return proba


def _by_teacher(weak_proba: FloatArray) -> FloatArray:
    """Return probabilities (N, M, C), of one teacher too."""
    return weak_proba if weak_proba.ndim == 3 else weak_proba[:, None, :]
