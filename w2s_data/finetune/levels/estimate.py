"""The memory and time that a training will take, measured on one row before the first step."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_data.compute.device import free_bytes, is_out_of_memory
from w2s_data.compute.memory import available_bytes, size_text
from w2s_data.finetune.objectives import TrainingError
from w2s_data.utils.progress import duration

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from w2s_data.finetune.levels.whole import WholeNetwork

logger = logging.getLogger("w2s_data")

MARGIN = 0.9  # of the free memory: the rest is lost between tensors, and to other processes
MOMENTS = 2  # numbers that AdamW keeps of each weight, beside its gradient
# Under gradient checkpointing one layer is computed again on the way back: it holds about so many
# times what it hands on (measured for MiniLM at 256 tokens).
LAYER = 70
BYTES = 4  # of a trained weight, its gradient and its moments: they are float32


@dataclass(frozen=True)
class Estimate:
    """Bytes of a training; activations are those of one row."""

    weights: int
    trained: int  # number of trained weights
    activations: int  # bytes of the longest row
    tokens: int  # of that row
    free: int  # bytes that are left beside the weights
    seconds: float  # forwards and backwards over that row, alone

    @property
    def gradients(self) -> int:
        """Bytes of gradients and moments."""
        return self.trained * BYTES * (1 + MOMENTS)

    @property
    def most_tokens(self) -> int:
        """Tokens whose activations fit beside gradients and moments."""
        rest = MARGIN * self.free - self.gradients
        return int(rest / max(1, self.activations) * self.tokens)

    def __str__(self) -> str:
        return (
            f"weights {size_text(self.weights)}, gradients and moments "
            f"{size_text(self.gradients)}, activations of a row of {self.tokens:,} tokens "
            f"{size_text(self.activations)}; {size_text(self.free)} are free beside the weights"
        )

    def check(self, name: str, tuning: str, is_checkpointing: bool) -> None:
        """Raise unless a single row fits, and say what would."""
        if self.most_tokens >= self.tokens:
            return
        room = MARGIN * self.free
        choices = []
        if not is_checkpointing and self.gradients + self.activations / 4 < room:
            choices.append("gradient_checkpointing")
        if self.gradients < room and self.most_tokens > 0:
            choices.append(f"max_length={self.most_tokens}")
        if tuning == "full" and self.activations < room:
            choices.append("tuning 'lora'")
        advice = f"try {' or '.join(choices)}" if choices else "take a smaller model"
        raise TrainingError(f"{name}: the memory does not suffice for one row ({self}); {advice}")

    def plan(self, name: str, n_rows: int, n_tokens: float) -> str:
        """Return a line on time and memory of a training over so many tokens in all.

        A row alone is computed less efficiently than many, so that the time is a limit.
        """
        longest = duration(n_tokens / self.tokens * self.seconds)
        needed = self.gradients + self.activations * n_rows
        line = (
            f"{name}: training takes up to {longest}, and {size_text(needed)} beside weights of "
            f"{size_text(self.weights)}; {size_text(self.free)} are free"
        )
        if needed <= MARGIN * self.free:
            return line
        return f"{line}, so at most {self.most_tokens:,} tokens are computed at a time"


def tokens_that_fit(name: str, network: WholeNetwork, batch_size: int, n_steps: int) -> int:
    """Return how many tokens to compute at a time; raise if the memory does not suffice for a row.

    Writes a line on memory and time to the log. Activations are those of the longest row.
    """
    import torch

    settings, lengths = network.adaptation, network.lengths
    longest = int(lengths.argmax())
    rows = torch.tensor([[longest]], device=network.device)
    try:
        found = measure(
            [part for part in vars(network).values() if isinstance(part, torch.nn.Module)],
            lambda: network.logits(rows).square().sum(),
            int(lengths[longest]),
            network.device,
            network.n_layers if settings.gradient_checkpointing else 0,
        )
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"{name}: the memory does not suffice for one row of {lengths[longest]} tokens; "
            "try gradient_checkpointing, a smaller max_length or tuning 'lora'"
        ) from error
    found.check(name, settings.tuning, settings.gradient_checkpointing)
    n_tokens = float(lengths.mean()) * batch_size * n_steps
    logger.info("%s", found.plan(name, min(settings.micro_batch, batch_size), n_tokens))
    return min(settings.micro_tokens, found.most_tokens)


def measure(
    modules: Iterable[torch.nn.Module],
    compute: Callable[[], Any],
    tokens: int,
    device: torch.device,
    checkpointed_layers: int = 0,
) -> Estimate:
    """Measure a row of so many tokens; `compute` returns its loss, and the gradient is dropped."""
    import torch

    parts = list(modules)
    parameters = {p for part in parts for p in part.parameters()}
    trained = [p for p in parameters if p.requires_grad]
    free = free_bytes(device)
    free = available_bytes() if free is None else free
    with _kept_buffers(parts):
        with count_saved(parameters) as saved:
            compute().backward()
        start = time.monotonic()  # the second time, since the first one allocates memory
        compute().backward()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        seconds = time.monotonic() - start
    activations = float(sum(saved.values()))
    if checkpointed_layers:
        activations *= 1 + LAYER / checkpointed_layers
    for parameter in trained:
        parameter.grad = None
    return Estimate(
        weights=sum(p.numel() * p.element_size() for p in parameters),
        trained=sum(p.numel() for p in trained),
        activations=round(activations),
        tokens=tokens,
        free=free,
        seconds=seconds,
    )


@contextlib.contextmanager
def count_saved(parameters: Iterable[torch.nn.Parameter]) -> Any:
    """Yield the bytes of each storage that is kept for the way back, without the parameters."""
    import torch

    own = {p.untyped_storage().data_ptr() for p in parameters}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        # Detached: an operation that keeps its own result would hold itself, and with it all
        # weights before it, for ever where no gradient comes by, as in a pooler that is not read.
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved


@contextlib.contextmanager
def _kept_buffers(parts: Iterable[torch.nn.Module]) -> Any:
    """Restore buffers afterwards, such as the running means of a batch normalisation."""
    kept = [(buffer, buffer.clone()) for part in parts for buffer in part.buffers()]
    yield
    for buffer, value in kept:
        buffer.copy_(value)
