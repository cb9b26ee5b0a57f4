"""Where and with how many digits whole models compute."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from w2s_data.compute.device import resolve_device
from w2s_data.errors import InputError, require

if TYPE_CHECKING:
    import torch

SHARDED = ("DEEPSPEED", "MEGATRON_LM")  # kinds of processes, as accelerate names them


def process_device(name: str) -> torch.device:
    """Return the device of this process; under `accelerate launch` each has one of its own."""
    device = resolve_device(name)
    if n_processes() == 1:
        return device
    state = require("accelerate", "train").PartialState(cpu=device.type == "cpu")
    chosen: torch.device = state.device
    return chosen


def n_processes() -> int:
    """Return how many processes train together."""
    # Both, as a launcher sets them: some systems set the size alone, for a single process.
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def is_main() -> bool:
    """Return whether this process is the one that writes files."""
    return os.environ.get("RANK", "0") == "0"


def make_accelerator(device: torch.device, precision: str, has_unused: bool = False) -> Any:
    """Return an accelerator for a device; under `accelerate launch` one for all processes.

    `has_unused` says that some trained weights take no part in the loss.
    """
    accelerate = require("accelerate", "train")
    from accelerate.state import AcceleratorState

    # Device and precision are global there, once per process; here each training has its own.
    AcceleratorState._reset_state(reset_partial_state=n_processes() == 1)
    accelerator = accelerate.Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if is_half(device, precision) else "no",
        device_placement=False,
        kwargs_handlers=[
            accelerate.DistributedDataParallelKwargs(find_unused_parameters=has_unused)
        ],
    )
    kind = accelerator.distributed_type.value
    if kind in SHARDED:
        raise InputError(
            f"{kind} divides the weights between processes in a way that is not supported: "
            "use FSDP (fsdp_version 2) for tuning 'full', or plain data parallelism"
        )
    return accelerator


def is_half(device: torch.device, precision: str) -> bool:
    """Return whether a model computes in bfloat16; "auto" where a GPU is built for it."""
    import torch

    if precision != "auto":
        return precision == "bfloat16"
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
