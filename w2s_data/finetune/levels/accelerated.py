"""The training loop of whole models, step by step, on accelerate."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.device import is_out_of_memory
from w2s_data.errors import InputError, RunError
from w2s_data.finetune.levels.lengths import pieces
from w2s_data.finetune.levels.meter import Meter
from w2s_data.finetune.levels.precision import make_accelerator
from w2s_data.finetune.levels.schedule import StepSchedule
from w2s_data.finetune.levels.sharding import gather, is_sharded, shard, share_of
from w2s_data.finetune.levels.store import to_disk
from w2s_data.finetune.loop import Callback, EpochEnd, validation_loss
from w2s_data.finetune.objectives import Batch, Objective, TrainingError
from w2s_data.utils.typing import IntArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from w2s_data.finetune.levels.store import TrainingStore
    from w2s_data.finetune.levels.whole import WholeNetwork
    from w2s_data.finetune.settings import Adaptation

STREAMS = 2**40  # numbers of streams of random numbers that a process has for itself

logger = logging.getLogger("w2s_data")


@dataclass
class Progress:
    """How far a training has come: all that a resumed one needs besides weights and moments."""

    step: int = 0  # steps that are taken
    losses: list[float] = field(default_factory=list)  # of all steps
    history: list[dict[str, Any]] = field(default_factory=list)  # rows of the evaluations
    best: float | None = None  # least validation loss
    waited: int = 0  # evaluations since
    stopped: bool = False
    real_tokens: int = 0
    computed_tokens: int = 0  # with padding

    @property
    def real_token_share(self) -> float:
        """Share of the computed tokens that are no padding."""
        return self.real_tokens / max(1, self.computed_tokens)


@dataclass(eq=False)
class WholeTrainer:
    """Trains the network of one seed on an objective."""

    network: WholeNetwork
    settings: Adaptation
    objective: Objective
    schedule: StepSchedule
    name: str  # method and stage, for messages
    device: torch.device
    evaluate_every: int  # steps
    reseed: Callable[[int], None]  # starts the random numbers of a step
    note: Callable[[EpochEnd, int], dict[str, Any]]  # row of the history, after so many steps
    meter: Meter
    most_tokens: int  # with padding, whose gradient is computed at a time
    validation: Tensor | None = None  # (1, V, C), labels of the validation rows
    patience: int | None = None  # evaluations without a lower loss before the training ends
    callbacks: tuple[Callback, ...] = ()  # one that returns True ends the training
    store: TrainingStore | None = None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        import torch

        self.lengths = self.network.lengths
        self.accelerator = make_accelerator(
            self.device,
            self.settings.precision,
            has_unused=self.network.depth < self.network.n_layers,
        )
        self.process, self.n_processes = (
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        if is_sharded() and self.network.divided is None:
            self.network.divided = self._shard()
        self.parameters = list(self.network.parameters().values())
        groups = self.network.parameter_groups()
        # One pass over the weights: of a small model's step, the other forms take a third.
        fused = self.device.type in ("cpu", "cuda")
        # As it is: accelerate's form of an optimizer is for ways to train that are not used here,
        # and looks in all folders of Python for the package of one of them, twice a step.
        self.optimizer = torch.optim.AdamW(groups, lr=self.schedule.learning_rate, fused=fused)
        # Divided once, for all trainings; accelerate would divide it for each.
        self.model = self.network.divided or self.accelerator.prepare_model(
            _as_module(self.network)
        )

    def _shard(self) -> Any:
        """Return the network as a module whose weights are divided between the processes."""
        if self.settings.tuning == "lora":
            raise InputError(
                "FSDP is for tuning 'full', which trains all weights: use plain data parallelism "
                "for tuning 'lora'"
            )
        module = _as_module(self.network)
        shard(
            module,
            list(getattr(self.network.backbone, "_no_split_modules", None) or ()),
            self.device,
        )
        return module

    def run(self, batches: Iterator[Batch]) -> Progress:
        """Take all steps, or fewer if the validation loss or a callback ends the training."""
        self._restore()
        done, n_steps = self.progress, self.schedule.n_steps
        if self._add_up(done.step) != done.step * self.n_processes:
            raise RunError(
                f"{self.name}: not all processes found the same state of an earlier training: "
                "put the checkpoint where all of them see it"
            )
        # Skipped, not left out: the batches that follow must be those of an unbroken training.
        for _ in range(done.step):
            next(batches)
        self.meter.resume(done.step)
        resumed_at_end = done.stopped or done.step == n_steps
        while not done.stopped and done.step < n_steps:
            self.step(next(batches))
            if done.step % self.evaluate_every == 0 or done.step == n_steps:
                self._evaluate()
            if not self._is_over and self._is_due(done.step):
                self._save()
        if not resumed_at_end:
            if self._stops_early:
                self.network.restore()
            self._save()
        self.close()
        return done

    def close(self) -> None:
        """Release the network, which another trainer may take, and the memory of the training."""
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        # accelerate collects the garbage of the whole process: for the hooks of several processes
        # and the cache of a GPU, but of a small model on the CPU it takes longer than the training.
        if self.n_processes > 1 or self.device.type != "cpu":
            self.accelerator.free_memory()
        del self.model, self.optimizer, self.parameters

    @property
    def _is_over(self) -> bool:
        return self.progress.stopped or self.progress.step == self.schedule.n_steps

    @property
    def _stops_early(self) -> bool:
        return self.validation is not None and self.patience is not None

    def step(self, batch: Batch) -> None:
        """Take one step of AdamW."""
        rate = self.schedule.rate(batch.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self._gradient(batch)
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self.name}: the loss is not finite from step {batch.step} on; "
                "try a smaller learning_rate"
            )
        if self.settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.settings.clip)
        self.optimizer.step()
        self.objective.after_step(batch)
        self.progress.losses.append(loss)
        self.progress.step += 1
        self.meter.add(int(self.lengths[batch.rows[0].cpu().numpy()].sum()), loss, rate)

    def _gradient(self, batch: Batch) -> float:
        """Accumulate the gradient over pieces of the batch, smaller ones if memory is short."""
        own = self._own(batch)
        lengths = self.lengths[own.rows[0].cpu().numpy()]
        while True:
            # The same dropout in a training that was resumed, another one in each process.
            self.reseed(1 + batch.step + self.process * STREAMS)
            self.optimizer.zero_grad()
            self.objective.before_step()
            parts = pieces(lengths, self.most_tokens, self.settings.micro_batch)
            part, total = parts[0], 0.0
            n_parts = self._most(len(parts)) if self.network.divided else len(parts)
            try:
                for number in range(n_parts):
                    part = parts[min(number, len(parts) - 1)]
                    piece = own.part(part)
                    if number >= len(parts):  # for the layers of the others, which must be gathered
                        piece = replace(piece, weight=0 * piece.weight)
                    total += self._backward(piece, is_last=number == n_parts - 1)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self._take_smaller_pieces(lengths[part], error)
            else:
                self._count(lengths, parts)
                for tensor in self.objective.sums() if self.n_processes > 1 else ():
                    tensor.copy_(self.accelerator.reduce(tensor, "sum"))
                return self._add_up(total)

    def _own(self, batch: Batch) -> Batch:
        """Return this process's part of a batch."""
        if self.n_processes == 1:
            return batch
        if batch.rows.shape[1] > self.process:
            return batch.part(slice(self.process, None, self.n_processes))
        # Without a row, a row of no weight: all processes must take part in the sum of gradients.
        row = batch.part(slice(0, 1))
        return replace(row, weight=0 * row.weight)

    def _backward(self, piece: Batch, is_last: bool) -> float:
        """Add to the gradient; return the piece's share of the loss."""
        # A function of its own, so that its tensors are freed before a smaller piece is tried.
        apart = (
            nullcontext()
            if is_last or self.network.divided
            else self.accelerator.no_sync(self.model)
        )
        with apart:
            logits = self.model(functools.partial(self.network.logits, piece.rows))
            row_losses = self.objective.loss(logits, piece)
            loss = (row_losses * piece.weight).sum() / piece.size
            # Several processes take the mean of their gradients, and the loss is a sum.
            self.accelerator.backward(loss * self.n_processes)
        return float(loss.detach())

    def _add_up(self, value: float) -> float:
        """Return the sum of a number over all processes."""
        if self.n_processes == 1:
            return value
        import torch

        own = torch.tensor(value, dtype=torch.float64, device=self.device)
        return float(self.accelerator.reduce(own, "sum"))

    def _most(self, value: int) -> int:
        """Return the largest of a number of all processes."""
        import torch

        own = torch.tensor([value], device=self.device)
        return int(self.accelerator.gather(own).max())

    def _take_smaller_pieces(self, lengths: IntArray, error: Exception) -> None:
        if self.n_processes > 1:
            raise TrainingError(
                f"{self.name}: out of memory with {len(lengths)} rows of up to {lengths.max()} "
                "tokens at a time; try a smaller micro_batch or micro_tokens"
            ) from error
        if len(lengths) == 1:
            raise TrainingError(
                f"{self.name}: the memory does not suffice for one row of {lengths[0]} tokens; "
                "try gradient_checkpointing, a smaller max_length or tuning 'lora'"
            ) from error
        self.most_tokens = int(len(lengths) * lengths.max()) // 2
        logger.warning(
            "%s: out of memory; continuing with at most %d tokens at a time",
            self.name,
            self.most_tokens,
        )

    def _count(self, lengths: IntArray, parts: list[slice]) -> None:
        self.progress.real_tokens += int(lengths.sum())
        for part in parts:
            self.progress.computed_tokens += len(lengths[part]) * int(lengths[part].max())

    def _evaluate(self) -> None:
        """Note the loss since the last evaluation, and decide whether the training ends here."""
        done, every = self.progress, self.evaluate_every
        number = -(-done.step // every)
        recent = done.losses[(number - 1) * every :]
        loss = validation_loss(self.network.validation_logits, self.objective.link, self.validation)
        end = EpochEnd(
            self.name,
            number - 1,
            -(-self.schedule.n_steps // every),
            np.array([np.mean(recent)]),
            loss,
            self.objective.record(),
        )
        # The history comes first: a callback that raises must not lose the epoch.
        done.history.append(self.note(end, done.step))
        stop = [callback(end) for callback in self.callbacks]
        if self._stops_early and loss is not None:
            stop.append(self._wait(float(loss[0])))
        # One of several processes may round otherwise: all stop, or none.
        done.stopped = self._add_up(float(any(stop))) > 0

    def _wait(self, loss: float) -> bool:
        """Remember the weights of the least validation loss; return True when patience ends."""
        done = self.progress
        better = done.best is None or loss < done.best
        done.best, done.waited = (loss, 0) if better else (done.best, done.waited + 1)
        if better:
            self.network.keep(np.array([True]))
            self.network.kept = to_disk(self.network.kept)
        assert self.patience is not None
        return done.waited >= self.patience

    def _restore(self) -> None:
        stored = self.store.read() if self.store is not None else None
        if stored is None:
            return
        tensors, record = stored
        self.progress = Progress(**record["progress"])
        self.network.load(_part(tensors, "weights"))
        for name, parameter in self.network.parameters().items():
            moments = _part(tensors, f"moments.{name}")
            if moments:
                self.optimizer.state[parameter] = {
                    kind: share_of(value, parameter) for kind, value in moments.items()
                }
        self.network.kept = _part(tensors, "kept")
        if own := _part(tensors, "objective"):
            self.objective.load(own)

    def _is_due(self, step: int) -> bool:
        """Return whether the state after a step is saved, by the clock of the first process."""
        due = self.store is not None and self.store.is_due(step)
        if self.network.divided is None:
            return due
        # All gather the weights for the one that writes them.
        return self._add_up(float(due and self.process == 0)) > 0

    def _save(self) -> None:
        if self.store is None or not (self.network.divided or self.accelerator.is_main_process):
            return
        named = self.network.parameters()
        tensors = {f"weights.{name}": gather(p.detach()).cpu() for name, p in named.items()}
        tensors |= {f"objective.{n}": t.cpu() for n, t in self.objective.state().items()}
        if not self._is_over:  # a finished training needs no moments
            for name, parameter in named.items():
                for kind, value in self.optimizer.state.get(parameter, {}).items():
                    tensors[f"moments.{name}.{kind}"] = gather(value.detach()).cpu()
            tensors |= {f"kept.{name}": value for name, value in self.network.kept.items()}
        if self.accelerator.is_main_process:
            self.store.write(tensors, {"progress": vars(self.progress)})


def _part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{kind}."): value
        for name, value in tensors.items()
        if name.startswith(f"{kind}.")
    }


def _as_module(network: WholeNetwork) -> Any:
    """Return the network as a module whose forward calls one of its functions."""
    from torch import nn

    module = _caller()()
    for name, part in vars(network).items():
        if isinstance(part, nn.Module):
            module.add_module(name, part)
    return module


# One class for all: a class refers to itself, so that one with a network in reach of its functions
# would keep it in memory until the next collection of garbage.
@functools.cache
def _caller() -> Any:
    from torch import nn

    class Caller(nn.Module):
        # A function, since FSDP and DDP would look into the tensors of other arguments.
        def forward(self, compute: Callable[[], Tensor]) -> Tensor:
            # A copy: FSDP warns of views, in which a change in place would lose the gradient.
            return compute().clone()

    return Caller
