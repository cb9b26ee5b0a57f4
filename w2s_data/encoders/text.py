"""Encode texts by a pretrained transformer: one pooled hidden state per text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from w2s_data.encoders.backbone import Backbone
from w2s_data.encoders.base import ItemError, Kind, describe
from w2s_data.encoders.pretrained import PretrainedEncoder, Reading
from w2s_data.errors import EncoderError
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import Constraint, one_of, whole

if TYPE_CHECKING:
    import torch

# Padded tokens in a batch. On a CPU a batch of 1,000 to 2,000 tokens stays in the cache:
# smaller ones pay per call, larger ones wait for memory (benchmarks/speed). A GPU is busy
# with fewer than 16,384, and a shard of short texts then makes several batches to share.
_CPU_TOKENS = 1536
_GPU_TOKENS = 16_384
# Texts whose tokens are lists of Python ints at the same time.
_TOKENIZER_CHUNK = 8192
# Tokenizers without a limit state an astronomical one.
_NO_LIMIT = 10**9


class TextEncoder(PretrainedEncoder):
    """Mean, first or last token of one hidden state of a pretrained transformer.

    For a text of T tokens with hidden states h_1, …, h_T in layer k: mean = Σ h_t / T,
    cls = h_1, last = h_T. Padding never counts. Encoders, decoders, and the encoder half of
    encoder-decoders work alike.

    Parameters
    ----------
    model : str
        Folder of a transformers model, or its name on the hub.
    layer : int
        Hidden state: 0 the embedding output, k the output of layer k, -1 the last one (after
        the final norm, where the model has one). Layers above it are neither kept nor computed.
    pooling : "mean", "cls" or "last"
        Decoders see the whole text only at its last token.
    max_length : int, optional
        Tokens kept of a text; by default as many as the model reads.
    normalize : bool
        Scale vectors to length 1.
    dtype : "auto", "float32", "bfloat16" or "float16"
        Precision of the model; "auto" is bfloat16 on CUDA, float32 elsewhere. Pooling and the
        result are float32.
    device : str or torch.device
        "auto" takes CUDA, then MPS, then the CPU. "auto" and "cuda" share the batches between all
        CUDA devices, each with the model in its memory; "cuda:1" takes one.
    max_tokens : int, optional
        Padded tokens in a batch. Halved, with a warning in the log, when memory runs out.
    revision : str, optional
        Branch, tag or commit on the hub.
    trust_remote_code : bool
        Run Python code that comes with the model. Only for sources you trust.

    EncoderError is raised by `fit`, `spec` and `encode`, for an unknown model, layer or pooling, or
    a text that does not fit in memory alone.

    Examples
    --------
    >>> TextEncoder("models/minilm", layer=3).get_params()["pooling"]
    'mean'
    """

    kind: ClassVar[Kind] = "text"
    poolings: ClassVar[tuple[str, ...]] = ("mean", "cls", "last")
    own_settings: ClassVar[tuple[str, ...]] = ("max_length", "normalize")
    unit: ClassVar[str] = "tokens"
    limits: ClassVar[dict[str, Constraint]] = dict.fromkeys(
        ("max_length", "max_tokens"), one_of(None) | whole(1)
    )

    def __init__(
        self,
        model: str,
        layer: int = -1,
        pooling: str = "mean",
        max_length: int | None = None,
        normalize: bool = False,
        dtype: str = "auto",
        device: str | torch.device = "auto",
        max_tokens: int | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.max_length = max_length
        self.normalize = normalize
        self.dtype = dtype
        self.device = device
        self.max_tokens = max_tokens
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def _load_reader(self) -> Any:
        from transformers import AutoTokenizer

        return self._source().load(AutoTokenizer.from_pretrained, "tokenizer")

    def _budget(self) -> int:
        on_cpu = self.backbone_.device.type == "cpu"
        return self.max_tokens or (_CPU_TOKENS if on_cpu else _GPU_TOKENS)

    def _probe(self, backbone: Backbone) -> Mapping[str, torch.Tensor]:
        tokens, starts = self._tokenize(["a", "a longer text"])
        return self._batch(backbone, tokens, starts, np.array([1, 0]))[0]

    def _read(self, items: list[Any]) -> Reading:
        tokens, starts = self._tokenize(items)

        def compute(backbone: Backbone, rows: IntArray) -> FloatArray:
            return self._pooled(backbone, *self._batch(backbone, tokens, starts, rows))

        return Reading(np.diff(starts), compute)

    def _tokenize(self, texts: list[str]) -> tuple[IntArray, IntArray]:
        """Return the token ids of all texts end to end, and N + 1 offsets of the texts."""
        limit = self._max_length()
        chunks: list[IntArray] = []
        lengths: list[int] = []
        for first in range(0, len(texts), _TOKENIZER_CHUNK):
            chunk = texts[first : first + _TOKENIZER_CHUNK]
            ids = self.reader_(
                chunk,
                truncation=limit is not None,
                max_length=limit,
                return_attention_mask=False,
                return_token_type_ids=False,
            )["input_ids"]
            for row, sequence in enumerate(ids):
                if not sequence:
                    sequence.append(self._token_of_nothing(first + row, chunk[row]))
            lengths.extend(map(len, ids))
            chunks.append(np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int32))
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return np.concatenate(chunks) if chunks else np.empty(0, np.int32), starts

    def _max_length(self) -> int | None:
        positions = getattr(self.backbone_.model.config, "max_position_embeddings", None)
        if self.max_length is not None:
            if positions and self.max_length > positions:  # torch fails at the missing ones
                raise EncoderError(
                    f"max_length={self.max_length} is beyond the {positions} positions of model "
                    f"{self.model!r}"
                )
            return self.max_length
        limits = (self.reader_.model_max_length, positions)
        return min((limit for limit in limits if limit and limit < _NO_LIMIT), default=None)

    def _token_of_nothing(self, row: int, text: str) -> int:
        """Return a stand-in for a text without tokens: an empty one, unless marks are added."""
        reader = self.reader_
        for token in (reader.bos_token_id, reader.eos_token_id, reader.pad_token_id):
            if token is not None:
                return int(token)
        raise ItemError([row], [describe(text)], "the tokenizer makes no token of it")

    def _batch(
        self, backbone: Backbone, tokens: IntArray, starts: IntArray, rows: IntArray
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Pad texts on the right to one batch."""
        import torch

        # On the right, so that positions count from 0 whatever the model, and a decoder's tokens
        # never see the padding, which follows them.
        lengths = starts[rows + 1] - starts[rows]
        mask = np.arange(lengths.max()) < lengths[:, None]
        marks = (self.reader_.pad_token_id, self.reader_.eos_token_id, 0)
        filling = next(token for token in marks if token is not None)
        padded = np.full(mask.shape, filling, dtype=np.int64)
        padded[mask] = np.concatenate([tokens[starts[row] : starts[row + 1]] for row in rows])
        device = backbone.device
        inputs = {"input_ids": torch.from_numpy(padded).to(device)}
        if not mask.all():  # without a mask, attention takes its fastest path
            inputs["attention_mask"] = torch.from_numpy(mask.astype(np.int64)).to(device)
        return inputs, torch.from_numpy(lengths).to(device)
