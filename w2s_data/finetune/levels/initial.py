"""Weights that no pretrained model has, drawn from a seed."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from w2s_data.finetune.levels.whole import State


def new_weights(pretrained: State, head: torch.nn.Module) -> State:
    """Draw the weights that no pretrained model has: those of the head, and of adapters."""
    import torch

    drawn: State = {}
    # On the CPU: the same on every device. Adapters as peft draws them; their other half is zero.
    for name, tensor in pretrained.items():
        if ".lora_A." in name:
            drawn[name] = torch.nn.init.kaiming_uniform_(torch.empty_like(tensor), a=math.sqrt(5))
    fresh = copy.deepcopy(head).cpu()
    for part in fresh.modules():
        if isinstance(part, torch.nn.Linear):
            part.reset_parameters()
    return drawn | {f"head.{name}": value.detach() for name, value in fresh.named_parameters()}
