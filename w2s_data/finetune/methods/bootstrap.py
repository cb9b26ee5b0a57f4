"""`bootstrap`: a chain of students of rising strength."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from w2s_data.errors import InputError
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task, one_hot


@dataclass(frozen=True)
class Bootstrap(Method):
    r"""Train ever stronger students, each on the labels of the one before.

    .. math:: \theta_1 = \arg\min \sum_i \mathrm{CE}(y_i, p_\theta(x_i)),\qquad
              \theta_{k+1} = \arg\min \sum_i \mathrm{CE}(p_{\theta_k}(x_i), p_\theta(x_i))

    The steps from teacher to student are small, so that none has to bridge the whole gap. On frozen
    features it gains next to nothing: every head of the chain can follow the one before.

    Parameters
    ----------
    strengths : tuple of float
        Share of the strong model's capacity that each student has, rising to 1; for a head, of
        the principal directions of the features.
    hard : bool
        Train each student on the most probable class of its teacher.

    Notes
    -----
    Diagnostics: `teacher_agreement` (len(strengths), S), share of the pool on which a student of
    the chain predicts the first teacher's class. Controls: `naive`.

    References
    ----------
    Burns et al., *Weak-to-Strong Generalization*, 2023, section 4.3.1.
    """

    name = "bootstrap"

    strengths: tuple[float, ...] = (0.25, 0.5, 1.0)
    hard: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "strengths", tuple(self.strengths))  # hashable
        rising = all(a <= b for a, b in zip(self.strengths, self.strengths[1:], strict=False))
        if not self.strengths or not rising or self.strengths[0] <= 0 or self.strengths[-1] != 1:
            raise InputError(
                f"bootstrap: strengths must rise from above 0 to 1; got {self.strengths!r}"
            )

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        first = task.labels(self.hard)
        labels = task.tensor(first)
        agreement, controls = [], {}
        for number, strength in enumerate(self.strengths):
            model = task.train(LabelObjective(labels), stage=f"link {number}", capacity=strength)
            proba = task.pool_proba(model)
            agreement.append((proba.argmax(axis=2) == first.argmax(axis=1)).mean(axis=1))
            labels = task.seed_tensor(one_hot(proba) if self.hard else proba)
        if task.settings.controls:
            controls["naive"] = task.train(LabelObjective(task.tensor(first)), stage="naive")
        return Outcome(model, {"teacher_agreement": np.stack(agreement)}, controls)
