"""Features of heads: standardised once, and on the device where they fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.compute.device import free_bytes
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.finetune.levels.linear import Scaling
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Rows at a time: on a CPU the logits of many heads stay in the caches, and a GPU has enough to do.
CPU_ROWS, GPU_ROWS = 2048, 2**17


@dataclass(eq=False)
class HeadInputs:
    """Standardised features on a device, or gathered batch by batch when they are large.

    The last column is `constant`: 1, whose weight is the intercept, or 0 where there is none.
    """

    features: FeatureMatrix
    scaling: Scaling
    device: torch.device
    resident_bytes: int  # that a CPU may hold
    constant: float = 1.0
    resident: Tensor | None = None

    def __post_init__(self) -> None:
        import torch

        n_rows, n_features = self.features.shape
        # Half of a GPU's free memory: the other half is for logits, gradients and Adam's moments.
        free = free_bytes(self.device)
        budget = self.resident_bytes if free is None else free // 2
        if 4 * n_rows * n_features <= budget:
            self.resident = torch.empty(n_rows, n_features + 1, device=self.device)
            for rows, block in self.features.blocks():
                self.resident[rows] = self.scaled(block)

    def scaled(self, block: FloatArray) -> Tensor:
        """Standardise rows (n, D) and append the constant, on the device."""
        import torch

        scaled = torch.from_numpy(self.scaling.apply(block)).to(self.device)
        return torch.nn.functional.pad(scaled, (0, 1), value=self.constant)

    def take(self, rows: Tensor) -> Tensor:
        """Gather rows (S, B) as (S, B, D + 1)."""
        flat = rows.reshape(-1)
        if self.resident is not None:
            gathered = self.resident.index_select(0, flat)
        else:
            gathered = self.scaled(self.features.take(flat.cpu().numpy()))
        return gathered.view(*rows.shape, -1)

    def blocks(self, rows: IntArray) -> Iterator[tuple[slice, Tensor]]:
        """Yield some rows, whose numbers ascend, as (their places, block (b, D))."""
        import torch

        if self.resident is None:
            for part, block in FeatureView(self.features, rows).blocks():
                yield part, self.scaled(block)[:, :-1]
            return
        every = len(rows) == len(self.resident)
        numbers = torch.from_numpy(rows).to(self.device)
        size = CPU_ROWS if self.device.type == "cpu" else GPU_ROWS
        for start in range(0, len(rows), size):
            part = slice(start, min(start + size, len(rows)))
            # A slice copies nothing.
            yield part, self.resident[part if every else numbers[part]][:, :-1]


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
    # Less than float32 resolves is noise, and scaling it to variance 1 would make it a feature.
    rounding = np.finfo(np.float32).eps * np.maximum(np.abs(shift), np.abs(mean))
    constant = variance <= rounding**2
    return Scaling(shift + mean, np.where(constant, np.inf, np.sqrt(np.maximum(variance, 0))))
