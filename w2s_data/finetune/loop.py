"""The training loop of heads: Adam with a cosine schedule, S seeds at a time."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from w2s_data.finetune.losses import squared_error
from w2s_data.finetune.objectives import IDENTITY, LINKS, Batch, Objective, TrainingError
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger("w2s_data")

PROBABILITY_FLOOR = 1e-12  # keeps the validation loss finite where a probability rounds to 0


class Network(Protocol):
    """S students side by side, under training."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return groups for torch.optim, with their weight decay."""

    def logits(self, rows: Tensor) -> Tensor:
        """Compute logits (S, B, C) of pool rows (S, B)."""

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
        import torch

        groups = self.network.parameter_groups()
        self.optimizer = torch.optim.Adam(groups, lr=self.schedule.learning_rate)

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
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(batch.step)
        loss = self._gradient(batch)
        self.optimizer.step()
        self.objective.after_step(batch)
        return loss

    def _gradient(self, batch: Batch) -> Tensor:
        """Accumulate the gradient, in smaller pieces if memory does not suffice."""
        import torch

        while True:
            size = min(self.micro_batch or batch.size, batch.size)
            self.optimizer.zero_grad()
            self.objective.before_step()
            try:
                total = torch.zeros(len(batch.rows), device=batch.rows.device)
                for start in range(0, batch.size, size):
                    piece = batch.part(slice(start, start + size)) if size < batch.size else batch
                    total += self._backward(piece)
                return total
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

    def _backward(self, piece: Batch) -> Tensor:
        """Add to the gradient; return the losses (S,)."""
        # A function of its own, so that its tensors are freed before a smaller piece is tried.
        row_losses = self.objective.loss(self.network.logits(piece.rows), piece)
        loss = (row_losses * piece.weight).sum(1) / piece.size
        loss.sum().backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _check_finite(self, loss: FloatArray, first_step: int) -> None:
        bad = np.argwhere(~np.isfinite(loss))
        if len(bad):
            step, seed = bad[0]
            raise TrainingError(
                f"{self.name}: the loss is not finite from step {first_step + step} on (seed "
                f"number {seed} of this run); try a smaller learning_rate"
            )

    def _validation_loss(self) -> FloatArray | None:
        return validation_loss(self.network, self.objective.link, self.validation)


def validation_loss(network: Network, link: str, labels: Tensor | None) -> FloatArray | None:
    """Return the loss (S,) on validation rows with labels (V, C) or (S, V, C), if any.

    That is the cross-entropy of probabilities, and the squared error of values.
    """
    if labels is None:
        return None
    import torch

    with torch.no_grad():
        predicted = LINKS[link](network.validation_logits())
        if link == IDENTITY:
            loss = squared_error(predicted, labels).mean(-1)
        else:
            loss = -(labels * predicted.clamp(min=PROBABILITY_FLOOR).log()).sum(-1).mean(-1)
    return np.asarray(loss.cpu().numpy(), dtype=np.float64)
