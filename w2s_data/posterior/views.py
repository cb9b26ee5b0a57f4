"""Views of the pool and of the gold rows: teachers, two models of the gold labels, a student.

A view of a gold row never comes from a model that saw its label, and a view of a pool row never
from a student that was trained on the row's own weak label; without that the pool would trust
whichever model memorised most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data.features.matrix import FeatureMatrix, pieces, sampled
from w2s_data.posterior.means import ClassMeans
from w2s_data.probes.linear import LinearProbe, fit_together, stratified_folds
from w2s_data.utils.threads import for_each
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains, mean_label

# Retrains the teacher on some gold rows: probabilities of all gold rows and of the pool.
Relabel = Callable[[IntArray], tuple[FloatArray, FloatArray]]
Folds = list[tuple[IntArray, IntArray]]
# Trains a model on each set of rows of features (n, D) and labels (n, C), the first on all of them.
Fit = Callable[[FloatArray, FloatArray, list[IntArray]], Sequence[LinearProbe | ClassMeans]]


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
    """Class probabilities of each view: pool (V, N, C), and gold rows by R ways to hold out."""

    names: tuple[str, ...]
    pool: FloatArray
    gold: FloatArray  # (R, V, n, C)
    weak_gold: FloatArray  # (n, M, C), the teachers' views of the gold rows
    gold_model: GoldModel | None  # None without two gold classes
    means: GoldModel | None
    student: Any

    @cached_property
    def voting(self) -> BoolArray:
        """Whether a view (V,) says anything on any row; all of them where none does."""
        silent = abstains(self.pool).all(axis=1) & abstains(self.gold).all(axis=(0, 2))
        return np.asarray(~silent | silent.all())

    @property
    def models(self) -> tuple[Any, ...]:
        """The models on strong features, in the order of the views that follow the teachers."""
        return self.gold_model, self.means, self.student


@dataclass(frozen=True)
class Recipe:
    """How the models of the views are trained."""

    l2: Any  # of the model of the gold labels: a number or "cv"
    student_l2: float
    folds: int
    repeats: int  # partitions of the gold rows into folds
    max_pool: int  # rows that a student is trained on
    paired: bool
    device: str

    def probe(self, l2: Any, rng: np.random.Generator) -> LinearProbe:
        """Return an unfitted model."""
        return LinearProbe(
            l2=l2,
            # An intercept would prefer one place in a pair over the other.
            fit_intercept=not self.paired,
            # More digits than a view is worth, at half the time of the default.
            tol=1e-5,
            device=self.device,
            random_state=rng,
        )

    def fitter(self, rng: np.random.Generator) -> Fit:
        """Return a function that fits linear models of gold labels."""

        def fit(
            features: FloatArray, targets: FloatArray, rows: list[IntArray]
        ) -> list[LinearProbe]:
            first = self.probe(self.l2, rng).fit(features, targets)
            # The penalty of all gold rows: choosing it again in each fold changes little and costs
            # a dozen times as much.
            probe = self.probe(first.l2_, rng)
            labels = [targets[part] for part in rows[1:]]
            return [first, *fit_together(probe, features, labels, rows[1:])]

        return fit

    def averager(self, strong: FeatureMatrix, rng: np.random.Generator) -> Fit:
        """Return a function that fits class means around the middle of the pool."""
        rows = sampled(np.arange(strong.shape[0]), self.max_pool, rng)
        center = np.asarray(strong.take(rows), dtype=np.float64).mean(axis=0)
        if self.paired:  # the two orders of a pair lie on both sides of zero
            center = np.zeros_like(center)

        def fit(
            features: FloatArray, targets: FloatArray, rows: list[IntArray]
        ) -> list[ClassMeans]:
            return [
                ClassMeans(center, self.paired).fit(features[part], targets[part]) for part in rows
            ]

        return fit


@dataclass(frozen=True)
class GoldModel:
    """A model of the classes that have gold rows; the others keep the share of chance.

    In a product of views a probability near 0 is a veto, which a model that never saw a class must
    not have.
    """

    model: LinearProbe | ClassMeans
    known: IntArray  # codes of the classes that the model knows, in its order
    n_classes: int

    def predict_proba(self, strong: AnyArray) -> FloatArray:
        """Return class probabilities (n, C) of rows of strong features."""
        proba = np.full((len(strong), self.n_classes), 1 / self.n_classes)
        proba[:, self.known] = self.model.predict_proba(strong) * (len(self.known) / self.n_classes)
        return proba


def make_views(
    strong: FeatureMatrix,
    weak_proba: FloatArray,
    gold: Gold,
    recipe: Recipe,
    relabel: Relabel | None,
    relabel_folds: IntArray | None,
    names: tuple[str, ...],
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> Views:
    """Train the models of all views; `advance` is called after each training or group of them."""
    partitions = [stratified_folds(gold.codes, recipe.folds, rng) for _ in range(recipe.repeats)]
    labels = mean_label(weak_proba)
    student, student_pool = _student(strong, labels, recipe, rng, advance)
    teachers_gold, student_gold = gold.weak_proba.copy(), student.predict_proba(gold.strong)
    if relabel is not None:
        # The student's labels came from a teacher that saw the gold rows: both start again.
        folds = partitions[0] if relabel_folds is None else _parts(relabel_folds)
        fold_labels = []
        for train, held_out in folds:
            on_gold, on_pool = (np.asarray(proba, dtype=np.float64) for proba in relabel(train))
            fold_labels.append(mean_label(_by_teacher(on_pool)))
            teachers_gold[held_out] = _by_teacher(on_gold)[held_out]
            advance(1)
        chosen = [_chosen(labels_, recipe, rng) for labels_ in fold_labels]
        for own, (_, held_out) in zip(
            _fitted(strong, fold_labels, chosen, recipe, rng), folds, strict=True
        ):
            student_gold[held_out] = own.predict_proba(gold.strong[held_out])
    probe, probe_pool, probe_gold = _gold_view(strong, gold, partitions, recipe.fitter(rng))
    means, means_pool, means_gold = _gold_view(
        strong, gold, partitions, recipe.averager(strong, rng)
    )
    advance(1)
    once = np.stack([*teachers_gold.transpose(1, 0, 2), student_gold])
    *teachers, last = np.broadcast_to(once, (recipe.repeats, *once.shape)).swapaxes(0, 1)
    return Views(
        names=(*names, "gold labels", "class means", "student"),
        pool=np.stack([*weak_proba.transpose(1, 0, 2), probe_pool, means_pool, student_pool]),
        gold=np.stack([*teachers, probe_gold, means_gold, last], axis=1),
        weak_gold=teachers_gold,
        gold_model=probe,
        means=means,
        student=student,
    )


def _parts(folds: IntArray) -> Folds:
    """Return (train, held-out) rows by the number of each row's fold."""
    return [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in np.unique(folds)]


def _gold_view(
    strong: FeatureMatrix, gold: Gold, partitions: list[Folds], fit: Fit
) -> tuple[GoldModel | None, FloatArray, FloatArray]:
    """Train a model of the gold labels; return it, its view of the pool and of gold rows."""
    n_classes = gold.weak_proba.shape[2]
    held_out_proba = np.full((len(partitions), len(gold), n_classes), 1 / n_classes)
    known, codes = np.unique(gold.codes, return_inverse=True)
    if len(known) < 2:  # nothing to learn from one class: a view that abstains
        return None, np.full((strong.shape[0], n_classes), 1 / n_classes), held_out_proba
    parts = [(repeat, *fold) for repeat, folds in enumerate(partitions) for fold in folds]
    rows = [np.arange(len(gold)), *(train for _, train, _ in parts)]
    first, *others = fit(gold.strong, np.eye(len(known))[codes], rows)
    model = GoldModel(first, known, n_classes)
    for part, (repeat, _, held_out) in zip(others, parts, strict=True):
        own = GoldModel(part, known, n_classes)
        held_out_proba[repeat, held_out] = own.predict_proba(gold.strong[held_out])
    return model, predict_blocks(model, strong, n_classes), held_out_proba


def _student(
    strong: FeatureMatrix,
    labels: FloatArray,
    recipe: Recipe,
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> tuple[Any, FloatArray]:
    """Train a student of the weak labels; return it and its out-of-fold view of the pool."""
    rows = _chosen(labels, recipe, rng)
    folds = stratified_folds(np.zeros(len(rows), np.int64), recipe.folds, rng)
    chosen = [rows, *(rows[train] for train, _ in folds)]
    student, *parts = _fitted(strong, [labels] * len(chosen), chosen, recipe, rng)
    # A row that no training saw needs no fold.
    proba = predict_blocks(student, strong, labels.shape[1])
    for part, (_, held_out) in zip(parts, folds, strict=True):
        proba[rows[held_out]] = part.predict_proba(strong.take(rows[held_out]))
    advance(len(chosen))
    return student, proba


def _chosen(labels: FloatArray, recipe: Recipe, rng: np.random.Generator) -> IntArray:
    """Return the rows that have a weak label, all if fewer than two have one; or a sample."""
    voted = np.flatnonzero(~abstains(labels))
    return sampled(voted if len(voted) > 1 else np.arange(len(labels)), recipe.max_pool, rng)


def _fitted(
    strong: FeatureMatrix,
    labels: Sequence[FloatArray],
    chosen: Sequence[IntArray],
    recipe: Recipe,
    rng: np.random.Generator,
) -> list[LinearProbe]:
    """Fit a student of each label vector (N, C) on its rows of the pool."""
    probe = recipe.probe(recipe.student_l2, rng)
    every = np.unique(np.concatenate(chosen))
    if len(every) > recipe.max_pool:  # more than may be in memory: samples of a large pool
        return [
            clone(probe).fit(strong.take(rows), own[rows])
            for own, rows in zip(labels, chosen, strict=True)
        ]
    rows = [np.searchsorted(every, own) for own in chosen]
    targets = [own[part] for own, part in zip(labels, chosen, strict=True)]
    return fit_together(probe, strong.take(every), targets, rows)


def predict_blocks(
    model: Any, strong: FeatureMatrix, n_classes: int, *beside: FloatArray
) -> FloatArray:
    """Return class probabilities (N, C) of strong features that are read block by block.

    The model is given the same rows of arrays `beside` them, such as weak probabilities.
    """
    proba = np.empty((strong.shape[0], n_classes))

    def predict(piece: tuple[slice, FloatArray]) -> None:
        rows, block = piece
        proba[rows] = model.predict_proba(block, *(array[rows] for array in beside))

    for_each(predict, pieces(strong))
    return proba


def _by_teacher(weak_proba: FloatArray) -> FloatArray:
    """Return probabilities (N, M, C), of one teacher too."""
    return weak_proba if weak_proba.ndim == 3 else weak_proba[:, None, :]
