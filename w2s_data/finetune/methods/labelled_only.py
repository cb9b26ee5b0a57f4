"""`labelled_only`: train on the gold rows and leave the pool out."""

from __future__ import annotations

from dataclasses import dataclass

from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import BoolArray, FloatArray


@dataclass(frozen=True)
class LabelledOnly(Method):
    r"""Train on the gold labels alone, which every use of weak labels has to beat.

    .. math:: \min_\theta \sum_{i \in gold} \mathrm{CE}(y_i, p_\theta(x_i))

    Heads are computed at the optimum. Whole models take as many steps as a student of the whole
    pool, so that a comparison is about labels and not about computing.
    """

    name = "labelled_only"
    uses_gold = True
    own_targets = True
    trusted = True

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        objective = LabelObjective(task.tensor(task.gold_labels()))
        return Outcome(task.train(objective, rows=task.gold >= 0))

    def targets(self, task: Task) -> tuple[BoolArray, FloatArray]:
        """Return the gold rows and their labels."""
        return task.gold >= 0, task.gold_labels()
