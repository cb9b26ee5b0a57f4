"""A pretrained text model with a linear head on top, as a `Network` of one seed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.encoders.backbone import load_part
from w2s_data.encoders.base import as_items
from w2s_data.encoders.tokens import TextReader
from w2s_data.errors import require
from w2s_data.finetune.levels.precision import is_half
from w2s_data.finetune.objectives import TrainingError
from w2s_data.finetune.settings import Adaptation
from w2s_data.utils.typing import BoolArray, IntArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger("w2s_data")

State = dict[str, "Tensor"]


class WholeNetwork:
    """A text model and a linear head on the mean of its last hidden state; see `Network`."""

    def __init__(self, adaptation: Adaptation, n_classes: int, device: torch.device) -> None:
        import torch

        source = adaptation.source
        on_cuda = device.type == "cuda"
        frozen = adaptation.tuning == "lora"
        # Only frozen weights may lose digits; those that are trained stay in float32.
        dtype = torch.bfloat16 if on_cuda and frozen else torch.float32
        backbone, config = load_part(source, "text", dtype)
        # A part of a larger model is not opened by transformers from a folder of its own.
        self.is_alone = backbone.config is config
        self.reader = TextReader(source, backbone)
        width = backbone.config.hidden_size
        self.n_layers = int(backbone.config.num_hidden_layers)
        self.backbone = _with_adapters(backbone, adaptation) if frozen else backbone
        self.backbone.to(device)
        # Created on the CPU, then moved: the initial weights are the same on every device.
        self.head = torch.nn.Linear(width, n_classes).to(device)
        # The usual length is only an upper bound here: a shorter model reads what it can.
        usual = adaptation.max_length
        self.max_length = min(usual, self.reader.limit(None) or usual)
        self.adaptation = adaptation
        self.device = device
        self.depth = self.n_layers
        self.l2 = 0.0
        self.is_half = is_half(device, adaptation.precision)
        if adaptation.gradient_checkpointing:
            self._checkpoint_gradients()
        self.rows_at_a_time = 2 * adaptation.micro_batch  # inference stores no activations
        self.texts: list[IntArray] = []
        self.validation: list[IntArray] = []
        self.kept: State = {}

    @property
    def lengths(self) -> IntArray:
        """Tokens (N,) of the pool's rows."""
        return np.array([len(ids) for ids in self.texts], dtype=np.int64)

    def tokenize(self, items: Sequence[Any]) -> list[IntArray]:
        """Return token ids of texts, cut to the maximum length."""
        texts = as_items(items, "text")
        if not texts:
            return []
        tokens = self.reader.tokenize(texts, self.max_length)
        if n_cut := int(tokens.cut.sum()):
            logger.info("%d of %d texts were cut to %d tokens", n_cut, len(texts), self.max_length)
        return [ids.astype(np.int64) for ids in tokens.rows(np.arange(len(texts)))]

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
        self.backbone.train()
        return self._forward([self.texts[row] for row in rows[0].tolist()])[None]

    def validation_logits(self) -> Tensor:
        """Compute logits (1, V, C) of the validation rows."""
        return self.inference(self.validation)[None]

    def inference(self, texts: list[IntArray]) -> Tensor:
        """Compute logits (n, C) of token ids."""
        import torch

        self.backbone.eval()
        # Longest first: batches of similar lengths need little padding, and the memory that
        # suffices for the first batch suffices for all.
        order = np.argsort([-len(text) for text in texts], kind="stable")
        logits = torch.empty((len(texts), self.head.out_features), device=self.device)
        start = 0
        while start < len(texts):
            batch = order[start : start + self.rows_at_a_time]
            try:
                with torch.inference_mode():
                    logits[batch] = self._forward([texts[row] for row in batch])
                start += len(batch)
            except torch.OutOfMemoryError as error:
                if self.rows_at_a_time == 1:
                    raise TrainingError("the memory does not suffice for a single text") from error
                self.rows_at_a_time //= 2
                logger.warning("out of memory: reading %d texts at a time", self.rows_at_a_time)
        return logits

    def state(self) -> State:
        """Copy the trained weights to the CPU."""
        return {n: p.detach().to("cpu", copy=True) for n, p in self.parameters().items()}

    def load(self, state: State) -> None:
        """Set the trained weights."""
        import torch

        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(state[name])

    def keep(self, seeds: BoolArray) -> None:
        """Remember the present weights."""
        if seeds.any():
            self.kept = self.state()

    def restore(self) -> None:
        """Return to the weights that were last remembered."""
        self.load(self.kept)

    def _checkpoint_gradients(self) -> None:
        # Adapters leave the embeddings frozen: without this no gradient enters the first layer.
        self.backbone.enable_input_require_grads()
        self.backbone.gradient_checkpointing_enable({"use_reentrant": False})

    def _forward(self, texts: list[IntArray]) -> Tensor:
        """Logits (B, C) in float32."""
        import torch

        inputs = self._batch(texts)
        whole = self.depth == self.n_layers
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.is_half):
            output = self.backbone(**inputs, output_hidden_states=not whole)
            hidden = output.last_hidden_state if whole else output.hidden_states[self.depth]
        weights = inputs["attention_mask"][..., None].float()
        mean = (hidden.float() * weights).sum(1) / weights.sum(1)
        logits: Tensor = self.head(mean)
        return logits

    def _batch(self, texts: list[IntArray]) -> dict[str, Tensor]:
        """Ids padded on the right, and their mask."""
        import torch

        lengths = np.array([len(text) for text in texts])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(mask.shape, self.reader.filling, dtype=np.int64)
        ids[mask] = np.concatenate(texts)
        parts = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        return {name: torch.from_numpy(part).to(self.device) for name, part in parts.items()}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[Callable[[int], None]]:
    """Draw initial weights and dropout from a seed, and leave torch's global state unchanged.

    Yields a function that starts the stream of a number.
    """
    import torch

    def start(number: int) -> None:
        state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(state % 2**63))

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        start(0)
        yield start


def _with_adapters(backbone: Any, adaptation: Adaptation) -> Any:
    peft = require("peft", "train")
    config = peft.LoraConfig(
        r=adaptation.rank,
        lora_alpha=adaptation.alpha,
        lora_dropout=adaptation.dropout,
        target_modules="all-linear",
    )
    with warnings.catch_warnings():
        # peft corrects this setting itself for models with transposed weights, and uses an older
        # name of a function of transformers.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing. is deprecated")
        return peft.get_peft_model(backbone, config)
