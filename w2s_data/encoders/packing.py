"""Linear layers in bfloat16 on a CPU, whose weights are laid out once for its instructions.

torch lays out the weights of a linear layer again in every call, and writes and reads the states
between a layer and its activation. Imported only where a model is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from w2s_data.encoders.backbone import Backbone
from w2s_data.errors import first_line

logger = logging.getLogger("w2s_data")

# Rows for which the layout is chosen; it serves any number, at the speed of the nearest.
_ROWS = 1536
# Parts of BERT and its many kin: a linear layer and the activation after it.
_LAYER, _ACTIVATION = "dense", "intermediate_act_fn"
_EXACT_GELU = ("GELUActivation", "GELU")


class PackedLinear(nn.Module):
    """A linear layer, and the exact GELU after it if asked, on weights that oneDNN laid out."""

    def __init__(self, linear: nn.Linear, *, gelu: bool = False) -> None:
        super().__init__()
        # No parameter: nothing but oneDNN reads this layout.
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias
        self.activation = "gelu" if gelu else "none"

    def forward(self, states: Tensor) -> Tensor:
        """Return states (..., in) as (..., out)."""
        made: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self.weight, self.bias, self.activation, [], "none"
        )
        return made


def pack(backbone: Backbone, probe: Mapping[str, Tensor]) -> None:
    """Pack the linear layers of a model in bfloat16 on a CPU, unless that changes its states.

    `probe` is a small batch on which both are compared.
    """
    supported = (
        backbone.device.type == "cpu"
        and backbone.dtype == torch.bfloat16
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )
    if not supported:
        return
    plain = backbone.hidden(probe)
    before: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        _replace(backbone.model, before)
        packed = backbone.hidden(probe)
        reason = "" if _close(packed, plain) else "its states would differ"
    except (RuntimeError, AttributeError, TypeError) as error:  # of a layer with ways of its own
        reason = first_line(error)
    if reason:
        for parent, name, module in before:
            setattr(parent, name, module)
        logger.info("linear layers are not packed: %s", reason)


def _replace(model: nn.Module, before: list[tuple[nn.Module, str, nn.Module]]) -> None:
    """Replace linear layers by packed ones; `before` takes what was where."""
    for parent in list(model.modules()):
        activation = getattr(parent, _ACTIVATION, None)
        fused = type(activation).__name__ in _EXACT_GELU
        for name, child in list(parent.named_children()):
            if type(child) is not nn.Linear:  # a subclass may compute something else
                continue
            before.append((parent, name, child))
            setattr(parent, name, PackedLinear(child, gelu=fused and name == _LAYER))
            if fused and name == _LAYER:
                before.append((parent, _ACTIVATION, getattr(parent, _ACTIVATION)))
                setattr(parent, _ACTIVATION, nn.Identity())


def _close(packed: Tensor, plain: Tensor) -> bool:
    """Whether states are equal up to the rounding of bfloat16, which keeps 8 bits."""
    tolerance = 2e-2 * float(plain.float().abs().max())
    return packed.shape == plain.shape and torch.allclose(
        packed.float(), plain.float(), rtol=0, atol=tolerance
    )
