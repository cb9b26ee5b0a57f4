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

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.finetune.levels.head import HeadNetwork, HeadTask
from w2s_data.finetune.levels.inputs import feature_scaling
from w2s_data.finetune.levels.linear import Scaling
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor


class RewardNetwork(HeadNetwork):
    """S rewards under training: one weight vector per seed, two logits of opposite sign."""

    constant: ClassVar[float] = 0.0  # there is no intercept to train

    def _by_class(self, scores: Tensor) -> Tensor:
        import torch

        return torch.cat([scores / 2, -scores / 2], dim=1)

    def _by_score(self, slopes: Tensor) -> Tensor:
        return (slopes[:, :1] - slopes[:, 1:]) / 2


@dataclass
class PairTask(HeadTask):
    """Trains reward heads on the features of pairs, for labels with the two orders as classes.

    Bradley, Terry, *Rank Analysis of Incomplete Block Designs*, 1952; weak-to-strong in Jeon et
    al., *Weak-to-Strong Generalization under Distribution Shifts*, NeurIPS 2025.
    """

    network_class: ClassVar[type[HeadNetwork]] = RewardNetwork

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool.n_classes != 2:
            raise InputError(
                f"a pair has two orders; the weak labels have {self.pool.n_classes} classes"
            )

    @cached_property
    def scaling(self) -> Scaling:
        """Root mean squares of the features; centring would break the symmetry of a pair."""
        return feature_scaling(self._features).uncentred()

    def initial_weights(
        self, n_features: int, spread: float, rngs: Sequence[np.random.Generator]
    ) -> FloatArray:
        """Draw one weight vector per seed; the intercept is 0 and stays there."""
        initial = np.stack([rng.uniform(-spread, spread, (n_features, 1)) for rng in rngs])
        return np.concatenate([initial, np.zeros((self.n_seeds, 1, 1))], axis=1)
