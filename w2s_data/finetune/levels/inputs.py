"""Features of heads: standardised once, and on the device where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.compute.device import free_bytes
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.finetune.levels.linear import Scaling
from w2s_data.utils.typing import IntArray
from w2s_data.utils.validation import check_feature_block

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Rows at a time: on a CPU the logits of many heads stay in the caches, and a GPU has enough to do.
CPU_ROWS, GPU_ROWS = 2048, 2**17


@dataclass(eq=False)
class HeadInputs:
    """Standardised features on a device, or gathered batch by batch when they are large."""

    features: FeatureMatrix
    scaling: Scaling
    device: torch.device
    resident_bytes: int  # that a CPU may hold
    resident: Tensor | None = None

    def __post_init__(self) -> None:
        import torch

        shape = self.features.shape
        # Half of a GPU's free memory: the other half is for logits, gradients and Adam's moments.
        free = free_bytes(self.device)
        budget = self.resident_bytes if free is None else free // 2
        if 4 * shape[0] * shape[1] <= budget:
            self.resident = torch.empty(shape, dtype=torch.float32, device=self.device)
            for rows, block in self.features.blocks():
                self.resident[rows] = torch.from_numpy(self.scaling.apply(block))

    def take(self, rows: Tensor) -> Tensor:
        """Gather rows (S, B) as (S, B, D)."""
        import torch

        flat = rows.reshape(-1)
        if self.resident is not None:
            gathered = self.resident.index_select(0, flat)
        else:
            block = self.features.take(flat.cpu().numpy())
            gathered = torch.from_numpy(self.scaling.apply(block)).to(self.device)
        return gathered.view(*rows.shape, -1)

    def blocks(self, rows: IntArray) -> Iterator[tuple[slice, Tensor]]:
        """Yield some rows, whose numbers ascend, as (their places, block (b, D))."""
        import torch

        if self.resident is None:
            for part, block in FeatureView(self.features, rows).blocks():
                yield part, torch.from_numpy(self.scaling.apply(block)).to(self.device)
            return
        every = len(rows) == len(self.resident)
        numbers = torch.from_numpy(rows).to(self.device)
        size = CPU_ROWS if self.device.type == "cpu" else GPU_ROWS
        for start in range(0, len(rows), size):
            part = slice(start, min(start + size, len(rows)))
            # A slice copies nothing.
            yield part, self.resident[part if every else numbers[part]]


def feature_scaling(features: FeatureMatrix) -> Scaling:
    """Compute mean and standard deviation of every feature; refuse NaN and infinite values."""
    n_rows, n_features = features.shape
    numbers = np.arange(n_rows)
    total = np.zeros(n_features)
    # Deviations from the first row: a large common offset would cancel the digits of the squares.
    shift = np.asarray(features.take(np.array([0]))[0], dtype=np.float64)
    squares = np.zeros(n_features)
    for rows, block in features.blocks():
        check_feature_block(block, numbers[rows], "features", nonzero=False)
        deviation = block - shift
        total += deviation.sum(axis=0)
        squares += np.einsum("ij,ij->j", deviation, deviation)
    mean = total / n_rows
    variance = squares / n_rows - mean**2
    # What float32 cannot resolve is noise, and scaling it to variance 1 would make it a feature.
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(shift), np.abs(mean))
    constant = variance <= rounding**2
    return Scaling(shift + mean, np.where(constant, np.inf, np.sqrt(np.maximum(variance, 0))))
