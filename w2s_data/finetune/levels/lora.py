"""Low-rank adapters: the layers that get one, and base weights of 4 or 8 bits under them."""

from __future__ import annotations

import difflib
import logging
import warnings
from typing import TYPE_CHECKING, Any

from w2s_data.errors import (
    InputError,
    NotApplicableError,
    find,
    first_line,
    listing,
    require,
)
from w2s_data.finetune.settings import Adaptation

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

_EXTRA = "train"


def add_adapters(part: Any, adaptation: Adaptation) -> Any:
    """Return a model with adapters, its own weights frozen."""
    peft = require("peft", _EXTRA)
    if adaptation.quantize is not None:
        # Norms and embeddings in float32, which the rounded layers need to be trained through.
        part = peft.prepare_model_for_kbit_training(part, use_gradient_checkpointing=False)
    config = peft.LoraConfig(
        r=adaptation.rank,
        lora_alpha=adaptation.alpha,
        lora_dropout=adaptation.dropout,
        target_modules=adapted_layers(part, adaptation),
    )
    with warnings.catch_warnings():
        # peft corrects this setting itself for models with transposed weights, and uses an older
        # name of a function of transformers.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing. is deprecated")
        try:
            adapted = peft.get_peft_model(part, config)
        except ValueError as error:  # some families have layers that peft must leave alone
            raise InputError(
                f"peft cannot adapt model {adaptation.model!r} ({first_line(error)}): choose "
                "other target_modules"
            ) from error
    _show_shapes(adapted)
    return adapted


def _show_shapes(adapted: Any) -> None:
    # Models that pad as TensorFlow does (MobileNet) read these of the layer that peft wraps.
    for module in adapted.modules():
        inner = getattr(module, "base_layer", None)
        for name in ("stride", "kernel_size", "dilation"):
            if hasattr(inner, name) and not hasattr(module, name):
                setattr(module, name, getattr(inner, name))


def adapted_layers(part: Any, adaptation: Adaptation) -> list[str]:
    """Return the names of the layers that get an adapter.

    Raise InputError if a layer that was asked for does not exist, cannot take one, or is smaller
    than the rank.
    """
    ranks = _highest_ranks(part)
    if adaptation.target_modules is not None:
        return _asked_for(part, adaptation, ranks)
    usual = _usual_layers(part, ranks)
    chosen = [name for name in usual if ranks[name] >= adaptation.rank]
    if not chosen:
        largest = max((ranks[name] for name in usual), default=0)
        raise InputError(
            f"rank={adaptation.rank} is larger than every layer of model {adaptation.model!r} "
            f"(at most {largest}): choose a lower rank"
            if usual
            else f"model {adaptation.model!r} has no linear layer that adapters fit: pass "
            "target_modules, or use tuning 'full'"
        )
    if len(chosen) < len(usual):
        logger.info(
            "%d of %d layers are smaller than rank %d and get no adapter",
            *(len(usual) - len(chosen), len(usual), adaptation.rank),
        )
    return chosen


def _highest_ranks(part: Any) -> dict[str, int]:
    """Return the layers that peft can adapt, with the largest rank that their weights can have."""
    import torch
    from transformers.pytorch_utils import Conv1D

    ranks = {}
    for name, module in part.named_modules():
        weight: Any = getattr(module, "weight", None)
        if isinstance(module, torch.nn.Linear):  # sizes as stated: 4 bits are stored in pairs
            ranks[name] = min(module.in_features, module.out_features)
        elif isinstance(module, torch.nn.Conv2d) and module.groups == 1:
            ranks[name] = min(weight.shape[0], weight[0].numel())
        elif isinstance(module, Conv1D):
            ranks[name] = min(weight.shape)
    return ranks


def _usual_layers(part: Any, ranks: dict[str, int]) -> list[str]:
    """Return linear layers and convolutions of single pixels, or all convolutions without those."""
    import torch

    modules = dict(part.named_modules())
    # A pooler lies above the hidden state that the student reads, and learns nothing; the head of a
    # language model often is its table of embeddings.
    head = getattr(part, "get_output_embeddings", lambda: None)()
    names = [n for n in ranks if "pooler" not in n.split(".") and modules[n] is not head]
    convolutions = [name for name in names if isinstance(modules[name], torch.nn.Conv2d)]
    linear = [name for name in names if name not in convolutions]
    # In a model without linear layers the wide convolutions do the work; elsewhere a wide one only
    # cuts the image into patches.
    single = [name for name in convolutions if max(modules[name].kernel_size) == 1]
    return linear + single if linear else convolutions


def _asked_for(part: Any, adaptation: Adaptation, ranks: dict[str, int]) -> list[str]:
    names = [name for name, _ in part.named_modules() if name]
    chosen: dict[str, None] = {}
    for asked in adaptation.target_modules or ():
        found = [name for name in names if name == asked or name.endswith(f".{asked}")]
        fitting = [name for name in found if name in ranks]
        if not fitting:
            ends = sorted({name.rpartition(".")[2] for name in ranks})
            close = difflib.get_close_matches(asked, ends, n=1)
            hint = f"; did you mean {close[0]!r}? Valid" if close else "; valid"
            why = "is not a layer that adapters fit" if found else "is not in the model"
            raise InputError(f"target_modules: {asked!r} {why}{hint}: {listing(ends)}")
        for name in fitting:
            if ranks[name] < adaptation.rank:
                raise InputError(
                    f"rank={adaptation.rank} is larger than layer {name!r}, which takes at most "
                    f"{ranks[name]}: choose a lower rank, or leave it out of target_modules"
                )
            chosen[name] = None
    return list(chosen)


def loading_options(adaptation: Adaptation, device: torch.device) -> dict[str, Any]:
    """Return what transformers needs to load weights rounded to 4 or 8 bits; empty for neither.

    Raise NotApplicableError without a CUDA device, MissingExtraError without bitsandbytes.
    """
    bits = adaptation.quantize
    if bits is None:
        return {}
    if device.type != "cuda":
        raise NotApplicableError(
            f"quantize={bits} needs a CUDA device, and this is {str(device)!r}: leave quantize out"
        )
    find("bitsandbytes", _EXTRA)
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        # As QLoRA (Dettmers et al., 2023): normal floats, whose scales are rounded as well.
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": device}}
