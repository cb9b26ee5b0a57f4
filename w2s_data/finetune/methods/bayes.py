"""`bayes`: an evidential student, which says how much it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.finetune.losses import evidential_loss, ramp
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import Batch, Objective
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from w2s_data.finetune.task import Task


@dataclass(frozen=True)
class Bayes(Method):
    r"""Let the student put a Dirichlet distribution over its class probabilities.

    .. math:: \sum_c y_{ic} (\psi(\textstyle\sum_k \alpha_{ik}) - \psi(\alpha_{ic}))
              + \lambda_t \mathrm{KL}(\mathrm{Dir}(\tilde\alpha_i) \,\|\, \mathrm{Dir}(1)),\qquad
              \alpha_i = 1 + \mathrm{ReLU}(f(x_i)),\ \tilde\alpha_i = y_i + (1 - y_i) \alpha_i

    Evidence has to be earned: without any the prediction is uniform, and the penalty takes away
    what speaks against the label. The student predicts the mean of its Dirichlet.

    Parameters
    ----------
    divergence : float
        Final weight of the penalty, >= 0; 0.1 to 1 is usual.
    ramp : float
        Share of the steps over which the weight rises from 0, in [0, 1], so that evidence can
        form first.
    hard : bool
        Train on the most probable class. A soft label, close to even, can only be met by a lot of
        evidence for every class, which a head learns before it tells the classes apart: on SST-2
        soft labels cost 4 to 9 points.

    Notes
    -----
    History: `divergence_weight`, the weight of the penalty at the end of the epoch.

    =========  =========  ============================================
    input      shape      used as
    =========  =========  ============================================
    teachers   (N, M, C)  their mean is the label
    =========  =========  ============================================

    References
    ----------
    Sensoy, Kaplan, Kandemir, *Evidential Deep Learning to Quantify Classification Uncertainty*,
    NeurIPS 2018; Cui et al., *Bayesian WeakS-to-Strong*, ICLR 2025.

    Examples
    --------
    >>> Bayes(divergence=0.5)
    Bayes(divergence=0.5, ramp=0.5, hard=True)
    """

    name = "bayes"

    divergence: float = 1.0
    ramp: float = 0.5
    hard: bool = True

    def __post_init__(self) -> None:
        self._check_range("divergence", 0, np.inf)
        self._check_range("ramp", 0, 1)

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        labels = task.tensor(task.labels(self.hard))
        return Outcome(task.train(_EvidentialObjective(labels, self.divergence, self.ramp)))


class _EvidentialObjective(Objective):
    link = "evidence"

    def __init__(self, labels: Tensor, divergence: float, ramp_share: float) -> None:
        self.labels = labels
        self.divergence = divergence
        self.ramp_share = ramp_share
        self.weight = 0.0

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        self.weight = ramp(batch.step, batch.n_steps, self.divergence, self.ramp_share)
        return evidential_loss(logits, batch.take(self.labels), self.weight)

    def record(self) -> dict[str, FloatArray]:
        return {"divergence_weight": np.full(len(self.labels), self.weight)}
