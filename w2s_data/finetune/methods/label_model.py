"""`label_model`: train on the labels of a model of the teachers, without gold labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective
from w2s_data.finetune.task import Task, one_hot
from w2s_data.posterior.label_model import LabelModel
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import nonnegative
from w2s_data.utils.votes import abstains


@dataclass(frozen=True)
class DawidSkene(Method):
    r"""Weigh the votes of M >= 3 teachers by how they agree, and train the student on the result.

    .. math:: \min_\theta \sum_i \mathrm{CE}(q_i, p_\theta(x_i)),\qquad
              q_i(c) \propto \pi_c \prod_m \theta_m[c, v_{im}]

    The usual way of weak supervision with rules: confusion matrices theta and class shares pi are
    fitted to the votes v alone, as if teachers were independent given the class; see `LabelModel`.

    Parameters
    ----------
    hard : bool
        Train on the most probable class instead of the probabilities.
    strength : float
        Votes per class that the prior of a teacher counts for, 0 or more; see `LabelModel`.

    Notes
    -----
    With fewer than three teachers that vote, the mean of those that vote is used, with a
    `DegenerateDataWarning`. Diagnostics: `accuracy` (M,), expected share of right votes of each
    teacher; `changed`, share of the labelled rows whose class is not that of the mean.

    References
    ----------
    Dawid, Skene, Applied Statistics 28, 1979; Ratner et al., *Snorkel*, VLDB 2017.
    """

    name = "label_model"
    own_targets = True
    constraints: ClassVar = {"strength": nonnegative}

    hard: bool = False
    strength: float = 1.0

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        model, labels = self._label(task)
        objective = LabelObjective(task.tensor(labels))
        voted = ~abstains(labels)
        other = labels.argmax(axis=1) != task.labels().argmax(axis=1)
        changed = float(other[voted].mean()) if voted.any() else np.nan
        diagnostics = {"accuracy": model.accuracy_, "changed": changed}
        return Outcome(task.train(objective), diagnostics)

    def targets(self, task: Task) -> tuple[BoolArray, FloatArray]:
        """Return the pool and the labels of the model."""
        return task.pool.sample_weight > 0, self._label(task)[1]

    def _label(self, task: Task) -> tuple[LabelModel, FloatArray]:
        """Return the model and its labels (N, C), uniform where nobody votes."""
        weak, weight = task.pool.weak_proba, task.pool.sample_weight
        model = LabelModel(strength=self.strength).fit(weak[weight > 0])
        proba = model.predict_proba(weak)
        return model, one_hot(proba) if self.hard else proba
