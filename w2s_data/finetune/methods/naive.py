"""`naive`: cross-entropy on the teachers' labels."""

from __future__ import annotations

from dataclasses import dataclass

from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task


@dataclass(frozen=True)
class Naive(Method):
    r"""Train the student on the teacher's labels as if they were true: the floor of every table.

    .. math:: \min_\theta \frac1N \sum_i \mathrm{CE}(y_i, p_\theta(x_i))

    Parameters
    ----------
    hard : bool
        Train on the most probable class instead of the probabilities. Hard labels sharpen the
        student; soft ones preserve the teacher's uncertainty and, for the most part, its errors.

    References
    ----------
    Burns et al., *Weak-to-Strong Generalization*, 2023, section 3.
    """

    name = "naive"

    hard: bool = False

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        return Outcome(task.train(LabelObjective(task.tensor(task.labels(self.hard)))))
