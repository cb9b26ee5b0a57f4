"""`cosupervised`: a hierarchy of specialist teachers, assigned by the student itself."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.filters import best_shares
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective, Model
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import between, one_of, whole
from w2s_data.utils.votes import abstains, mean_label

MOST_TOP = 1000  # classes; more than there are keeps all points
TINY = 1e-12  # keeps the logarithm finite where rounding leaves a probability of 0


@dataclass(frozen=True)
class CoSupervised(Method):
    r"""Teach by ever narrower specialists, and let the student assign each point to one of them.

    The first stage trains on the generalist. At each further stage every point is assigned to the
    teacher whose label is nearest to the student's prediction,

    .. math:: m_i = \arg\min_{m \in \mathrm{stage}} \mathrm{KL}(p_\theta(x_i) \,\|\, y_{im}),

    the points that the student ranks most consistent with the assigned label are kept (in each
    class the share of points on which both agree), and a new head is trained on them for as many
    steps as before. A teacher that abstains on a point is not assigned to it.

    Parameters
    ----------
    stages : tuple of int, optional
        Number of teachers at each stage, in the order in which they are given: (1, 2, 4) is a
        generalist, two specialists, four. By default stages double until the teachers run out.
        A specialist has probability 0 in the columns of classes that it does not know.
    floor : float
        Total probability of a specialist for the classes that it does not know, in (0, 0.1].
    filter : bool
        Keep only consistent points.
    top : int
        Student and label agree where the label is among the student's `top` most probable classes:
        the larger, the more points are kept.
    rank_by : str
        Which points are kept first: "student", those of the highest student probability for the
        assigned label, or "teacher", those of which the assigned teacher is surest.

    Notes
    -----
    It helps when clusters of classes are semantic and single teachers are limited; it cannot help
    when all teachers share one binary label. Diagnostics, one entry per stage: `assignment`
    (stages, S, N), number of the teacher of each point; `consensus` (stages, S), share of points
    on which the previous student and the assigned teacher agree (NaN at the first); `kept`
    (stages, S, N). Controls: `single` (the generalist alone), `self_training` (as many stages, each
    with the generalist), `mean_ensemble`. Where the pool has gold labels `measure_gain` adds the
    reference `oracle`, see `oracle_labels`.

    References
    ----------
    Liu, Alahi, *Co-Supervised Learning: Improving Weak-to-Strong Generalization with Hierarchical
    Mixture of Experts*, 2024, section 3.
    """

    name = "cosupervised"
    constraints: ClassVar = {
        "floor": between(0, 0.1, closed="right"),
        "top": whole(1, MOST_TOP),
        "rank_by": one_of("student", "teacher"),
    }

    stages: tuple[int, ...] | None = None
    # Without a floor the divergence from a specialist is infinite on every class it does not know.
    floor: float = 1e-3
    filter: bool = True  # as published; with linear heads it tends to cost a little
    top: int = 1
    rank_by: Literal["student", "teacher"] = "student"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages is not None:
            object.__setattr__(self, "stages", tuple(self.stages))  # hashable
            if not self.stages or min(self.stages) < 1:
                raise InputError(f"cosupervised: stages must be counts >= 1; got {self.stages!r}")

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        n_teachers = task.pool.weak_proba.shape[1]
        stages = self.teachers_by_stage(n_teachers)
        if n_teachers == 1:
            warnings.warn(
                "cosupervised: a single teacher leaves one stage, which is naive training",
                DegenerateDataWarning,
                stacklevel=3,
            )
        weak_proba = with_floor(task.pool.weak_proba, self.floor)
        model, diagnostics = self._climb(task, weak_proba, stages, "stage")
        controls: dict[str, Model] = {}
        if task.settings.controls and n_teachers > 1:
            generalist = mean_label(weak_proba[:, stages[0]])
            single = LabelObjective(task.tensor(generalist))
            mean = LabelObjective(task.tensor(mean_label(weak_proba)))
            controls["single"] = task.train(single, stage="single", rows=voted_rows(generalist))
            # The same number of trainings, but with one teacher: more rounds alone also gain.
            controls["self_training"] = self._climb(
                task, weak_proba, [stages[0]] * len(stages), "self-training stage"
            )[0]
            controls["mean_ensemble"] = task.train(mean, stage="mean ensemble")
        return Outcome(model, diagnostics, controls)

    def _climb(
        self, task: Task, weak_proba: FloatArray, stages: Sequence[IntArray], name: str
    ) -> tuple[Model, dict[str, FloatArray]]:
        """Train one student per stage; return the last one and the choices at each stage."""
        shape = (task.n_seeds, task.pool.n_rows)
        choices = []
        student: FloatArray | None = None
        for number, members in enumerate(stages):
            agreement = np.full(task.n_seeds, np.nan)
            if student is None:
                choice = np.broadcast_to(members[0], shape)
                mean = mean_label(weak_proba[:, members])
                labels = np.broadcast_to(mean, (*shape, task.pool.n_classes))
                rows = voted_rows(labels)
            else:
                choice = members[nearest_teacher(student, weak_proba[:, members])]
                labels = weak_proba[np.arange(shape[1]), choice]
                by = student if self.rank_by == "student" else labels
                consistent, agreement = consistent_rows(student, labels, self.top, by)
                rows = consistent if self.filter else voted_rows(labels)
            # Specialists that never vote teach nothing: the student before them stays.
            if student is None or not abstains(weak_proba[:, members]).all():
                objective = LabelObjective(task.seed_tensor(labels))
                model = task.train(objective, stage=f"{name} {number}", rows=rows)
                student = task.pool_proba(model)
            choices.append((choice, agreement, rows))
        assignment, consensus, kept = (np.stack(each) for each in zip(*choices, strict=True))
        return model, {"assignment": assignment, "consensus": consensus, "kept": kept}

    def oracle_labels(self, weak_proba: FloatArray, gold: IntArray) -> FloatArray:
        """Return labels (N, C) of the last stage's teachers (N, M, C) if gold codes (N,) assigned.

        A reference for how far assignment can go, which no method can know: each point has the
        teacher that gives its gold label most. Where gold is -1 it has their mean.
        """
        members = self.teachers_by_stage(weak_proba.shape[1])[-1]
        own = with_floor(weak_proba, self.floor)[:, members]
        truth = np.eye(own.shape[2])[np.maximum(gold, 0)]
        chosen = own[np.arange(len(own)), nearest_teacher(truth[None], own)[0]]
        return np.where(gold[:, None] >= 0, chosen, mean_label(own))

    def teachers_by_stage(self, n_teachers: int) -> list[IntArray]:
        """Return the numbers of the teachers at each stage; all teachers must have one."""
        sizes = list(self.stages) if self.stages is not None else []
        while self.stages is None and sum(sizes) < n_teachers:
            sizes.append(min(2 ** len(sizes), n_teachers - sum(sizes)))
        if sum(sizes) != n_teachers:
            raise InputError(
                f"cosupervised: stages {tuple(sizes)} need {sum(sizes)} teachers; got {n_teachers}"
            )
        return np.split(np.arange(n_teachers), np.cumsum(sizes)[:-1])


def with_floor(weak_proba: FloatArray, floor: float) -> FloatArray:
    """Give `floor` in total to the classes that a teacher (N, M, C) never mentions.

    Rows on which it abstains stay as they are.

    >>> with_floor(np.array([[[0.5, 0.3, 0.0, 0.2]], [[0.25, 0.25, 0.25, 0.25]]]), 0.1)[:, 0]
    array([[0.45, 0.27, 0.1 , 0.18],
           [0.25, 0.25, 0.25, 0.25]])
    """
    voted = ~abstains(weak_proba)[..., None]
    unknown = ~np.any(voted & (weak_proba > 0), axis=0)
    spread = unknown / np.maximum(unknown.sum(axis=1, keepdims=True), 1)
    lost = np.where(unknown.any(axis=1), floor, 0.0)[:, None]
    return np.where(voted, (1 - lost) * weak_proba + lost * spread, weak_proba)


def nearest_teacher(student: FloatArray, weak_proba: FloatArray) -> IntArray:
    """Return the number (S, N) of the teacher (N, M, C) with the least KL(student || teacher).

    Teachers that abstain are chosen only where all do.
    """
    # KL(p || t) = sum p log p - sum p log t, and only the second term depends on the teacher.
    fit = np.einsum("snc,nmc->snm", student, np.log(np.maximum(weak_proba, TINY)))
    fit[:, abstains(weak_proba)] = -np.inf
    return np.asarray(fit.argmax(axis=2))


def voted_rows(labels: FloatArray) -> BoolArray:
    """Select rows whose label (..., C) is one: not that of teachers that all abstain."""
    return ~abstains(labels)


def consistent_rows(
    student: FloatArray, labels: FloatArray, top: int = 1, by: FloatArray | None = None
) -> tuple[BoolArray, FloatArray]:
    """Select rows (S, N) to keep; also return the consensus rate (S,), the share that is kept.

    In each class of labels the rows of highest probability `by` (by default the student's) for it,
    as large a share as there are rows whose label is among the student's `top` classes.
    """
    voted = voted_rows(labels)
    codes = np.where(voted, labels.argmax(axis=2), -1)
    own = take_codes(student, codes)
    agree = voted & ((student > own[..., None]).sum(axis=2) < top)
    rate = agree.sum(axis=1) / np.maximum(voted.sum(axis=1), 1)
    score = own if by is None else take_codes(by, codes)
    return best_shares(score, rate, codes, labels.shape[2]), rate


def take_codes(proba: FloatArray, codes: IntArray) -> FloatArray:
    """Take the probability of class codes (S, N) from (S, N, C); that of a code of -1 is any."""
    return np.asarray(np.take_along_axis(proba, np.maximum(codes, 0)[..., None], axis=2)[..., 0])
