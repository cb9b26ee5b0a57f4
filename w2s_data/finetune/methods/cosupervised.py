"""`cosupervised`: a hierarchy of specialist teachers, assigned by the student itself."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.errors import DegenerateDataWarning, InputError
from w2s_data.finetune.filters import best_rows, share_count
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective, Model
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from w2s_data.finetune.task import Task

TINY = 1e-12


@dataclass(frozen=True)
class CoSupervised(Method):
    r"""Teach by ever narrower specialists, and let the student say whose point it is.

    The first level trains on the generalist. At each further level every point goes to the teacher
    whose label is nearest to the student's prediction,

    .. math:: m_i = \arg\min_{m \in \mathrm{level}} \mathrm{KL}(p_\theta(x_i) \,\|\, y_{im}),

    the points that the student ranks most consistent with the assigned label are kept (in each
    class the share of points on which both agree), and a new head is trained on them for as many
    steps as before.

    Parameters
    ----------
    levels : tuple of int, optional
        Number of teachers at each level, in the order in which they are given: (1, 2, 4) is a
        generalist, two specialists, four. By default levels double until the teachers run out.
    floor : float
        Probability that a specialist leaves in total for the classes it does not know, where the
        divergence would otherwise be infinite; in (0, 0.1].
    filter : bool
        Keep only consistent points. With linear heads it tends to cost a little.

    Notes
    -----
    It helps when clusters of classes mean something and single teachers know little; it cannot
    help when all teachers share one binary label. Diagnostics, a level each:
    `assignment` (levels, S, N), number of the teacher of each point; `consensus` (levels, S),
    share of points on which the student before and the assigned teacher agree (NaN at the first);
    `kept` (levels, S, N). Controls: `single` (the generalist alone), `self_training` (as many
    levels, each with the generalist), `mean_ensemble`.

    =========  =========  ============================================
    input      shape      used as
    =========  =========  ============================================
    teachers   (N, M, C)  generalist first, then the specialists; 0 in the columns of classes
                          that a specialist does not know
    =========  =========  ============================================

    References
    ----------
    Liu, Alahi, *Co-Supervised Learning: Improving Weak-to-Strong Generalization with Hierarchical
    Mixture of Experts*, 2024, section 3.

    Examples
    --------
    >>> CoSupervised(levels=(1, 2, 4))
    CoSupervised(levels=(1, 2, 4), floor=0.001, filter=True)
    """

    name = "cosupervised"

    levels: tuple[int, ...] | None = None
    floor: float = 1e-3
    filter: bool = True

    def __post_init__(self) -> None:
        self._check_range("floor", 0, 0.1, above=True)
        if self.levels is not None:
            object.__setattr__(self, "levels", tuple(self.levels))
            if not self.levels or min(self.levels) < 1:
                raise InputError(f"cosupervised: levels must be counts >= 1; got {self.levels!r}")

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        n_teachers = task.pool.weak_proba.shape[1]
        levels = self.teachers_by_level(n_teachers)
        if n_teachers == 1:
            warnings.warn(
                "cosupervised: a single teacher leaves one level, which is naive training",
                DegenerateDataWarning,
                stacklevel=3,
            )
        teachers = with_floor(task.pool.weak_proba, self.floor)
        model, diagnostics = self._climb(task, teachers, levels, "level")
        controls: dict[str, Model] = {}
        if task.controls and n_teachers > 1:
            generalist = teachers[:, levels[0]]
            single = LabelObjective(task.tensor(generalist.mean(axis=1)))
            mean = LabelObjective(task.tensor(teachers.mean(axis=1)))
            controls["single"] = task.train(single, stage="single")
            controls["self_training"] = self._climb(
                task, teachers, [levels[0]] * len(levels), "self-training level"
            )[0]
            controls["mean_ensemble"] = task.train(mean, stage="mean ensemble")
        return Outcome(model, diagnostics, controls)

    def _climb(
        self, task: Task, teachers: FloatArray, levels: Sequence[IntArray], stage: str
    ) -> tuple[Model, dict[str, FloatArray]]:
        """Train a student a level; the last one and what each level did."""
        shape = (task.n_seeds, task.pool.n_rows)
        assigned, kept, consensus = [], [], []
        student: FloatArray | None = None
        for number, members in enumerate(levels):
            if student is None:
                choice = np.broadcast_to(members[0], shape)
                labels = np.broadcast_to(
                    teachers[:, members].mean(axis=1), (*shape, teachers.shape[2])
                )
                rows, agreement = np.ones(shape, dtype=bool), np.full(task.n_seeds, np.nan)
            else:
                choice = members[nearest_teacher(student, teachers[:, members])]
                labels = teachers[np.arange(shape[1]), choice]
                rows, agreement = consistent_rows(student, labels)
            if not self.filter:
                rows = np.ones(shape, dtype=bool)
            objective = LabelObjective(task.seed_tensor(labels))
            model = task.train(objective, stage=f"{stage} {number}", rows=rows)
            student = task.pool_proba(model)
            assigned.append(choice)
            kept.append(rows)
            consensus.append(agreement)
        return model, {
            "assignment": np.stack(assigned),
            "consensus": np.stack(consensus),
            "kept": np.stack(kept),
        }

    def teachers_by_level(self, n_teachers: int) -> list[IntArray]:
        """Numbers of the teachers at each level.

        Raises
        ------
        InputError
            If the levels do not add up to the number of teachers.
        """
        sizes = list(self.levels) if self.levels is not None else []
        while self.levels is None and sum(sizes) < n_teachers:
            sizes.append(min(2 ** len(sizes), n_teachers - sum(sizes)))
        if sum(sizes) != n_teachers:
            raise InputError(
                f"cosupervised: levels {tuple(sizes)} need {sum(sizes)} teachers; got {n_teachers}"
            )
        return np.split(np.arange(n_teachers), np.cumsum(sizes)[:-1])


def with_floor(teachers: FloatArray, floor: float) -> FloatArray:
    """Teachers (N, M, C) that leave `floor` in total to the classes they never mention.

    >>> with_floor(np.array([[[0.5, 0.5, 0.0, 0.0]]]), 0.1)
    array([[[0.45, 0.45, 0.05, 0.05]]])
    """
    unknown = ~np.any(teachers > 0, axis=0)
    spread = unknown / np.maximum(unknown.sum(axis=1, keepdims=True), 1)
    lost = np.where(unknown.any(axis=1), floor, 0.0)[:, None]
    return np.asarray((1 - lost) * teachers + lost * spread)


def nearest_teacher(student: FloatArray, teachers: FloatArray) -> IntArray:
    """Number (S, N) of the teacher with the least KL(student || teacher).

    Parameters
    ----------
    student : array (S, N, C)
    teachers : array (N, M, C)
    """
    # KL(p || t) = sum p log p - sum p log t, and only the second term knows the teacher.
    fit = np.einsum("snc,nmc->snm", student, np.log(np.maximum(teachers, TINY)))
    return np.asarray(fit.argmax(axis=2))


def consistent_rows(student: FloatArray, labels: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Rows (S, N) to keep, and the consensus rate (S,) that says how many.

    The rows of highest student probability for the label's class, as large a share as there are
    rows on which student and label predict the same class. Inside each class: over all classes at
    once, those that the student finds hard would vanish.
    """
    codes = labels.argmax(axis=2)
    rate = (student.argmax(axis=2) == codes).mean(axis=1)
    score = np.take_along_axis(student, codes[..., None], axis=2)[..., 0]
    rows = [
        best_rows(own, share_count(share, np.bincount(code, minlength=labels.shape[2])), code)
        for own, share, code in zip(score, rate, codes, strict=True)
    ]
    return np.stack(rows), rate
