"""`stacked`: train on the label posterior of the pool and on the gold rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import LabelObjective, Model
from w2s_data.finetune.task import Task
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import nonnegative
from w2s_data.utils.votes import abstains


@dataclass(frozen=True)
class Stacked(Method):
    r"""Train one student on gold and weak labels together.

    .. math:: \min_\theta \sum_{i \in pool} \mathrm{CE}(q_i, p_\theta(x_i))
              + w \sum_{i \in gold} \mathrm{CE}(y_i, p_\theta(x_i))

    with q the label posterior, which joins the teachers, a model of the gold labels and a student
    of the weak ones; see `LabelPosterior`. Where the teacher is poor it follows the gold labels,
    where it is good the weak ones, row by row.

    Parameters
    ----------
    gold_weight : float
        w, weight of a gold row beside that of a pool row, 0 or more.

    Notes
    -----
    Needs `gold`, and `posterior` or strong features to fit one to. Rows on which all teachers
    abstain are trained on too. Control: `mixed`, the same rows with the weak labels as they are.
    Diagnostics: `changed`, the share of the pool whose most probable class is not the weak label.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=900)
    >>> features = rng.normal(size=(900, 8)) + 2 * y[:, None] * np.eye(8)[0]
    >>> weak = np.where(rng.random(900) < 0.7, y, 1 - y)  # right in 70 %
    >>> gold = np.where(np.arange(900) < 60, y, -1)
    >>> from w2s_data.finetune import fit_student
    >>> student = fit_student("stacked", features, weak, gold=gold, random_state=0)
    >>> bool((student.predict(features) == y).mean() > 0.8)
    True
    """

    name = "stacked"
    uses_gold = True
    trusted = True
    constraints: ClassVar = {"gold_weight": nonnegative}

    gold_weight: float = 1.0

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        is_gold = task.gold >= 0
        rows = np.where(is_gold, self.gold_weight, 1.0)
        labels = self._labels(task, task.posterior)
        model = task.train(LabelObjective(task.tensor(labels)), rows=rows)
        weak = task.labels()
        changed = labels.argmax(axis=1) != weak.argmax(axis=1)
        controls: dict[str, Model] = {}
        if task.settings.controls:
            mixed = LabelObjective(task.tensor(self._labels(task, weak)))
            known = rows * (is_gold | ~abstains(weak))
            controls["mixed"] = task.train(mixed, stage="mixed", rows=known)
        return Outcome(model, {"changed": float(changed[~is_gold].mean())}, controls)

    def targets(self, task: Task) -> tuple[BoolArray, FloatArray]:
        """Return the pool with its weak labels.

        The posterior comes from the same features: out of fold a head agrees with it best under a
        penalty that is too weak, by half a point of accuracy.
        """
        return (task.gold < 0) & (task.pool.sample_weight > 0), task.labels()

    def _labels(self, task: Task, of_pool: FloatArray) -> FloatArray:
        return np.where(task.gold[:, None] >= 0, task.gold_labels(), of_pool)
