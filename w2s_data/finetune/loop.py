"""The training loop of heads: Adam with a cosine schedule, S seeds at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from w2s_data.finetune.losses import squared_error
from w2s_data.finetune.objectives import IDENTITY, LINKS, Batch, Objective, TrainingError
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("w2s_data")

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # of Adam
PROBABILITY_FLOOR = 1e-12  # keeps the validation loss finite where a probability rounds to 0


class Network(Protocol):
    """S students side by side, under training."""

    weights: Tensor  # (S, ...)

    def gather(self, rows: Tensor) -> Tensor:
        """Return features (S, B, ...) of pool rows (S, B)."""

    def logits(self, features: Tensor) -> Tensor:
        """Compute logits (S, B, C)."""

    def gradient(self, features: Tensor, slopes: Tensor) -> Tensor:
        """Return the gradient of the weights by slopes (S, B, C) of the logits."""

    def penalise(self, gradient: Tensor) -> None:
        """Add the gradient of the penalty."""

    def validation_logits(self) -> Tensor:
        """Compute logits (S, V, C) of the validation rows."""

    def keep(self, seeds: BoolArray) -> None:
        """Remember the present weights of some seeds."""

    def restore(self) -> None:
        """Return every seed to the weights that were last remembered."""


@dataclass(frozen=True)
class EpochEnd:
    """The state that a callback receives after an epoch."""

    stage: str
    epoch: int
    n_epochs: int
    loss: FloatArray  # (S,)
    validation_loss: FloatArray | None  # (S,)
    record: dict[str, FloatArray]


Callback = Callable[[EpochEnd], bool | None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    steps_per_epoch: int
    learning_rate: float  # of Adam at the first step
    patience: int | None = None  # epochs without a lower validation loss before a seed stops

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_per_epoch

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        # Half a cosine to zero: the last steps settle into the minimum, so that students of a
        # fixed number of steps can be compared without early stopping.
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.n_steps))


def row_stream(rows: IntArray, size: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield batches of `size` rows without end, one random permutation after another.

    >>> stream = row_stream(np.arange(3), 2, np.random.default_rng(0))
    >>> sorted(np.concatenate([next(stream) for _ in range(3)]).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    waiting = rng.permutation(rows)
    while True:
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(rows)])
        yield waiting[:size]
        waiting = waiting[size:]


class EarlyStop:
    """Remembers the epoch with the least validation loss, seed by seed."""

    def __init__(self, network: Network, n_seeds: int, patience: int) -> None:
        self.network = network
        self.patience = patience
        self.best = np.full(n_seeds, np.inf)
        self.waited = np.zeros(n_seeds, dtype=np.int64)

    def update(self, loss: FloatArray) -> bool:
        """Record an epoch's losses (S,); return True when every seed has stopped."""
        # A seed that has stopped keeps its best epoch, though it trains on with the others.
        running = self.waited < self.patience
        better = running & (loss < self.best)
        self.best = np.where(better, loss, self.best)
        self.waited = np.where(better, 0, self.waited + 1)
        self.network.keep(better)
        return bool((self.waited >= self.patience).all())


class Adam:
    """Adam of Kingma and Ba, 2015, with its usual constants, in place."""

    # Without torch.optim, whose every step takes longer than all products of a head's.

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.first, self.second = weights.new_zeros(weights.shape), weights.new_zeros(weights.shape)
        self.n_steps = 0

    def step(self, gradient: Tensor, rate: float) -> None:
        """Take one step."""
        self.n_steps += 1
        self.first.lerp_(gradient, 1 - BETA_1)
        self.second.mul_(BETA_2).addcmul_(gradient, gradient, value=1 - BETA_2)
        # Without the division of every second moment by 1 - BETA_2^t.
        spread = math.sqrt(1 - BETA_2**self.n_steps)
        size = self.second.sqrt().add_(EPSILON * spread)
        self.weights.addcdiv_(self.first, size, value=-rate * spread / (1 - BETA_1**self.n_steps))


@dataclass(eq=False)
class Trainer:
    """Trains a network on an objective."""

    network: Network
    objective: Objective
    schedule: Schedule
    validation: Tensor | None = None  # (V, C), labels of the validation rows
    callbacks: tuple[Callback, ...] = ()  # one that returns True ends the training
    name: str = "student"  # method and stage, for messages
    micro_batch: int | None = None  # rows whose gradient is computed at a time; None is all

    def __post_init__(self) -> None:
        self.optimizer = Adam(self.network.weights)

    def run(self, batches: Iterator[Batch], n_seeds: int) -> None:
        """Take all steps, or fewer if the validation loss or a callback ends the training."""
        import torch

        schedule = self.schedule
        patience = schedule.patience if self.validation is not None else None
        early = EarlyStop(self.network, n_seeds, patience) if patience is not None else None
        for epoch in range(schedule.epochs):
            losses = [self._step(next(batches)) for _ in range(schedule.steps_per_epoch)]
            loss = torch.stack(losses).cpu().numpy()  # once per epoch: every copy waits for the GPU
            self._check_finite(loss, epoch * schedule.steps_per_epoch)
            end = EpochEnd(
                self.name,
                epoch,
                schedule.epochs,
                loss.mean(axis=0),
                self._validation_loss(),
                self.objective.record(),
            )
            stop = [callback(end) for callback in self.callbacks]
            if early is not None and end.validation_loss is not None:
                stop.append(early.update(end.validation_loss))
            if any(stop):
                break
        if early is not None:
            self.network.restore()

    def _step(self, batch: Batch) -> Tensor:
        """Take one step of Adam; return the losses (S,) of the seeds."""
        loss, gradient = self._gradient(batch)
        self.network.penalise(gradient)
        self.optimizer.step(gradient, self.schedule.rate(batch.step))
        self.objective.after_step(batch)
        return loss

    def _gradient(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return losses (S,) and their gradient, in smaller pieces if memory does not suffice."""
        import torch

        while True:
            size = min(self.micro_batch or batch.size, batch.size)
            self.objective.before_step()
            try:
                if size == batch.size:
                    return self._piece(batch)
                starts = range(0, batch.size, size)
                pieces = (self._piece(batch.part(slice(start, start + size))) for start in starts)
                loss, gradient = next(pieces)
                for more in pieces:
                    loss += more[0]
                    gradient += more[1]
                return loss, gradient
            except torch.OutOfMemoryError as error:
                if size == 1:
                    raise TrainingError(
                        f"{self.name}: the memory does not suffice for a single row per step"
                    ) from error
                self.micro_batch = size // 2
                logger.warning(
                    "%s: out of memory; continuing with %d rows at a time of each batch of %d",
                    self.name,
                    self.micro_batch,
                    batch.size,
                )

    def _piece(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return losses (S,) of a piece of a batch, and their gradient."""
        features = self.network.gather(batch.rows)
        losses, slopes = self.objective.with_slopes(self.network.logits(features), batch)
        weight = batch.weight / batch.size
        gradient = self.network.gradient(features, slopes * weight.unsqueeze(-1))
        return (losses * weight).sum(1), gradient

    def _check_finite(self, loss: FloatArray, first_step: int) -> None:
        bad = np.argwhere(~np.isfinite(loss))
        if len(bad):
            step, seed = bad[0]
            raise TrainingError(
                f"{self.name}: the loss is not finite from step {first_step + step} on (seed "
                f"number {seed} of this run); try a smaller learning_rate"
            )

    def _validation_loss(self) -> FloatArray | None:
        return validation_loss(self.network.validation_logits, self.objective.link, self.validation)


def validation_loss(
    logits: Callable[[], Tensor], link: str, labels: Tensor | None
) -> FloatArray | None:
    """Return the loss (S,) of logits of validation rows with labels (V, C) or (S, V, C), if any.

    That is the cross-entropy of probabilities, and the squared error of values.
    """
    if labels is None:
        return None
    import torch

    with torch.no_grad():
        predicted = LINKS[link](logits())
        if link == IDENTITY:
            loss = squared_error(predicted, labels).mean(-1)
        else:
            loss = -(labels * predicted.clamp(min=PROBABILITY_FLOOR).log()).sum(-1).mean(-1)
    return np.asarray(loss.cpu().numpy(), dtype=np.float64)
