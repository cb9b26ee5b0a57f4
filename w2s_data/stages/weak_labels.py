"""Weak labels of a run, wherever they came from: with the data, from teachers, or from one probe.

Everything that reads weak labels reads them here, so that no stage asks where they came from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.weak import proba_of
from w2s_data.errors import DegenerateDataWarning, InputError, SplitError
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix
from w2s_data.probes.linear import LinearProbe
from w2s_data.shift.predictions import log_chances
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import SCORE
from w2s_data.stages.teacher_store import is_taught, stored_teachers
from w2s_data.teachers.learner import Lesson
from w2s_data.teachers.probe import ProbeTeacher, fitting_lesson, probe_for
from w2s_data.utils.stage import WEAK_PROBA
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import mean_label

if TYPE_CHECKING:
    from w2s_data.data.dataset import W2SDataset
    from w2s_data.posterior.views import Relabel
    from w2s_data.run import Run
    from w2s_data.teachers.items import Items
    from w2s_data.teachers.learner import Learner


@dataclass(frozen=True, eq=False)
class WeakLabels:
    """Weak labels of N items by M teachers.

    Attributes
    ----------
    proba : float array (N, C), or (N, M, C) of several teachers
    names : tuple of str
        Names of the teachers; empty for one without a name.
    learners : tuple, one per teacher
        The teacher if it learned from gold rows, else None; empty where none did.
    labellers : tuple of functions, one per teacher
        Each labels new items; empty for weak labels that came with the data.
    """

    proba: FloatArray
    names: tuple[str, ...] = ()
    learners: tuple[Learner | None, ...] = ()
    labellers: tuple[Callable[[Items], FloatArray], ...] = ()

    @property
    def mean(self) -> FloatArray:
        """Mean (N, C) of the teachers that do not abstain."""
        return mean_label(self.proba)

    @property
    def by_teacher(self) -> FloatArray:
        """Probabilities (N, M, C)."""
        return self.proba if self.proba.ndim == 3 else self.proba[:, None]

    @property
    def learned(self) -> bool:
        """Whether a teacher learned from gold rows."""
        return any(learner is not None for learner in self.learners)

    @property
    def n_columns(self) -> int:
        """Columns of the features that teachers read when they learn again."""
        return sum(learner.n_columns for learner in self.learners if learner is not None)

    def relabel(self, units: IntArray, gold: IntArray, sample: IntArray) -> Relabel | None:
        """Return a function that trains the teachers again without the gold items held out.

        `units` (N,) are equal for equal items. None where no teacher can learn again.
        """
        at = np.concatenate([gold, sample])
        again = [None if one is None else one.relearn(at) for one in self.learners]
        if all(one is None for one in again):
            return None
        known = self.by_teacher[at]

        def relabel(rows: IntArray) -> tuple[FloatArray, FloatArray]:
            held_out = np.delete(units[gold], rows)
            proba = known.copy()
            for m, (learner, relearned) in enumerate(zip(self.learners, again, strict=True)):
                if learner is not None and relearned is not None:
                    kept = ~np.isin(units[learner.lesson.rows], held_out)
                    proba[:, m] = relearned(kept)
            of_teachers = proba if self.proba.ndim == 3 else proba[:, 0]
            return of_teachers[: len(gold)], of_teachers[len(gold) :]

        return relabel

    def relabel_folds(self, gold: IntArray) -> IntArray | None:
        """Return the folds (n,) of gold rows by which a teacher must be trained again, if any."""
        folds = [one.gold_folds for one in self.learners if one is not None]
        return next((own[gold] for own in folds if own is not None), None)

    def fixed_views(self) -> list[FeatureMatrix]:
        """Return log-probabilities of all items by teachers that learned from no gold row."""
        learners = self.learners or (None,) * self.by_teacher.shape[1]
        fixed = [m for m, learner in enumerate(learners) if learner is None]
        proba = self.by_teacher[:, fixed]
        return [ArrayFeatures(log_chances(proba.reshape(len(proba), -1)))] if fixed else []

    def fold_views(self, rows: IntArray, rng: np.random.Generator) -> list[FeatureMatrix]:
        """Return log-probabilities of all items by learners that did not learn from a row."""
        found = [one.fold_view(rows, rng) for one in self.learners if one is not None]
        return [view for view in found if view is not None]

    def of_new(self, items: Items) -> tuple[FloatArray | None, list[str]]:
        """Label new items: probabilities as `proba` has them, None without any; notes.

        A teacher that cannot label them abstains, and a note says why.
        """
        if not self.labellers:
            given = items.dataset.weak_proba
            return (None if given is None else _without_single(given)), []
        n_classes = self.proba.shape[-1]
        proba = np.full((len(items), len(self.labellers), n_classes), 1 / n_classes)
        notes = []
        for m, label in enumerate(self.labellers):
            try:
                proba[:, m] = label(items)
            except InputError as error:
                name = f"teacher {self.names[m]!r}" if self.names else "the teacher"
                notes.append(f"{name} abstains on the new rows: {error}")
        if len(notes) == len(self.labellers):
            return None, notes if self.names else []
        return (proba if self.proba.ndim == 3 else proba[:, 0]), notes


def trains_teacher(run: Run, dataset: W2SDataset) -> bool:
    """Whether scoring trains a teacher on the weak features, for want of other weak labels."""
    return dataset.weak_proba is None and not is_taught(run)


def weak_proba_by_model(run: Run, dataset: W2SDataset) -> FloatArray:
    """Return weak probabilities (N, C) of the run, or (N, M, C) of several teachers."""
    stacked = dataset.weak_proba  # they came with the data, and are not read a second time
    if stacked is None:
        stacked = proba_of(run.read_table(WEAK_PROBA, per_item=True), dataset.class_names)
    return _without_single(stacked)


def _without_single(proba: FloatArray) -> FloatArray:
    """Return probabilities (N, M, C), those of a single teacher as (N, C)."""
    return proba[:, 0] if proba.ndim == 3 and proba.shape[1] == 1 else proba


def weak_proba_of(run: Run, dataset: W2SDataset) -> FloatArray:
    """Return weak probabilities (N, C) of the run, averaged over teachers."""
    return mean_label(weak_proba_by_model(run, dataset))


def weak_labels_of(run: Run, dataset: W2SDataset, compute: Compute) -> WeakLabels:
    """Return the weak labels of a scored run, with the teachers as they were trained for it."""
    proba = weak_proba_by_model(run, dataset)
    if dataset.weak_proba is not None:
        return WeakLabels(proba, dataset.weak_names)
    if is_taught(run):
        stored = stored_teachers(run, dataset, compute)
        return WeakLabels(
            proba,
            tuple(one.name for one in stored),
            tuple(one.learner for one in stored),
            tuple(one.label for one in stored),
        )
    recorded = run.manifest["stages"][SCORE.name]["settings"]
    probe = LinearProbe(**recorded["teacher"])
    weak = required(load_features(run, compute), "weak")
    learner = train_teacher(dataset, weak, probe, compute.memory)
    return WeakLabels(proba, learners=(learner,), labellers=(learner.label,))


def teach(
    dataset: W2SDataset,
    weak_features: FeatureMatrix,
    probe: LinearProbe,
    memory: MemoryLimit | None = None,
) -> WeakLabels:
    """Train a teacher on the labelled split; labels of what it learned from are cross-fitted."""
    learner = train_teacher(dataset, weak_features, probe, memory)
    return WeakLabels(learner.opinions().proba, learners=(learner,))


def train_teacher(
    dataset: W2SDataset,
    weak_features: FeatureMatrix,
    probe: LinearProbe,
    memory: MemoryLimit | None = None,
) -> ProbeTeacher:
    """Return a teacher that learns from the labelled split.

    On pairs it has no intercept, see `probe_for`. Where memory does not hold the labelled items it
    learns from a random sample of them, with a warning; and without rows that contradict each
    other, likewise.
    """
    rows = teaching_rows(dataset)
    lesson = Lesson(rows, dataset.labels[rows])
    lesson = fitting_lesson(lesson, weak_features.shape[1], memory, probe.random_state)
    return ProbeTeacher(weak_features, probe_for(dataset, probe), lesson, len(dataset.class_names))


def teaching_rows(dataset: W2SDataset) -> IntArray:
    """Return the gold rows that teachers learn from; raise SplitError if they hold one class."""
    dataset.check_teacher_data()
    gold = gold_rows(dataset)
    for note in gold.notes(dataset, "the teacher"):
        warnings.warn(note, DegenerateDataWarning, stacklevel=3)
    rows = gold.consistent
    if len(np.unique(dataset.labels[rows])) < 2:
        raise SplitError(
            f"the labelled split holds fewer than two classes without the "
            f"{len(gold.contradicting):,} gold rows that contradict equal items, and the teacher "
            "needs two: label each item once"
        )
    return rows
