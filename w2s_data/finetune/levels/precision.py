"""Where and with how many digits whole models compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from w2s_data.errors import require

if TYPE_CHECKING:
    import torch


def make_accelerator(device: torch.device, precision: str) -> Any:
    """Return an accelerator for a device; under `accelerate launch` one for all processes."""
    accelerate = require("accelerate", "train")
    from accelerate.state import AcceleratorState

    # Device and precision are global there, once per process; here each training has its own.
    AcceleratorState._reset_state(reset_partial_state=True)
    return accelerate.Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if is_half(device, precision) else "no",
        device_placement=False,
    )


def is_half(device: torch.device, precision: str) -> bool:
    """Return whether a model computes in bfloat16; "auto" where a GPU is built for it."""
    import torch

    if precision != "auto":
        return precision == "bf16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
