"""Weights of a model divided between processes, as `accelerate launch --use_fsdp` asks for.

Each process has a share of the weights, of their gradients and of Adam's moments, and the layers
gather theirs while they compute (torch's `fully_shard`, FSDP2). All processes must therefore call
a divided model together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from w2s_data.errors import InputError, require
from w2s_data.finetune.levels.precision import n_processes

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def is_sharded() -> bool:
    """Return whether the processes of this training are to divide the weights."""
    return n_processes() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def shard(module: nn.Module, layers: list[str], device: torch.device) -> None:
    """Divide the weights of a module between all processes, in place.

    `layers` are the names of classes whose instances gather their weights by themselves; what is
    outside them is gathered for the whole forward pass. Raise InputError for plans of accelerate
    that divide in another way.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    plugin = require("accelerate", "train").FullyShardedDataParallelPlugin()
    if getattr(plugin, "fsdp_version", 1) != 2:
        raise InputError("weights are divided by the second version of FSDP: set fsdp_version 2")
    if os.environ.get("FSDP_OFFLOAD_PARAMS", "").lower() == "true":
        raise InputError("weights divided by FSDP stay on their devices: leave out offload_params")
    chosen = plugin.transformer_cls_names_to_wrap or layers
    # All in float32: the networks compute with fewer digits where that is safe (autocast), and
    # weights gathered in bfloat16 would not fit the head, which reads float32.
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (n_processes(),)),
        "reshard_after_forward": bool(plugin.reshard_after_forward),
    }
    for part in list(module.modules()):
        if type(part).__name__ in chosen:
            fully_shard(part, **options)
    fully_shard(module, **options)


def gather(tensor: Tensor) -> Tensor:
    """Return a whole tensor from the shares of all processes; others unchanged."""
    full = getattr(tensor, "full_tensor", None)
    return tensor if full is None else full()


def share_of(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's share of a tensor that all have, divided as another is."""
    if not hasattr(like, "full_tensor") or value.shape != like.shape:
        return value.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    divided: Any = like
    # Without a source: all processes have read the same file.
    return distribute_tensor(
        value.to(like.device), divided.device_mesh, divided.placements, src_data_rank=None
    )
