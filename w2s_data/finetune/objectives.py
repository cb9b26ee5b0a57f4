"""Objectives, their links to what is predicted, and models: independent of what is trained."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.finetune import losses
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

IDENTITY = "identity"  # the link of students that predict a value


class TrainingError(InputError):
    """A training failed: its loss is no longer a number, or memory does not suffice."""


@dataclass(frozen=True)
class Batch:
    """The rows of one step: B for each of S seeds."""

    rows: Tensor  # (S, B), row numbers in the pool
    weight: Tensor  # (S, B), of mean 1 over the rows that a seed trains on
    step: int  # from 0
    n_steps: int
    size: int  # rows B of the whole step, of which this may be a part

    def take(self, values: Tensor) -> Tensor:
        """Select the rows of values (S, N, ...) over the pool, as (S, B, ...)."""
        import torch

        if values.stride(0) == 0:  # the same for all seeds: one index is much faster than two
            return (
                values[0]
                .index_select(0, self.rows.reshape(-1))
                .view(*self.rows.shape, *values.shape[2:])
            )
        # Students on several choices of rows share the values of their seed, choice by choice.
        seeds = torch.arange(len(self.rows), device=self.rows.device) % len(values)
        return values[seeds[:, None], self.rows]

    def part(self, columns: slice) -> Batch:
        """Select some columns of the batch, for a step that is computed in pieces."""
        return dataclasses.replace(self, rows=self.rows[:, columns], weight=self.weight[:, columns])


class Objective(ABC):
    """A loss to minimise; `link`, a key of `LINKS`, maps its logits to what is predicted."""

    link: str = "softmax"

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return losses (S, B) of logits (S, B, C)."""

    def with_slopes(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return losses (S, B) and their derivatives (S, B, C) by the logits (S, B, C)."""
        return losses.with_slopes(self.loss, logits, batch)

    def before_step(self) -> None:  # noqa: B027 - most have no parameters
        """Reset the gradient of the objective's own parameters."""

    def after_step(self, batch: Batch) -> None:  # noqa: B027
        """Update the objective's own parameters."""

    def record(self) -> dict[str, FloatArray]:
        """Return numbers (S,) for the history, after an epoch."""
        return {}

    def sums(self) -> list[Tensor]:
        """Return sums over the rows of a step, which several processes add up in place."""
        return []

    def state(self) -> dict[str, Tensor]:
        """Return the objective's own parameters, for a checkpoint."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Set the objective's own parameters."""


class FunctionObjective(Objective):
    """A loss that is a function of the logits and of arguments that depend on the batch."""

    function: Callable[..., Tensor]

    @abstractmethod
    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Return the arguments after the logits."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return losses (S, B) of logits (S, B, C)."""
        return self.function(logits, *self.arguments(batch))

    def with_slopes(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return losses (S, B) and their derivatives (S, B, C) by the logits (S, B, C)."""
        return losses.with_slopes(self.function, logits, *self.arguments(batch))


@dataclass(eq=False)
class LabelObjective(FunctionObjective):
    """A loss between the student's logits and fixed labels."""

    labels: Tensor  # (S, N, C)
    # (logits (S, B, C), labels (S, B, C)) -> losses (S, B)
    function: Callable[[Tensor, Tensor], Tensor] = losses.cross_entropy

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Return the labels of the batch."""
        return (batch.take(self.labels),)


@dataclass(eq=False)
class ValueObjective(LabelObjective):
    """A loss between the student's values and fixed ones, both (S, ..., 1)."""

    link = IDENTITY
    function: Callable[[Tensor, Tensor], Tensor] = losses.squared_error


@dataclass(eq=False)
class RampedObjective(FunctionObjective):
    """A loss with a weight that rises linearly over the first steps; see `losses.ramp`."""

    labels: Tensor  # (S, N, C)
    function: Callable[[Tensor, Tensor, float], Tensor]  # as above, and the weight
    largest: float
    share: float
    name: str  # column of the history that holds the weight
    link: str = "softmax"
    _weight: float = field(default=0.0, init=False)

    def arguments(self, batch: Batch) -> tuple[Any, ...]:
        """Return the labels of the batch, and the weight."""
        self._weight = losses.ramp(batch.step, batch.n_steps, self.largest, self.share)
        return batch.take(self.labels), self._weight

    def record(self) -> dict[str, FloatArray]:
        """Return the weight at the end of the epoch."""
        return {self.name: np.full(len(self.labels), self._weight)}


def evidence_mean(logits: Tensor) -> Tensor:
    """Return the mean of the Dirichlet distribution of which the logits are evidence."""
    alpha = losses.evidence(logits)
    return alpha / alpha.sum(-1, keepdim=True)


LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    IDENTITY: lambda logits: logits,
    "softmax": lambda logits: logits.softmax(-1),
    "evidence": evidence_mean,
}


@dataclass(frozen=True)
class Weights:
    """Trained weights of one seed, and what else its model is rebuilt from, as JSON types."""

    tensors: Mapping[str, FloatArray]
    record: Mapping[str, Any]


class Model(ABC):
    """A trained student of S seeds, independent of the pool."""

    @abstractmethod
    def proba(self, inputs: Any) -> FloatArray:
        """Return class probabilities (S, n, C), or values (S, n, 1), of new inputs."""

    @abstractmethod
    def weights(self, place: int) -> Weights:
        """Return the weights of the seed at one place among the S."""
