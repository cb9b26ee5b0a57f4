r"""The student "head" on preference pairs: a reward that is linear in the features.

Features of a pair are the difference of its items' features. With a reward
:math:`r(x) = w \cdot \phi(x)` the two orders of a pair have the logits

.. math:: \big(\tfrac12 (r(x_1) - r(x_2)),\; -\tfrac12 (r(x_1) - r(x_2))\big),\qquad
          P(\text{first}) = \sigma(r(x_1) - r(x_2))

so that cross-entropy is the Bradley-Terry loss, and swapping the items of a pair swaps its
probabilities exactly: there is no intercept, and features are scaled without being centred. Any
method for two classes trains such a head; accuracy is the share of pairs ordered right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.finetune.levels.head import (
    INITIAL_SCALE,
    SERIAL_WORK,
    HeadModel,
    HeadNetwork,
    HeadTask,
    Scaling,
    feature_scaling,
    torch_threads,
)
from w2s_data.finetune.objectives import Model, Objective
from w2s_data.finetune.task import TRAINING
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class PairTask(HeadTask):
    """Trains reward heads on the features of pairs, for labels with the two orders as classes.

    References
    ----------
    Bradley, Terry, *Rank Analysis of Incomplete Block Designs*, Biometrika 39, 1952; weak-to-strong
    in Jeon et al., *Weak-to-Strong Generalization under Distribution Shifts*, NeurIPS 2025.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool.n_classes != 2:
            raise InputError(
                f"a pair has two orders; the weak labels have {self.pool.n_classes} classes"
            )
        if self.settings.solver != "adam":
            raise InputError("reward heads on pairs are trained with solver='adam'")

    @cached_property
    def scaling(self) -> Scaling:
        """Root mean squares of the features, without a mean."""
        moments = feature_scaling(self._features)
        return Scaling(np.zeros_like(moments.mean), np.hypot(moments.mean, moments.scale))

    def _train(
        self, objective: Objective, stage: str, weight: FloatArray, penalty: float, capacity: float
    ) -> Model:
        basis = self._basis(capacity)
        n_features = self._features.shape[1] if basis is None else basis.shape[1]
        spread = INITIAL_SCALE / np.sqrt(n_features)
        rngs = self.rngs(TRAINING)
        initial = np.stack([rng.uniform(-spread, spread, (n_features, 1)) for rng in rngs])
        no_intercept = np.zeros((self.n_seeds, 1, 1))
        network = RewardNetwork(
            self.inputs,
            self._validation_inputs,
            np.concatenate([initial, no_intercept], axis=1),
            self.settings.l2 * penalty,
            basis,
        )
        work = self.n_seeds * self.settings.batch_size * n_features
        with torch_threads(serial=work < SERIAL_WORK):
            self._run(network, objective, stage, weight, rngs)
        return network.model(self.scaling, objective.link)


class RewardNetwork(HeadNetwork):
    """S rewards under training: one weight vector a seed, two logits of opposite sign."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The weights, under the penalty."""
        return [{"params": [self.coef], "weight_decay": self.l2}]

    def model(self, scaling: Scaling, link: str) -> HeadModel:
        """The rewards as heads of two classes."""
        coef = self.coef.detach()
        if self.basis is not None:
            coef = self.basis @ coef
        half = coef.cpu().numpy() / 2
        both = np.concatenate([half, -half], axis=2)
        return HeadModel(both, np.zeros_like(both[:, 0]), scaling, link)

    def _logits(self, features: Tensor) -> Tensor:
        import torch

        if self.basis is not None:
            features = features @ self.basis
        half = features @ self.coef / 2
        return torch.cat([half, -half], dim=-1)
