"""`confidence`: the student trusts its own predictions more and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.finetune.losses import confidence_loss, ramp
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import Batch, Objective
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from w2s_data.finetune.task import Task


@dataclass(frozen=True)
class Confidence(Method):
    r"""Mix the student's own hardened prediction into the target.

    .. math:: \mathrm{CE}((1 - a) y_i + a \hat y_i, p_\theta(x_i)),\qquad
              \hat y_i = \mathrm{onehot}(\arg\max p_\theta(x_i))

    The weight a rises linearly from 0 to `largest` over the first `ramp` of the steps. Without the
    rise the student hardens its first, random predictions, and collapses on weak teachers.

    Parameters
    ----------
    largest : float
        Final weight of the student's own label, in [0, 1]: 0.5 for a student little stronger than
        its teacher, 0.75 for a much stronger one.
    ramp : float
        Share of the steps over which the weight rises, in [0, 1].
    hard : bool
        Harden the teacher's labels too.

    Notes
    -----
    History: `own_weight`, the weight a at the end of the epoch.

    =========  =========  ============================================
    input      shape      used as
    =========  =========  ============================================
    teachers   (N, M, C)  their mean is the teacher's label
    =========  =========  ============================================

    References
    ----------
    Burns et al., *Weak-to-Strong Generalization*, 2023, section 4.3.2 and appendix A.4.

    Examples
    --------
    >>> Confidence(largest=0.5)
    Confidence(largest=0.5, ramp=0.2, hard=False)
    """

    name = "confidence"

    largest: float = 0.75
    ramp: float = 0.2
    hard: bool = False

    def __post_init__(self) -> None:
        self._check_range("largest", 0, 1)
        self._check_range("ramp", 0, 1)

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        labels = task.tensor(task.labels(self.hard))
        return Outcome(task.train(_ConfidenceObjective(labels, self.largest, self.ramp)))


class _ConfidenceObjective(Objective):
    def __init__(self, labels: Tensor, largest: float, ramp_share: float) -> None:
        self.labels = labels
        self.largest = largest
        self.ramp_share = ramp_share
        self.own = 0.0

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        self.own = ramp(batch.step, batch.n_steps, self.largest, self.ramp_share)
        return confidence_loss(logits, batch.take(self.labels), self.own)

    def record(self) -> dict[str, FloatArray]:
        return {"own_weight": np.full(len(self.labels), self.own)}
