"""Teachers that are linear probes on the features of an encoder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.features.matrix import FeatureMatrix, sampled
from w2s_data.probes.linear import LinearProbe, cross_fit_proba
from w2s_data.shift.predictions import FoldPredictions
from w2s_data.teachers.items import Items
from w2s_data.teachers.learner import Lesson, Relearn
from w2s_data.teachers.opinions import Opinions
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator

TEACHER_FOLDS = 5  # the usual number: more folds change cross-fitted probabilities little
PROBE_COPIES = 4  # of its rows in float64, that fitting a probe makes
# In total, for the classes that a specialist never saw: without it a product of views, or the
# divergence from a specialist, would rule these classes out.
FLOOR = 1e-3


@dataclass(frozen=True, eq=False)
class ProbeTeacher:
    """A probe that learns from gold rows.

    Attributes
    ----------
    features : FeatureMatrix (N, D)
        Features of all items, read block by block.
    probe : LinearProbe
        Unfitted.
    lesson : Lesson
    n_classes : int
    floor : float
        Total probability of the classes that have no row.
    one_penalty : bool
        Whether cross-fitting takes the penalty of all rows: choosing it again in every fold is
        most of the time of many teachers.
    settings : settings of the teacher, optional
        By which features of other items are asked for.
    encoder_rows : int array (n,), optional
        By which an encoder that learned from the teacher's rows alone is fitted again.
    """

    features: FeatureMatrix
    probe: LinearProbe
    lesson: Lesson
    n_classes: int
    floor: float = 0.0
    one_penalty: bool = False
    settings: Any = None
    encoder_rows: IntArray | None = None

    @property
    def n_columns(self) -> int:
        """Columns of its features."""
        return self.features.shape[1]

    @property
    def gold_folds(self) -> IntArray | None:
        """None: it is trained again without any rows."""
        return None

    @property
    def learned(self) -> Mapping[str, Any]:
        """The penalty that it has."""
        return {"l2": float(self.fitted.l2_)}

    @cached_property
    def known(self) -> IntArray:
        """Codes of the classes that have rows."""
        return np.unique(self.lesson.codes)

    @cached_property
    def fitted(self) -> LinearProbe:
        """The probe, fitted to all rows of the lesson."""
        probe: LinearProbe = clone(self.probe).fit(self._train, self._places)
        return probe

    @cached_property
    def again(self) -> LinearProbe:
        """An unfitted probe with the penalty that it has: a choice in every fold changes little."""
        probe: LinearProbe = clone(self.probe).set_params(l2=self.fitted.l2_)
        return probe

    @cached_property
    def _train(self) -> FloatArray:
        return self.features.take(self.lesson.rows)

    @cached_property
    def _places(self) -> IntArray:
        """Places (n,) of the codes among the known classes."""
        return np.searchsorted(self.known, self.lesson.codes)

    def opinions(self) -> Opinions:
        """Label all items; those that it learned from by cross-fitting."""
        proba = self.predict(self.features)
        # A teacher is too sure of items that it was trained on, which would hide hard ones.
        cross_fitted = cross_fit_proba(
            self.again if self.one_penalty else self.fitted,
            *(self._train, self._places),
            folds=TEACHER_FOLDS,
            random_state=self.probe.random_state,
        )
        proba[self.lesson.rows] = self._spread(cross_fitted)
        return Opinions(proba, self.learned)

    def predict(self, features: FeatureMatrix) -> FloatArray:
        """Return probabilities (N, C) of features, which are read block by block."""
        proba = np.zeros((features.shape[0], self.n_classes))
        for rows, block in features.blocks():
            proba[rows] = self._spread(self.fitted.predict_proba(block))
        return proba

    def label(self, items: Items) -> FloatArray:
        """Return probabilities (N, C) of other items."""
        return self.predict(items.features(self.settings, self.encoder_rows))

    def relearn(self, at: IntArray) -> Relearn:
        """Return a function that trains it again and labels rows (k,)."""
        train, asked = self._train, self.features.take(at)
        # As distributions, so that a class missing from a fold keeps its column.
        targets = np.eye(len(self.known))[self._places]

        def relearned(kept: BoolArray) -> FloatArray:
            if not kept.any():  # a lesson of a few rows: nothing is left to learn
                return np.full((len(at), self.n_classes), 1 / self.n_classes)
            probe = clone(self.again).fit(train[kept], targets[kept])
            return self._spread(probe.predict_proba(asked))

        return relearned

    def fold_view(self, rows: IntArray, rng: np.random.Generator) -> FeatureMatrix | None:
        """Return log-probabilities (N, K) of models that learned from some of its rows by folds."""
        lesson = self.lesson.take(np.isin(self.lesson.rows, rows))
        codes = np.unique(lesson.codes, return_inverse=True)[1]
        if not len(codes) or codes.max() == 0:  # nothing is learned from a single class
            return None
        return FoldPredictions.fit(self.features, self.again, lesson.rows, codes, rng)

    def _spread(self, proba: FloatArray) -> FloatArray:
        """Return probabilities (n, C) of all classes from those of the known ones."""
        n_unknown = self.n_classes - len(self.known)
        floor = self.floor if n_unknown else 0.0
        wide = np.full((len(proba), self.n_classes), floor / max(1, n_unknown))
        wide[:, self.known] = (1 - floor) * proba
        return wide


def fitting_lesson(
    lesson: Lesson,
    n_columns: int,
    memory: MemoryLimit | None,
    random_state: RandomState,
    name: str = "the teacher",
) -> Lesson:
    """Return the rows that fit into memory with their features, a random sample with a warning."""
    limit = memory or MemoryLimit.parse(None)
    n = len(lesson.rows)
    places = np.arange(n)
    chosen = sampled(places, limit.rows(n_columns, PROBE_COPIES), check_generator(random_state))
    if len(chosen) == n:
        return lesson
    warnings.warn(
        f"{name} is trained on a random {len(chosen):,} of the {n:,} labelled items, which fit "
        "into memory",
        DegenerateDataWarning,
        stacklevel=3,
    )
    return lesson.take(np.sort(chosen))


def probe_for(dataset: W2SDataset, probe: LinearProbe) -> LinearProbe:
    """Return the probe; for pairs one without intercept, so that swapped items swap probabilities.

    Raises
    ------
    InputError
        If it is a ridge probe on pairs, whose labels 0 and 1 have no symmetry without intercept.
    """
    if not dataset.is_paired:
        return probe
    if probe.loss != "logistic":
        raise InputError(f"a probe on pairs needs loss='logistic'; got {probe.loss!r}")
    ranker: LinearProbe = clone(probe).set_params(fit_intercept=False)
    return ranker
