"""What a method of training a student is made of, whatever is trained: objective, model, method."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_data.errors import InputError
from w2s_data.finetune import losses
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class TrainingError(InputError):
    """A training cannot go on: its loss is no longer a number, or memory does not suffice."""


@dataclass(frozen=True)
class Batch:
    """The rows of one step: B for each of S seeds.

    Attributes
    ----------
    rows : Tensor (S, B)
        Row numbers in the pool.
    weight : Tensor (S, B)
        Weights of the rows, of mean 1 over the rows that a seed trains on.
    step, n_steps : int
        The steps count from 0.
    size : int
        Rows B of the whole step, of which this may be a part.
    """

    rows: Tensor
    weight: Tensor
    step: int
    n_steps: int
    size: int

    def take(self, values: Tensor) -> Tensor:
        """The rows' part of values (S, N, ...) over the pool, as (S, B, ...)."""
        import torch

        seeds = torch.arange(len(self.rows), device=self.rows.device)
        return values[seeds[:, None], self.rows]

    def part(self, columns: slice) -> Batch:
        """Some columns of the batch, for a step that is taken in pieces."""
        return dataclasses.replace(self, rows=self.rows[:, columns], weight=self.weight[:, columns])


class Objective(ABC):
    """What is minimised.

    `link` names the map from logits to probabilities that goes with it: a key of `LINKS`.
    """

    link: str = "softmax"

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Losses (S, B) of logits (S, B, C)."""

    def before_step(self) -> None:  # noqa: B027 - most objectives learn nothing themselves
        """Forget the gradient of what the objective learns itself."""

    def after_step(self, batch: Batch) -> None:  # noqa: B027
        """Update what the objective learns itself."""

    def record(self) -> dict[str, FloatArray]:
        """Numbers for the history, after an epoch: arrays (S,)."""
        return {}


class LabelObjective(Objective):
    """A loss between the student's logits and fixed labels.

    Parameters
    ----------
    labels : Tensor (S, N, C)
    function : callable
        (logits (S, B, C), labels (S, B, C)) -> losses (S, B)
    """

    def __init__(
        self,
        labels: Tensor,
        function: Callable[[Tensor, Tensor], Tensor] = losses.cross_entropy,
    ) -> None:
        self.labels = labels
        self.function = function

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Losses (S, B) of logits (S, B, C)."""
        return self.function(logits, batch.take(self.labels))


def softmax(logits: Tensor) -> Tensor:
    """Probabilities of logits."""
    return logits.softmax(-1)


def evidence_mean(logits: Tensor) -> Tensor:
    """Mean of the Dirichlet distribution that the logits are evidence of."""
    alpha = losses.evidence(logits)
    return alpha / alpha.sum(-1, keepdim=True)


LINKS: dict[str, Callable[[Tensor], Tensor]] = {"softmax": softmax, "evidence": evidence_mean}


class Model(ABC):
    """A trained student of S seeds, on its own: it needs nothing of the pool."""

    @abstractmethod
    def proba(self, inputs: Any) -> FloatArray:
        """Class probabilities (S, n, C) of new inputs: features, or items for a whole model."""
