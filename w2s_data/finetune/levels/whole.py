"""A pretrained model of texts or images with a linear head on top, as a `Network` of one seed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.data.images import is_text
from w2s_data.encoders.backbone import Part, hidden_state, load_part
from w2s_data.encoders.base import Kind, as_items
from w2s_data.encoders.batches import UNFIT
from w2s_data.encoders.pixels import ImageReader, Images
from w2s_data.encoders.pooling import pool
from w2s_data.encoders.recipe import (
    AUTO,
    IMAGE_POOLINGS,
    POOLER,
    POOLINGS,
    Recipe,
    image_recipe,
    read_recipe,
)
from w2s_data.encoders.source import failure, kinds_of
from w2s_data.encoders.tokens import TextReader, Tokens
from w2s_data.errors import EncoderError, InputError
from w2s_data.finetune.levels.lora import add_adapters, loading_options
from w2s_data.finetune.levels.precision import is_half
from w2s_data.finetune.levels.sharding import gather, share_of
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.settings import RESIDENT_BYTES, Adaptation
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger("w2s_data")

State = dict[str, "Tensor"]


class WholeNetwork:
    """A pretrained model and a linear head on its pooled hidden state; see `Network`.

    Texts and images are read, and hidden states pooled, as the encoders do. `recipe` is that of the
    model's folder, unless it is given.
    """

    def __init__(
        self,
        adaptation: Adaptation,
        n_classes: int,  # 1 for a value
        device: torch.device,
        recipe: Recipe | None = None,
    ) -> None:
        import torch

        self.adaptation, source = adaptation, adaptation.source
        self.n_classes = n_classes
        on_cuda = device.type == "cuda"
        frozen = adaptation.tuning == "lora"
        # Only frozen weights may lose digits; those that are trained stay in float32.
        dtype = torch.bfloat16 if on_cuda and frozen else torch.float32
        self.kind = adaptation.kind or kind_read(adaptation)
        options = loading_options(adaptation, device)
        self.recipe = recipe or _own_recipe(adaptation, self.kind)
        loaded = self._load(dtype, options)
        part, self.is_alone = loaded.model, loaded.alone is not None
        self.opened_by = _opened_by(loaded, adaptation.tuning)
        self.reader: TextReader | ImageReader
        if self.kind == "text":
            self.reader = TextReader(source, part, self.recipe)
            # The given length is only an upper bound: a shorter model reads what it can.
            given = adaptation.max_length
            self.max_length = min(given, self.reader.limit(None) or given)
            self.first = self.reader.prompt_length(self.max_length)
        else:
            self.reader, self.first = ImageReader(source), 0
        if self.recipe.pooling != POOLER:
            _freeze_poolers(part)
        self.backbone = add_adapters(part, adaptation) if frozen else part
        if not options:  # rounded weights are where they belong, and cannot be moved
            self.backbone.to(device)
        self.device = device
        self.is_half = is_half(device, adaptation.precision)
        self.n_layers, self.width = self._measure()
        # Created on the CPU, then moved: the initial weights are the same on every device.
        self.head = self._new_head().to(device)
        self.depth = self.n_layers
        self.l2 = 0.0
        # Calls a function of this network, where processes divide its weights.
        self.divided: torch.nn.Module | None = None
        if adaptation.gradient_checkpointing:
            self._checkpoint_gradients()
        self.rows_at_a_time = 2 * adaptation.micro_batch  # inference stores no activations
        self.items: Tokens | Images = self.read(())
        self.validation: Tokens | Images = self.items
        self.kept: State = {}

    @property
    def lengths(self) -> IntArray:
        """Cost of the pool's rows (N,): tokens of texts, or patches of images."""
        return self.items.lengths

    def read(self, items: Sequence[Any], resident_bytes: int = RESIDENT_BYTES) -> Tokens | Images:
        """Tokenize texts, cut to the maximum length, or decode images to pixels.

        Pixels are held in so many bytes at most, or else decoded batch by batch.
        """
        given = as_items(items, self.kind)
        if isinstance(self.reader, ImageReader):
            return self.reader.read(given, resident_bytes)
        tokens = self.reader.read(given, self.max_length)
        if n_cut := int(tokens.cut.sum()):
            logger.info("%d of %d texts were cut to %d tokens", n_cut, len(given), self.max_length)
        return tokens

    @property
    def n_parameters(self) -> int:
        """Weights of the whole model, trained or not."""
        return sum(parameter.numel() for parameter in self.backbone.parameters())

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Return the trained parameters by name."""
        parts = (("backbone", self.backbone), ("head", self.head))
        return {
            f"{part}.{name}": parameter
            for part, module in parts
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the head's weights, which decay by `l2`, and all others, which do not."""
        others = self.parameters()
        weights = others.pop("head.weight")
        return [
            {"params": [weights], "weight_decay": self.l2},
            # A decay would draw pretrained weights to 0, away from what they know.
            {"params": list(others.values()), "weight_decay": 0.0},
        ]

    def logits(self, rows: Tensor) -> Tensor:
        """Compute logits (1, B, C) of pool rows (1, B), in training mode."""
        if not self.backbone.training:
            self._set_training()
        return self._forward(self.items, rows[0].cpu().numpy())[None]

    def _set_training(self) -> None:
        """Set the backbone, as a whole, to training mode."""
        self.backbone.train()
        for module in self.backbone.modules():
            # Statistics of a few rows at a time would be noise, and those of the pretrained model
            # are part of what it knows: batch norms keep them, and learn scale and shift alone.
            if getattr(module, "running_mean", None) is not None:
                module.eval()

    def validation_logits(self) -> Tensor:
        """Compute logits (1, V, C) of the validation rows."""
        return self.inference(self.validation)[None]

    def inference(self, items: Tokens | Images) -> Tensor:
        """Compute logits (n, C) of items that were read."""
        return self.batched(items.lengths, self.n_classes, lambda rows: self._forward(items, rows))

    def batched(
        self, lengths: IntArray, width: int, compute: Callable[[IntArray], Tensor]
    ) -> Tensor:
        """Compute rows (n, width) without gradients, so many at a time as fit into memory."""
        import torch

        self.backbone.eval()
        # Longest first: batches of similar lengths need little padding, and the memory that
        # suffices for the first batch suffices for all.
        order = np.argsort(-lengths, kind="stable")
        found = torch.empty((len(order), width), device=self.device)
        start = 0
        while start < len(order):
            batch = order[start : start + self.rows_at_a_time]
            try:
                with torch.no_grad() if self.divided else torch.inference_mode():
                    found[batch] = self._read(compute, batch)
                start += len(batch)
            except torch.OutOfMemoryError as error:
                if self.rows_at_a_time == 1:
                    raise TrainingError("the memory does not suffice for a single item") from error
                self.rows_at_a_time //= 2
                logger.warning("out of memory: reading %d items at a time", self.rows_at_a_time)
        return found

    def fitted(
        self,
        labels: FloatArray,  # noqa: ARG002
        weight: FloatArray,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> State:
        """Return new weights that are fitted before the training, rather than drawn.

        Those of a head of one output, for values of mean 0: the best constant. A head of classes
        has none.
        """
        import torch

        if self.n_classes > 1:
            return {}
        # Ridge regression on the pooled states, measured instead, holds the model back where they
        # miss the value: tuned on the number of words, MiniLM then leaves .96 of its variance
        # unexplained, and .63 from here.
        named = self.head.named_parameters()
        return {f"head.{name}": torch.zeros(own.shape) for name, own in named}

    def state(self) -> State:
        """Copy the trained weights to the CPU."""
        return {n: gather(p.detach()).to("cpu", copy=True) for n, p in self.parameters().items()}

    def load(self, state: State) -> None:
        """Set the trained weights."""
        import torch

        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(share_of(state[name], parameter))

    def whole_backbone(self) -> Any:
        """Return the backbone with all of its weights, which processes may have divided."""
        if self.divided is None:
            return self.backbone
        import torch

        copy = self._load(torch.float32, {}).model
        weights = self.backbone.state_dict()
        copy.load_state_dict({name: gather(weight).cpu() for name, weight in weights.items()})
        return copy

    def keep(self, seeds: BoolArray) -> None:
        """Remember the present weights."""
        if seeds.any():
            self.kept = self.state()

    def restore(self) -> None:
        """Return to the weights that were last remembered."""
        self.load(self.kept)

    def _checkpoint_gradients(self) -> None:
        model = self.backbone
        # Older versions of transformers know it by another name.
        enable = getattr(model, "activation_checkpointing_enable", None)
        try:
            (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
        except ValueError as error:
            raise InputError(
                f"model {self.adaptation.model!r} cannot compute activations again: leave out "
                "gradient_checkpointing"
            ) from error
        if self.kind == "text":
            # Adapters leave the embeddings frozen: without this no gradient enters the first layer.
            model.enable_input_require_grads()

    def _read(self, compute: Callable[[IntArray], Tensor], rows: IntArray) -> Tensor:
        if self.divided is None:
            return compute(rows)
        found: Tensor = self.divided(functools.partial(compute, rows))
        return found

    def _forward(self, items: Tokens | Images, rows: IntArray) -> Tensor:
        """Logits (B, C) in float32."""
        logits: Tensor = self.head(self.pooled(items, rows))
        return logits

    def pooled(self, items: Tokens | Images, rows: IntArray) -> Tensor:
        """Pool the hidden state of some items to vectors (B, D) in float32."""
        import torch

        inputs, lengths = self._batch(items, rows)
        whole, pooling = self.depth == self.n_layers, self.recipe.pooling
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.is_half):
            hidden = hidden_state(self.backbone, inputs, None if whole else self.depth, pooling)
        if not whole and pooling == POOLER:  # of the last state alone
            pooling = "mean"
        vectors = pool(hidden.float(), pooling, lengths, self.first)
        # Lower states of convolutional models have fewer channels; the head reads zeros instead.
        missing = getattr(self, "width", vectors.shape[1]) - vectors.shape[1]
        return torch.nn.functional.pad(vectors, (0, missing)) if missing else vectors

    def _batch(
        self, items: Tokens | Images, rows: IntArray
    ) -> tuple[Mapping[str, Tensor], Tensor | None]:
        """Return the model's inputs for some items, and the lengths of texts."""
        if isinstance(self.reader, TextReader):
            assert isinstance(items, Tokens)
            return self.reader.batch(items, rows, self.device)
        assert isinstance(items, Images)
        return self.reader.batch(items, rows, self.device, self.backbone.dtype), None

    def _load(self, dtype: torch.dtype, options: Mapping[str, Any]) -> Part:
        """Load the part of the model that is tuned."""
        source, pooling = self.adaptation.source, self.recipe.pooling
        return load_part(source, self.kind, dtype, pooling, **options)

    def _new_head(self) -> torch.nn.Module:
        """Create the layer on the pooled vector."""
        import torch

        return torch.nn.Linear(self.width, self.n_classes)

    def _measure(self) -> tuple[int, int]:
        """Return the number of layers and the width of a pooled vector.

        Measured: configurations name them in many ways, or not at all.
        """
        import torch

        items = self.reader.example()
        rows = np.arange(len(items.lengths))
        self.backbone.eval()
        self.depth = self.n_layers = 0
        try:
            with torch.no_grad():
                inputs, _ = self._batch(items, rows)
                output = self.backbone(**inputs, output_hidden_states=True)
                states = getattr(output, "hidden_states", None) or (None, None)
                return len(states) - 1, self.pooled(items, rows).shape[1]
        except UNFIT as error:
            if isinstance(error, EncoderError):
                raise
            raise EncoderError(
                f"model {self.adaptation.model!r} cannot read {self.kind} items: {failure(error)}"
            ) from error


def kind_read(adaptation: Adaptation, items: Sequence[Any] = ()) -> Kind:
    """Return the kind of items that a model reads; of a model of both, that of the items."""
    kinds = kinds_of(adaptation.source.configuration())
    if len(kinds) == 1:
        return kinds.pop()
    return "text" if not len(items) or is_text(items[0]) else "image"


def _own_recipe(adaptation: Adaptation, kind: Kind) -> Recipe:
    """Return how a model's folder, or the user, says that hidden states are pooled."""
    pooling = adaptation.pooling or AUTO
    fitting = IMAGE_POOLINGS if kind == "image" else POOLINGS
    if pooling != AUTO and not set(pooling.split("+")) <= set(fitting):
        raise InputError(
            f"pooling={pooling!r} is not one for {kind} items; valid: {', '.join(fitting)}"
        )
    config = adaptation.source.configuration(kind)
    if kind == "image":
        return image_recipe(config, pooling)
    # The head that is trained stands instead of the model's own Dense layers and normalization.
    recipe = read_recipe(adaptation.source, config)
    return recipe.changed(pooling=pooling).without_head()


def _opened_by(part: Part, tuning: str) -> str:
    """Return the Python that opens the tuned model of a `folder`, or adapters on their `base`."""
    if tuning == "lora":
        base = f"{part.opener}.from_pretrained(base){part.path}"
        return f"PeftModel.from_pretrained({base}, folder)"
    if part.alone is not None:
        return f"{part.alone}.from_pretrained(folder)"
    return f"{part.opener}.from_pretrained(folder){part.path}"


def _freeze_poolers(part: Any) -> None:
    # Above the hidden state that is read: no gradient reaches them, and some are random.
    for name, parameter in part.named_parameters():
        if "pooler" in name.split("."):
            parameter.requires_grad_(False)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[Callable[[int], None]]:
    """Draw initial weights and dropout from a seed, and leave torch's global state unchanged.

    Yields a function that starts the stream of a number.
    """
    import torch

    def start(number: int) -> None:
        state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
        value = int(state % 2**63)
        # Not `torch.manual_seed`: for each kind of device that is absent, it writes down the whole
        # stack of calls, and of a small model's step that takes a third.
        torch.default_generator.manual_seed(value)
        if device.type == "cuda":
            torch.cuda.manual_seed_all(value)
        elif device.type == "mps":
            torch.mps.manual_seed(value)

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        start(0)
        yield start
