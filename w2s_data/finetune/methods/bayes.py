"""`bayes`: an evidential student, which states how much it knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from w2s_data.finetune.losses import evidential_loss, over_teachers
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import RampedObjective
from w2s_data.finetune.task import Task
from w2s_data.utils.validation import between, nonnegative


@dataclass(frozen=True)
class Bayes(Method):
    r"""Let the student put a Dirichlet distribution over its class probabilities.

    .. math:: \sum_c y_{ic} (\psi(\textstyle\sum_k \alpha_{ik}) - \psi(\alpha_{ic}))
              + \lambda_t \mathrm{KL}(\mathrm{Dir}(\tilde\alpha_i) \,\|\, \mathrm{Dir}(1)),\qquad
              \alpha_i = 1 + \mathrm{ReLU}(f(x_i)),\ \tilde\alpha_i = y_i + (1 - y_i) \alpha_i

    Evidence has to be earned: without any the prediction is uniform, and the penalty removes
    evidence against the label. The student predicts the mean of its Dirichlet.

    Parameters
    ----------
    divergence : float
        Final weight of the penalty, >= 0; 0.1 to 1 is usual.
    ramp : float
        Share of the steps over which the weight rises from 0, in [0, 1].
    hard : bool
        Train on the most probable class. A soft label, close to even, can only be met by much
        evidence for every class, which a head learns before it separates the classes: on SST-2
        soft labels cost 4 to 9 points.
    per_teacher : bool
        With several teachers, average the losses over those that vote, as published; otherwise
        train on their mean.

    Notes
    -----
    History: `divergence_weight`, the weight of the penalty at the end of the epoch.

    References
    ----------
    Sensoy, Kaplan, Kandemir, *Evidential Deep Learning to Quantify Classification Uncertainty*,
    NeurIPS 2018; Cui et al., *Bayesian WeakS-to-Strong*, ICLR 2025.
    """

    name = "bayes"
    constraints: ClassVar = {"divergence": nonnegative, "ramp": between(0, 1)}

    divergence: float = 1.0
    # A penalty at full weight from the start removes evidence before any can form.
    ramp: float = 0.5
    hard: bool = True
    per_teacher: bool = False

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        labels = task.tensor(task.labels(self.hard, self.per_teacher))
        loss = over_teachers(evidential_loss) if self.per_teacher else evidential_loss
        objective = RampedObjective(
            labels, loss, self.divergence, self.ramp, "divergence_weight", "evidence"
        )
        return Outcome(task.train(objective))
