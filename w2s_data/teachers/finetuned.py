"""Teachers that are fine-tuned transformers: trained on gold rows, cross-fitted, kept on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix, FeatureView
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.finetune.student import Student, fit_student
from w2s_data.shift.predictions import log_chances
from w2s_data.teachers.folds import FOLDS, MODELS, gold_folds
from w2s_data.teachers.items import Items
from w2s_data.teachers.learner import Lesson, Relearn
from w2s_data.teachers.opinions import Opinions
from w2s_data.utils.io import atomic_path, load_npy, sha256_json
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

MODEL, TRAINING = "model", ".training"  # folder of the model of all rows; of unfinished ones
METHOD = "naive"  # on labels that are gold, which is plain supervised training
FLOOR = 1e-3  # total probability of the classes that have no row, as of other teachers


@dataclass(frozen=True, eq=False)
class FinetunedTeacher:
    """A transformer with a new head that learns from gold rows.

    Beside the model of all rows there is one per fold of the gold rows, which labels all items. A
    row that was learned from is labelled by the model that did not see its fold; and the labels of
    the other items without some gold rows are those of the models that did not see these rows. So
    nothing is trained a second time.

    Each finished model's probabilities are kept in the folder of the items, and the state of a
    training every few minutes, so that a killed training resumes; so is the model of all rows,
    which labels new items.

    Attributes
    ----------
    items : Items
    lesson : Lesson
    training : TrainingSettings
        Model, what of it is tuned, and for how long.
    features : function, optional
        Returns the features of items that tuning "head" reads.
    """

    items: Items
    lesson: Lesson
    training: TrainingSettings
    features: Callable[[Items], FeatureMatrix] | None = None

    @property
    def learned(self) -> Mapping[str, Any]:
        """Nothing beside the settings."""
        return {}

    @property
    def n_columns(self) -> int:
        """Columns of the labels of all folds, and of the features of a head."""
        width = 0 if self.features is None else self.features(self.items).shape[1]
        return width + FOLDS * len(self.items.class_names)

    @cached_property
    def known(self) -> IntArray:
        """Codes of the classes that have rows."""
        return np.unique(self.lesson.codes)

    @cached_property
    def gold_folds(self) -> IntArray:
        """Fold (N,) of each gold row, and of items that equal it; -1 for the other ones."""
        return gold_folds(self.items.dataset, self.items.compute.seed)

    @cached_property
    def folds(self) -> IntArray:
        """Fold (N,) of each item that equals a row of the lesson; -1 for the other ones."""
        units = self.items.dataset.units
        return np.where(np.isin(units, units[self.lesson.rows]), self.gold_folds, -1)

    @cached_property
    def folder(self) -> Path | None:
        """Where its models are kept, by all that they depend on; None for nowhere."""
        if self.items.folder is None:
            return None
        key = sha256_json(
            {
                "training": self.training.identity(),
                "data": self.items.dataset.fingerprint,
                "rows": self.lesson.rows,
                "codes": self.lesson.codes,
                "seed": self.items.compute.seed,
            }
        )
        return self.items.folder / f"{MODELS}{key[:16]}"

    @cached_property
    def fold_proba(self) -> FloatArray:
        """Probabilities (K, N, C) of all items by the models of the K folds."""
        return np.stack([self._fold_proba(number) for number in range(FOLDS)])

    @cached_property
    def proba(self) -> FloatArray:
        """Probabilities (N, C) of all items by the model of all rows."""
        path = None if self.folder is None else self.folder / "all.npy"
        if path is not None and path.exists():
            return np.array(load_npy(path, len(self.items)))
        proba = self._predict(self.student, self.items)
        if path is not None:
            # The model first: who finds the probabilities relies on it.
            self.student.save(path.with_name(MODEL))
            _write(path, proba)
        return proba

    @cached_property
    def student(self) -> Student:
        """The model of all rows."""
        if self.folder is not None and (self.folder / "all.npy").exists():
            return Student.load(self.folder / MODEL, self.training.device)
        return self._fit("all", np.ones(len(self.lesson.rows), dtype=bool))

    def opinions(self) -> Opinions:
        """Label all items; those that equal a row that it learned from by cross-fitting."""
        proba = self.proba.copy()
        seen = np.flatnonzero(self.folds >= 0)
        proba[seen] = self.fold_proba[self.folds[seen], seen]
        place = None if self.folder is None else f"{self.folder.name}/{MODEL}"
        return Opinions(proba, {"folds": FOLDS, "model": place})

    def label(self, items: Items) -> FloatArray:
        """Return probabilities (N, C) of other items."""
        return self._predict(self.student, items)

    def relearn(self, at: IntArray) -> Relearn:
        """Return a function that labels rows (k,) without some of its rows, as its folds allow.

        Where the rows left out are a fold, these are the labels of the model without them, and
        else the mean of the models, weighted by how many of these rows each did not see.
        """
        seen = np.flatnonzero(self.folds[at] >= 0)
        of_models = self.fold_proba[:, at]
        own_fold = of_models[self.folds[at[seen]], seen]

        def relearned(kept: BoolArray) -> FloatArray:
            left_out = np.bincount(self.folds[self.lesson.rows[~kept]], minlength=FOLDS)
            weights = left_out if left_out.any() else np.ones(FOLDS)
            proba = np.asarray(np.average(of_models, axis=0, weights=weights))
            proba[seen] = own_fold
            return proba

        return relearned

    def fold_view(self, rows: IntArray, rng: np.random.Generator) -> FeatureMatrix | None:
        """Return log-probabilities (N, C) of the models that did not learn from a row."""
        if not np.isin(self.lesson.rows, rows).any():
            return None
        drawn = rng.permutation(len(self.folds)) % FOLDS
        folds = np.where(self.folds < 0, drawn, self.folds)
        return ArrayFeatures(log_chances(self.fold_proba[folds, np.arange(len(folds))]))

    def _fold_proba(self, number: int) -> FloatArray:
        """Return probabilities (N, C) of all items by the model without a fold, kept on disk."""
        kept = self.folds[self.lesson.rows] != number
        if kept.all():  # the fold has no row of the lesson
            return self.proba
        n_items, n_classes = len(self.items), len(self.items.class_names)
        if len(np.unique(self.lesson.codes[kept])) < 2:  # nothing is left to learn
            return np.full((n_items, n_classes), 1 / n_classes)
        name = f"fold-{number}"
        path = None if self.folder is None else self.folder / f"{name}.npy"
        if path is not None and path.exists():
            return np.array(load_npy(path, n_items))
        proba = self._predict(self._fit(name, kept), self.items)
        if path is not None:
            _write(path, proba)
        return proba

    def _fit(self, name: str, kept: BoolArray) -> Student:
        """Train on some rows of the lesson."""
        rows = self.lesson.rows[kept]
        targets = np.eye(len(self.known))[np.searchsorted(self.known, self.lesson.codes[kept])]
        inputs = self._inputs(self.items)
        training = self.training
        if self.folder is not None:
            training = training.replace(checkpoint=self.folder / f"{name}{TRAINING}")
        return fit_student(
            METHOD,
            FeatureView(inputs, rows) if self.features else None,
            targets,
            items=None if self.features else [inputs[row] for row in rows.tolist()],
            settings=training,
            random_state=self.items.compute.seed,
            progress=self.items.compute.progress,
            name="teacher",
        )

    def _predict(self, student: Student, items: Items) -> FloatArray:
        return self._spread(student.predict_proba(self._inputs(items)))

    def _inputs(self, items: Items) -> Any:
        return items.dataset.items if self.features is None else self.features(items)

    def _spread(self, proba: FloatArray) -> FloatArray:
        """Return probabilities (n, C) of all classes from those of the known ones."""
        n_classes = len(self.items.class_names)
        n_unknown = n_classes - len(self.known)
        floor = FLOOR if n_unknown else 0.0
        wide = np.full((len(proba), n_classes), floor / max(1, n_unknown))
        known = np.asarray(proba, dtype=np.float64)
        wide[:, self.known] = (1 - floor) * known / known.sum(axis=1, keepdims=True)
        return wide


def _write(path: Path, proba: FloatArray) -> None:
    """Write a finished model's probabilities, and delete the state of its training."""
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, proba)
    shutil.rmtree(path.with_suffix(TRAINING), ignore_errors=True)
