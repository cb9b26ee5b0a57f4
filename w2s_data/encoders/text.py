"""Encode texts by a pretrained transformer: one pooled hidden state per text."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from w2s_data.encoders.backbone import StateModel, resolve_layer
from w2s_data.encoders.base import Kind
from w2s_data.encoders.batches import Reading
from w2s_data.encoders.pretrained import PretrainedEncoder
from w2s_data.encoders.recipe import AUTO, JOINED, POOLINGS, Recipe, read_recipe
from w2s_data.encoders.tokens import TextReader
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import Constraint, one_of, whole

if TYPE_CHECKING:
    import torch

# Padded tokens in a batch. On a CPU a batch of 1,000 to 2,000 tokens stays in the cache:
# smaller ones pay per call, larger ones wait for memory (benchmarks/speed). A GPU is busy
# with fewer than 16,384, and a shard of short texts then makes several batches to share.
_CPU_TOKENS = 1536
_GPU_TOKENS = 16_384

logger = logging.getLogger("w2s_data")


class TextEncoder(PretrainedEncoder):
    """Tokens of one hidden state of a pretrained transformer, pooled to a vector.

    A sentence-transformers model is run as its own files say: pooling, Dense layers, normalisation,
    maximum length and prompt. With another model the tokens of a text are averaged; with a decoder,
    which sees the whole text only there, the last one is taken. Padding never counts. Encoders,
    decoders, and the encoder half of encoder-decoders work alike.

    Parameters
    ----------
    model : str
        Folder of a transformers or sentence-transformers model, or its name on the hub.
    layer : int
        Hidden state: 0 the embedding output, k the output of layer k, -1 the last one (after
        the final norm, where the model has one). Layers above it are neither kept nor computed.
        Below the last layer a model's own pooling is kept, but not what it does after it.
    pooling : str
        "mean" (Σ h_t / T), "cls" (h_1), "last" (h_T), "max", "mean_sqrt_len" (Σ h_t / √T) or
        "weightedmean" (Σ t h_t / Σ t) of the hidden states h_1, …, h_T of a text; several
        concatenate, as in "cls+mean". A named pooling stands instead of all that the model's own
        files do after the transformer.
    max_length : int, optional
        Tokens kept of a text; by default as the model's files say, or as many as it reads.
    normalize : bool, optional
        Scale vectors to length 1, or do not; by default as the model's files say.
    prompt : str, optional
        Text to put before each text, or the name of one of the model's own prompts; by default
        the model's default prompt, if any.
    dtype : "auto", "float32", "bfloat16", "float16" or "int8"
        Precision of the model; "auto" is bfloat16 on CUDA and on CPUs that multiply it in hardware
        (AVX512-BF16, AMX), float32 elsewhere. "int8" takes backend "onnx". Pooling and the result
        are float32.
    device : str or torch.device
        "auto" takes CUDA, then MPS, then the CPU. "auto" and "cuda" share the batches between all
        CUDA devices, each with the model in its memory; "cuda:1" takes one.
    backend : "torch", "onnx" or "openvino"
        Runtime of the model. The last two, onnxruntime and OpenVINO, are extras, and compute on
        the CPU: "onnx" in float32 or int8, "openvino" in float32 or bfloat16; another precision
        gives way to float32. A model is exported once and kept in the user's cache folder (or
        ``W2S_CACHE``); one that cannot be exported is computed by torch, both with a warning in
        the log.
    min_agreement : float
        Least mean cosine, in [0, 1], of vectors in int8 with those in float32, and least share of
        a probe's accuracy that they keep, on a sample of the items; 0 takes any.
    max_tokens : int, optional
        Padded tokens in a batch. Halved, with a warning in the log, when memory runs out.
    revision : str, optional
        Branch, tag or commit on the hub.
    trust_remote_code : bool
        Run Python code that comes with the model. Only for sources you trust.

    Raises
    ------
    EncoderError
        By `fit`, `spec` and `encode`, for an unknown model, layer or pooling, a model whose files
        lack weights or ask for parts that cannot be run here, a text that does not fit in memory
        alone, or vectors in int8 that are too far from those in float32.
    MissingExtraError
        For a backend that is not installed.

    Examples
    --------
    >>> TextEncoder("models/minilm", layer=3).get_params()["pooling"]
    'auto'
    """

    kind: ClassVar[Kind] = "text"
    unit: ClassVar[str] = "tokens"
    recipe_settings: ClassVar[tuple[str, ...]] = (
        *("pooling", "pooling_reason", "modules", "normalize", "prompt", "max_length"),
    )
    limits: ClassVar[dict[str, Constraint]] = {
        "pooling": one_of(AUTO, *POOLINGS) | JOINED,
        "normalize": one_of(None, True, False),
        "prompt": one_of(None) | Constraint("a text", lambda value: isinstance(value, str)),
        "max_length": one_of(None) | whole(1),
        "max_tokens": one_of(None) | whole(1),
    }

    def __init__(
        self,
        model: str,
        layer: int = -1,
        pooling: str = AUTO,
        max_length: int | None = None,
        normalize: bool | None = None,
        prompt: str | None = None,
        dtype: str = "auto",
        device: str | torch.device = "auto",
        backend: str = "torch",
        min_agreement: float = 0.98,
        max_tokens: int | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.max_length = max_length
        self.normalize = normalize
        self.prompt = prompt
        self.dtype = dtype
        self.device = device
        self.backend = backend
        self.min_agreement = min_agreement
        self.max_tokens = max_tokens
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def _recipe(self, config: Any) -> Recipe:
        layer, last = (resolve_layer(config, n, self.kind) for n in (self.layer, -1))
        return read_recipe(self._source(), config).changed(
            pooling=self.pooling,
            normalize=self.normalize,
            prompt=self.prompt,
            max_length=self.max_length,
            last_layer=layer == last,
        )

    def _load_reader(self, model: Any) -> TextReader:
        return TextReader(self._source(), model, self.recipe_)

    def _prepare(self) -> None:
        reader: TextReader = self.reader_
        self.limit_ = reader.limit(self.max_length)
        self.first_ = reader.prompt_length(self.limit_)
        longest = "" if self.limit_ is None else f", at most {self.limit_:,} tokens"
        logger.info("%s: %s%s", self._source().label, self.recipe_.told(), longest)

    def _budget(self) -> int:
        on_cpu = self.backbone_.device.type == "cpu"
        return self.max_tokens or (_CPU_TOKENS if on_cpu else _GPU_TOKENS)

    def _probe(self, backbone: StateModel) -> Mapping[str, torch.Tensor]:
        reader: TextReader = self.reader_
        tokens = reader.read(["a", "a longer text"], self.limit_)
        return reader.batch(tokens, np.array([1, 0]), backbone.device)[0]

    def _read(self, items: list[Any]) -> Reading:
        reader: TextReader = self.reader_
        tokens = reader.read(items, self.limit_)

        def compute(backbone: StateModel, rows: IntArray) -> FloatArray:
            inputs, lengths = reader.batch(tokens, rows, backbone.device)
            return self._pooled(backbone, inputs, lengths, self.first_)

        return Reading(tokens.lengths, compute, tokens.cut, self.limit_)
