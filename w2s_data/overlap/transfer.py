"""Blocks of features on their way to a device: read, copied and computed on at the same time.

While a device works on one block, a thread reads the next and copies it there, on CUDA from pinned
memory and in a stream of its own. Two pinned buffers take turns, so memory does not grow with N.
"""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, FeatureMatrix
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    import torch


def device_blocks(
    features: FeatureMatrix, device: torch.device, max_bytes: int = DEFAULT_BLOCK_BYTES
) -> Generator[tuple[slice, FloatArray, torch.Tensor], None, None]:
    """Yield (rows, float32 block, the same on the device), reading one block ahead."""
    lane = _PinnedLane(device) if device.type == "cuda" else _Lane(device)
    blocks = features.blocks(max_bytes)

    def load() -> tuple[slice, FloatArray, torch.Tensor] | None:
        found = next(blocks, None)
        return None if found is None else (*found, lane.send(found[1]))

    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
        upcoming = reader.submit(load)
        while (loaded := upcoming.result()) is not None:
            lane.receive(loaded[2])  # before the next copy joins the stream that is waited for
            upcoming = reader.submit(load)
            yield loaded


class _Lane:
    """Plain copies to a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def send(self, block: FloatArray) -> torch.Tensor:
        """Copy a block to the device (the reader's thread)."""
        import torch

        return torch.tensor(np.ascontiguousarray(block), device=self.device)

    def receive(self, moved: torch.Tensor) -> None:
        """Make what follows on this thread wait for the copy."""


class _PinnedLane(_Lane):
    """Copies to CUDA through two pinned buffers, in a stream beside the one that computes."""

    def __init__(self, device: torch.device) -> None:
        import torch

        # The thread that reads may have another current device than the one that computes.
        super().__init__(torch.empty(0, device=device).device)
        self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.buffers: list[torch.Tensor | None] = [None, None]
        self.copied = [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]
        self.turn = 0

    def send(self, block: FloatArray) -> torch.Tensor:
        """Copy a block to the device, once the buffer's last copy has left it."""
        import torch

        turn, self.turn = self.turn, 1 - self.turn
        self.copied[turn].synchronize()  # at once where nothing was ever recorded
        buffer = self.buffers[turn]
        if buffer is None or buffer.numel() < block.size:
            buffer = torch.empty(block.size, dtype=torch.float32, pin_memory=True)
            self.buffers[turn] = buffer
        staged = buffer[: block.size].view(block.shape)
        if block.flags.writeable and block.flags.c_contiguous:
            staged.copy_(torch.from_numpy(block))  # on all threads of torch
        else:  # a memory map, which torch warns of: it is the disk that waits
            np.copyto(staged.numpy(), block)
        with torch.cuda.stream(self.stream):
            moved = staged.to(self.device, non_blocking=True)
            self.copied[turn].record(self.stream)
        return moved

    def receive(self, moved: torch.Tensor) -> None:
        """Order the computing stream after the copies sent so far; no thread waits."""
        import torch

        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        moved.record_stream(computing)
