"""`raven`: learn the weight of each teacher together with the task."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from w2s_data.errors import DegenerateDataWarning
from w2s_data.finetune.methods.base import Method, Outcome
from w2s_data.finetune.objectives import Batch, LabelObjective, Model, Objective
from w2s_data.finetune.task import Task, one_hot
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import between, nonnegative

if TYPE_CHECKING:
    from torch import Tensor


SMALLEST_WEIGHT = 1e-6  # as published: a weight of 0 could never rise again
# `weight_rate` is that of a training of 1,000 steps. Weights travel by rate x steps, so that the
# rate must fall as the number of steps rises.
RATE_STEPS = 1000


@dataclass(frozen=True)
class Raven(Method):
    r"""Learn the student and simplex weights over M >= 2 teachers together.

    .. math:: \min_{\theta, w \in \Delta} \frac1N \sum_i
              \mathrm{CE}\Big(\frac{\sum_m w_m y_{im}}{\sum_m w_m}, p_\theta(x_i)\Big)

    Each step takes one gradient step on both, clamps the weights at 1e-6 and renormalises them. A
    teacher gains weight when its labels are easier to fit in strong features than the mixture's.
    During the first `easy` share of the steps the student trains only on points on which all
    teachers agree, and the weights stay equal.

    Parameters
    ----------
    weight_rate : float
        Learning rate of the weights in a training of 1,000 steps; scaled inversely with the number
        of steps. A third of the default hardly moves them, three times it makes them one-hot.
    easy : float
        Share of the training with agreed points only, in [0, 1); 0 skips it.
    hard : bool
        Compare hard labels. With probabilities the sharpest teacher fits best, often the worst
        (accuracy .66 against .76): use False only for teachers of matched temperature.

    Notes
    -----
    Diagnostics: `weights` (S, M), on the simplex; `weight_path` (S, steps + 1, M); `agreed`, share
    of points on which all teachers agree. Controls: `mean_ensemble` (equal weights). History:
    `weight_0` ... `weight_(M-1)`.

    References
    ----------
    Jeon, Sobotka, Choi, Brbić, *Weak-to-Strong Generalization under Distribution Shifts*,
    NeurIPS 2025, section 4.
    """

    name = "raven"
    constraints: ClassVar = {"weight_rate": nonnegative, "easy": between(0, 1, closed="left")}

    weight_rate: float = 0.01  # .003 is too slow, from .03 on the weights become one-hot
    easy: float = 0.3  # as published; optional on linear heads
    hard: bool = True

    def fit(self, task: Task) -> Outcome:
        """Train on a task."""
        if task.pool.weak_proba.shape[1] == 1:
            warnings.warn(
                "raven: a single teacher leaves nothing to weight; training is naive",
                DegenerateDataWarning,
                stacklevel=3,
            )
        labels = one_hot(task.pool.weak_proba) if self.hard else task.pool.weak_proba
        codes = labels.argmax(axis=2)
        agreed: BoolArray = (codes == codes[:, :1]).all(axis=1)
        objective = _MixtureObjective(
            task.tensor(labels),
            task.tensor(agreed),
            self.weight_rate * RATE_STEPS / task.n_steps,
            self.easy if agreed.any() else 0.0,
        )
        model = task.train(objective)
        path = objective.path()
        controls: dict[str, Model] = {}
        if task.settings.controls:
            even = LabelObjective(task.tensor(labels.mean(axis=1)))
            controls["mean_ensemble"] = task.train(even, stage="mean ensemble")
        diagnostics = {"weights": path[:, -1], "weight_path": path, "agreed": agreed.mean()}
        return Outcome(model, diagnostics, controls)


class _MixtureObjective(Objective):
    """Cross-entropy to a weighted mixture of labels, with learned weights (S, M)."""

    def __init__(self, labels: Tensor, agreed: Tensor, rate: float, easy: float) -> None:
        n_seeds, _, n_teachers, _ = labels.shape
        self.labels = labels
        self.agreed = agreed
        self.agreed_share = float(agreed[0].mean())
        self.rate = rate
        self.easy = easy
        self.weights = labels.new_full((n_seeds, n_teachers), 1 / n_teachers)
        self.gradient = self.weights.new_zeros(self.weights.shape)
        self._path = [self.weights.clone()]

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        logs = logits.log_softmax(-1)
        by_teacher = -(batch.take(self.labels) * logs[:, :, None]).sum(-1)  # (S, B, M)
        mixed = (by_teacher * self.weights[:, None]).sum(-1)
        if self._is_easy(batch):
            # Points without agreement count 0; the others make up for them in the mean loss.
            return mixed * batch.take(self.agreed) / self.agreed_share
        # The mixture is renormalised, so the gradient of a weight is the excess of that teacher's
        # loss over the mixture's.
        excess = (by_teacher - mixed[..., None]).detach()
        self.gradient += (excess * batch.weight[..., None]).sum(1) / batch.size
        return mixed

    def before_step(self) -> None:
        self.gradient.zero_()

    def after_step(self, batch: Batch) -> None:  # noqa: ARG002
        self.weights = (self.weights - self.rate * self.gradient).clamp(min=SMALLEST_WEIGHT)
        self.weights /= self.weights.sum(1, keepdim=True)
        self._path.append(self.weights.clone())

    def record(self) -> dict[str, FloatArray]:
        return {f"weight_{m}": w.cpu().numpy() for m, w in enumerate(self.weights.T)}

    def sums(self) -> list[Tensor]:
        return [self.gradient]

    def state(self) -> dict[str, Tensor]:
        import torch

        return {"path": torch.stack(self._path)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self._path = list(state["path"].to(self.weights.device))
        self.weights = self._path[-1].clone()

    def path(self) -> FloatArray:
        import torch

        return np.asarray(torch.stack(self._path, dim=1).cpu().numpy())

    def _is_easy(self, batch: Batch) -> bool:
        return batch.step < self.easy * batch.n_steps
