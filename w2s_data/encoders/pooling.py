"""Pool the hidden states of a batch, and apply a model's own head to the pooled vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from w2s_data.encoders.recipe import POOLER, Recipe
from w2s_data.encoders.source import Module, Source, failure
from w2s_data.errors import EncoderError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Step = Callable[["Tensor"], "Tensor"]

_PICKLED = "pytorch_model.bin"
_SAFE = "model.safetensors"


def pool(hidden: Tensor, pooling: str, lengths: Tensor | None = None, first: int = 0) -> Tensor:
    """Pool hidden states (B, T, D) to vectors (B, D), or (B, k D) of k poolings joined by "+".

    Position t of a row counts where `first` <= t < its length; all do without `lengths`. With
    weights w_t = t + 1, weightedmean is Σ w_t h_t / Σ w_t; mean_sqrt_len is Σ h_t / √T. "pooler"
    has one position, see `hidden_state`. Gradients pass through.
    """
    import torch

    if lengths is None and pooling == "mean":
        return hidden.mean(dim=1)
    if lengths is None:
        lengths = hidden.new_full((len(hidden),), hidden.shape[1], dtype=torch.long)
    # A text that is cut within the prompt keeps its last token.
    starts = torch.minimum(torch.full_like(lengths, first), lengths - 1)
    rows = torch.arange(len(hidden), device=hidden.device)
    places = torch.arange(hidden.shape[1], device=hidden.device)
    counts = (places < lengths[:, None]) & (places >= starts[:, None])

    def weighted(weights: Tensor) -> Tensor:
        return torch.bmm(weights.unsqueeze(1), hidden).squeeze(1)

    def one(mode: str) -> Tensor:
        if mode in ("cls", POOLER):
            return hidden[rows, starts]
        if mode == "last":
            return hidden[rows, lengths - 1]
        if mode == "max":
            return hidden.masked_fill(~counts[..., None], -torch.inf).amax(dim=1)
        weights = counts.to(hidden.dtype)
        if mode == "weightedmean":
            weights = weights * (places + 1)
        total = weights.sum(dim=1, keepdim=True)
        return weighted(weights) / (total.sqrt() if mode == "mean_sqrt_len" else total)

    vectors = [one(mode) for mode in pooling.split("+")]
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=1)


class Head:
    """The parts of a model above its pooling, in float32 on one device."""

    def __init__(self, source: Source, recipe: Recipe, width: int, device: torch.device) -> None:
        self.width = width * len(recipe.pooling.split("+"))
        self._steps: list[Step] = []
        for module in recipe.modules:
            step, self.width = _load(source, module, self.width, device)
            self._steps.append(step)
        if recipe.dimensions is not None:
            self.width = min(self.width, recipe.dimensions)
            self._steps.append(lambda vectors: vectors[:, : self.width])
        if recipe.normalize:
            self._steps.append(_unit)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Apply all parts to pooled vectors (B, width)."""
        for step in self._steps:
            vectors = step(vectors)
        return vectors


def _unit(vectors: Tensor) -> Tensor:
    import torch

    return torch.nn.functional.normalize(vectors, dim=1)


def _load(source: Source, module: Module, width: int, device: torch.device) -> tuple[Step, int]:
    """Load a part that takes vectors of a width; return it, and the width of its own vectors."""
    from torch.nn.functional import layer_norm, linear

    name = f"{module.folder}/config.json"
    settings = source.read_settings(name) or {}
    where = f"{name} of model {source.model!r}"
    for key in ("module_input_name", "module_output_name"):
        if settings.get(key) not in (None, "sentence_embedding"):
            raise EncoderError(
                f"{where}: {key} must be 'sentence_embedding'; got {settings[key]!r}"
            )
    if module.name == "Normalize":
        return _unit, width
    given = settings.get("dimension" if module.name == "LayerNorm" else "in_features")
    if given != width:
        raise EncoderError(f"{where} takes vectors of {given!r} dimensions; they have {width} here")
    if module.name == "LayerNorm":
        shapes: dict[str, Any] = {"norm.weight": (width,), "norm.bias": (width,)}
        norm = _weights(source, module.folder, shapes, device)
        return lambda x: layer_norm(x, (width,), norm["norm.weight"], norm["norm.bias"]), width
    wanted = settings.get("out_features")
    activation = _activation(settings.get("activation_function"), where)
    adds = bool(settings.get("use_residual"))
    names = ["linear.weight"] + ["residual.weight"] * (adds and wanted != width)
    shapes = dict.fromkeys(names, (wanted, width))
    if settings.get("bias", True):
        shapes["linear.bias"] = (wanted,)
    w = _weights(source, module.folder, shapes, device)

    def dense(vectors: Tensor) -> Tensor:
        out: Tensor = activation(linear(vectors, w["linear.weight"], w.get("linear.bias")))
        if adds:
            out = out + (linear(vectors, w["residual.weight"]) if wanted != width else vectors)
        return out

    return dense, len(w["linear.weight"])


def _activation(name: Any, where: str) -> Any:
    """Return an activation of torch by the path that the configuration gives."""
    import torch

    if name is None:
        return torch.nn.Tanh()  # the default of that library
    package, _, kind = str(name).rpartition(".")
    found = getattr(torch.nn, kind, None)
    # Only classes of torch itself are made: a path may name any program.
    is_one = isinstance(found, type) and issubclass(found, torch.nn.Module)
    if not (is_one and package.startswith("torch.nn") and found.__module__.startswith("torch.nn")):
        raise EncoderError(f"{where}: there is no activation {name!r} in torch.nn")
    try:
        return found()  # type: ignore[misc]
    except TypeError as error:
        raise EncoderError(f"{where}: {name!r} is not an activation") from error


def _weights(
    source: Source, folder: str, shapes: Mapping[str, Any], device: torch.device
) -> dict[str, Tensor]:
    """Read the tensors of a part, which must have the given shapes, as float32.

    A pickle is read as tensors only, and never executed.
    """
    import torch
    from transformers.modeling_utils import load_state_dict

    where = f"{folder} of model {source.model!r}"
    safe, pickled = (source.file(f"{folder}/{name}") for name in (_SAFE, _PICKLED))
    if safe is None and pickled is None:
        raise EncoderError(f"{where} holds no weights ({_SAFE} or {_PICKLED})")
    try:
        read = load_state_dict(str(safe or pickled), weights_only=True)
        found = {name: tuple(tensor.shape) for name, tensor in read.items()}
    except Exception as error:
        raise EncoderError(f"cannot load the weights in {where}: {failure(error)}") from error
    if found != dict(shapes):
        raise EncoderError(f"the weights in {where} must be {dict(shapes)}; got {found}")
    return {name: tensor.to(device, torch.float32) for name, tensor in read.items()}
