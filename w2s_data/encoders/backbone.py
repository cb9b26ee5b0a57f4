"""A pretrained model cut down to the layers that one hidden state needs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from w2s_data.encoders.base import Kind
from w2s_data.encoders.recipe import POOLER
from w2s_data.encoders.source import SUBCONFIGS, Source
from w2s_data.errors import EncoderError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

# Attributes of models for several kinds of items that hold the part for one kind.
_TOWERS: dict[Kind, tuple[str, ...]] = {
    "text": ("text_model", "language_model"),
    "image": ("vision_model", "vision_tower", "visual"),
}
# Families of encoder-decoders whose encoder is a model of its own in transformers.
_HALVED = ("t5", "mt5", "umt5")
# Weights above the last hidden state, which models are saved with or without.
_HEADS = re.compile(
    r"(^|\.)(pooler|lm_head|lm_loss|lm_predictions|mask_predictions|cls|predictions|classifier|"
    r"score|qa_outputs|generator_\w+|discriminator_\w+|vocab_\w+|logit_scale|seq_relationship|"
    r"\w+_projection|head|decoder)(\.|$)"
)
# Buffers that older versions saved.
_BUFFERS = re.compile(r"(position_ids|inv_freq|masked_bias|attn\.bias|token_type_ids)$")
# Above this share of weights that the model has no place for, the files belong to another one.
_MOST_FOREIGN = 0.1


def resolve_layer(config: Any, layer: int, kind: Kind) -> int:
    """Return the index of a hidden state, from 0 (embedding output) to L (last hidden state).

    Raise EncoderError if the layer is outside the model.
    """
    n_layers = number_of_layers(config, kind)
    if n_layers is None:
        return layer
    if not -(n_layers + 1) <= layer <= n_layers:
        raise EncoderError(
            f"layer {layer} is outside the model's {n_layers} layers; use 0 (embeddings) to "
            f"{n_layers}, or -1 (last) to {-(n_layers + 1)}"
        )
    return layer % (n_layers + 1)


def number_of_layers(config: Any, kind: Kind) -> int | None:
    """Return the layers L of the part for one kind of item, or None if unknown."""
    part = getattr(config, SUBCONFIGS[kind], None) or config
    n_layers = getattr(part, "num_hidden_layers", None)
    return n_layers if isinstance(n_layers, int) else None


class StateModel(Protocol):
    """Something that computes one hidden state: the model in torch, or in another runtime."""

    @property
    def device(self) -> torch.device:
        """Device of the inputs."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of inputs with a fraction."""

    def hidden(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Compute the hidden state (items, positions, dimensions) of one batch."""


class Backbone:
    """A pretrained model that computes one of its hidden states and nothing above it.

    Hidden state k < L is the input of layer k, so that a hook there ends the forward pass, and the
    layers above are dropped. Hidden state L is the last one of the model, after its final norm, if
    any. A model whose layers are not found runs in full.
    """

    def __init__(
        self,
        source: Source,
        layer: int,
        kind: Kind,
        *,
        dtype: torch.dtype,
        device: torch.device,
        pooling: str = "",
    ) -> None:
        part = load_part(source, kind, dtype, pooling)
        self.model, config = part.model, part.config
        self.pooling = pooling  # of the hidden state, where the model may do it itself
        self.layer = resolve_layer(config, layer, kind)
        self.n_layers = number_of_layers(config, kind)
        self.model.eval().requires_grad_(False).to(device)
        self.stops_early = False
        self._hook: Any = None  # that stops the model

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model."""
        return self.model.dtype  # type: ignore[no-any-return]

    def hidden(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Compute the hidden state (items, positions, dimensions) of one batch."""
        if self.stops_early:
            try:
                self.model(**inputs)
            except _ReachedError as reached:
                return reached.hidden
        return hidden_state(self.model, inputs, None if self.is_last else self.layer, self.pooling)

    @property
    def is_last(self) -> bool:
        """Whether the hidden state is the model's last one."""
        return self.layer in (self.n_layers, -1)  # -1 where the number of layers is unknown

    def run_through(self) -> None:
        """Stop no more at the hidden state, by an exception that exporters cannot follow."""
        if self.stops_early:
            self._hook.remove()
            self.stops_early = False

    def drop_unneeded_layers(self, probe: Mapping[str, torch.Tensor]) -> None:
        """Drop the layers above the hidden state, unless that changes the hidden state.

        `probe` is a small batch on which the whole and the cut model are compared.
        """
        import torch

        layers = self._layers()
        if layers is None or self.layer >= len(layers):
            return
        whole = self.hidden(probe)
        self._hook = layers[self.layer].register_forward_pre_hook(_stop, with_kwargs=True)
        self.stops_early = True
        cut = self.hidden(probe)
        # Wide enough for half precision; another hidden state differs by much more.
        tolerance = 1e-2 * float(whole.float().abs().max())
        if whole.shape == cut.shape and torch.allclose(cut, whole, rtol=0, atol=tolerance):
            del layers[self.layer + 1 :]
        else:
            self.run_through()
            logger.info("hidden state %d needs all layers of this model", self.layer)

    def _layers(self) -> torch.nn.ModuleList | None:
        from torch.nn import ModuleList

        for module in self.model.modules():
            if isinstance(module, ModuleList) and len(module) == self.n_layers:
                return module
        return None


def hidden_state(
    model: Any, inputs: Mapping[str, torch.Tensor], layer: int | None, pooling: str
) -> torch.Tensor:
    """Compute a hidden state (items, positions, dimensions); layer None is the last one.

    For pooling "pooler" of the last one there is a single position: the model's own pooled output,
    or the mean over all positions where it has none.
    """
    output = model(**inputs, output_hidden_states=layer is not None)
    if layer is None:
        hidden = output.last_hidden_state
    elif not -len(output.hidden_states) <= layer < len(output.hidden_states):
        raise EncoderError(f"layer {layer} is outside 0 to {len(output.hidden_states) - 1}")
    else:
        hidden = output.hidden_states[layer]
    if hidden.ndim == 4:  # a convolutional model's (items, channels, height, width)
        hidden = hidden.flatten(2).transpose(1, 2)
    if layer is None and pooling == POOLER:
        own = getattr(output, "pooler_output", None)
        hidden = hidden.mean(1, keepdim=True) if own is None else own.flatten(1).unsqueeze(1)
    return hidden  # type: ignore[no-any-return]


class _ReachedError(Exception):
    """Ends a forward pass, and carries the hidden state."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def _stop(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise _ReachedError(args[0] if args else kwargs["hidden_states"])


class Part(NamedTuple):
    """The part of a model that reads one kind of item."""

    model: Any
    config: Any  # of the whole model
    opener: str  # class of transformers that opens the whole model
    path: str  # from there to the part, in Python
    alone: str | None  # class that opens the part where it is saved alone, if there is one


def load_part(
    source: Source, kind: Kind, dtype: torch.dtype, pooling: str = "", **options: Any
) -> Part:
    """Load the part of a model that reads one kind of item.

    `options` are passed on to transformers. Raise EncoderError if weights of the part are missing,
    which would be random, have other shapes, or if the files hold those of another model.
    """
    from transformers import AutoModel, AutoModelForTextEncoding

    config = source.configuration(kind)
    halved = kind == "text" and getattr(config, "model_type", "") in _HALVED
    opener = AutoModelForTextEncoding if halved else AutoModel
    model, info = source.load(
        opener.from_pretrained,
        "weights",
        config=config,
        dtype=dtype,
        output_loading_info=True,
        **options,
    )
    part, path = (model, "") if halved else _part_that_reads(model, kind)
    _check_missing(source, info["missing_keys"], model, part, pooling == POOLER)
    _check_foreign(source, info["unexpected_keys"], len(model.state_dict()))
    part.config.use_cache = False  # of keys and values, for generating text only
    opener_name = type(model).__name__ if halved else "AutoModel"
    alone = opener_name if part is model else type(part).__name__
    return Part(
        part, model.config, opener_name, path, alone if _stands_alone(part, model) else None
    )


def load_whole_model(source: Source, kind: Kind) -> tuple[Any, Any]:
    """Load a whole model, in float32, and the part of it that reads one kind of item."""
    from transformers import AutoModel

    model = source.load(AutoModel.from_pretrained, "weights")
    return model, _part_that_reads(model, kind)[0]


def _stands_alone(part: Any, model: Any) -> bool:
    """Whether transformers opens a part by itself from a folder where it is saved alone."""
    if part is model:
        return True
    from transformers.models.auto import modeling_auto as auto

    own = type(part.config)
    mappings = (auto.MODEL_MAPPING, auto.MODEL_FOR_TEXT_ENCODING_MAPPING)
    return any(own in mapping and mapping[own] is type(part) for mapping in mappings)


def _check_missing(
    source: Source, keys: Iterable[str], model: Any, part: Any, with_pooler: bool
) -> None:
    # The other half of a model may be missing: sentence encoders are saved without a decoder.
    needed = {id(tensor) for tensor in part.state_dict(keep_vars=True).values()}
    tensors = model.state_dict(keep_vars=True)
    # A pooler lies above all hidden states, and base models are often saved without it.
    missing = sorted(
        key
        for key in keys
        if (with_pooler or "pooler" not in key) and id(tensors.get(key)) in needed
    )
    if missing:
        raise EncoderError(
            f"the files of model {source.model!r} lack {len(missing)} weights "
            f"({missing[0]}, ...), which would be random: use the complete model"
        )


def _check_foreign(source: Source, keys: Iterable[str], n_known: int) -> None:
    foreign = sorted(k for k in keys if not _HEADS.search(k) and not _BUFFERS.search(k))
    if not foreign:
        return
    what = (
        f"the files of model {source.model!r} hold {len(foreign)} weights ({foreign[0]}, ...) for "
        "which its config.json has no place"
    )
    if len(foreign) > _MOST_FOREIGN * (n_known + len(foreign)):
        raise EncoderError(f"{what}: they belong to another model, or config.json was changed")
    logger.warning("%s; they are not used", what)


def usable_positions(part: Any) -> int | None:
    """Return how many tokens of a text a model has positions for; None if there is no limit."""
    import torch

    stated = getattr(part.config, "max_position_embeddings", None)
    for module in part.modules():
        table = getattr(module, "position_embeddings", 0)
        if table is None:  # relative positions alone, as in DeBERTa
            return None
        if isinstance(table, torch.nn.Embedding):
            # RoBERTa and its kin count from the position after that of the padding.
            padding = getattr(module, "padding_idx", None)
            offset = padding + 1 if isinstance(padding, int) else 0
            usable = table.num_embeddings - offset
            return min(usable, stated) if isinstance(stated, int) and stated > 0 else usable
    return stated if isinstance(stated, int) and stated > 0 else None


def _part_that_reads(model: Any, kind: Kind) -> tuple[Any, str]:
    """Return the part that reads one kind of item, and the way from the model to it in Python."""
    if getattr(model.config, "is_encoder_decoder", False):  # a decoder would need targets
        return model.get_encoder(), ".get_encoder()"
    for name in _TOWERS[kind]:
        tower = getattr(model, name, None)
        if tower is not None and hasattr(tower, "config"):
            return tower, f".{name}"
    return model, ""
