"""What text and image encoders on pretrained models share: loading, spec, batches, memory."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from w2s_data._device import resolve_device
from w2s_data._typing import FloatArray, IntArray
from w2s_data.encoders.backbone import Backbone, Source, first_line, resolve_layer
from w2s_data.encoders.base import Advance, Encoder, ItemError, describe
from w2s_data.errors import EncoderError, unknown

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

DTYPES = ("auto", "float32", "bfloat16", "float16")


class PretrainedEncoder(Encoder):
    """Base of the encoders that pool one hidden state of a pretrained transformer.

    A subclass stores the arguments below in its constructor, and implements what turns items
    into batches: `_load_reader`, `_probe`, `_budget` and `_encode`.
    """

    poolings: ClassVar[tuple[str, ...]]
    unit: ClassVar[str]  # of what the budget of a batch counts
    # Settings on which the vectors depend, beside the model, the layer and the dtype.
    own_settings: ClassVar[tuple[str, ...]]

    model: str
    layer: int
    pooling: str
    normalize: bool
    dtype: str
    device: str | torch.device
    revision: str | None
    trust_remote_code: bool

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:  # noqa: ARG002
        """Load the model; nothing is learnt from the items.

        Raises
        ------
        EncoderError
            If it cannot be loaded, or a setting does not fit it.
        """
        import torch

        self._check_settings()
        self.reader_ = self._load_reader()
        self.backbone_ = Backbone(
            self._source(),
            self.layer,
            self.kind,
            dtype=self._torch_dtype(),
            device=resolve_device(self.device),
        )
        self.budget_ = self._budget()
        self.settings_ = self.get_params()
        with torch.inference_mode():
            self.backbone_.drop_unneeded_layers(self._probe())
        return self

    def spec(self) -> dict[str, Any]:
        """Model (hash of its files, or hub commit), layer, pooling and all else that matters.

        Only the configuration is loaded, not the weights.
        """
        self._check_settings()
        source = self._source()
        layer = resolve_layer(source.config(), self.layer, self.kind)
        return {
            "encoder": type(self).__name__,
            "name": source.label,
            "model": source.identity(),
            "layer": layer,
            "pooling": self.pooling,
            **{name: getattr(self, name) for name in self.own_settings},
            "dtype": str(self._torch_dtype()).removeprefix("torch."),
        }

    @abstractmethod
    def _load_reader(self) -> Any:
        """Load the tokenizer or image processor."""

    @abstractmethod
    def _probe(self) -> Mapping[str, torch.Tensor]:
        """Make a small batch of made-up items."""

    @abstractmethod
    def _budget(self) -> int:
        """Padded cost of a batch to start with, once the model is loaded."""

    def _ready(self) -> None:
        """Load the model at first use, and again when settings have changed since."""
        if getattr(self, "settings_", None) != self.get_params():
            self.fit(())

    def _source(self) -> Source:
        return Source(str(self.model), self.revision, self.trust_remote_code)

    def _check_settings(self) -> None:
        if self.pooling not in self.poolings:
            raise EncoderError(unknown("pooling", str(self.pooling), self.poolings))
        if self.dtype not in DTYPES:
            raise EncoderError(unknown("dtype", str(self.dtype), DTYPES))

    def _torch_dtype(self) -> torch.dtype:
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)  # type: ignore[no-any-return]
        on_cuda = resolve_device(self.device).type == "cuda"
        return torch.bfloat16 if on_cuda else torch.float32

    def _pooled(
        self, inputs: Mapping[str, torch.Tensor], lengths: torch.Tensor | None = None
    ) -> FloatArray:
        """Run the model on one batch and pool in float32; `lengths` exclude the padding."""
        import torch

        hidden = self.backbone_.hidden(inputs).float()
        if hidden.ndim == 4:  # a convolutional model's (items, channels, height, width)
            hidden = hidden.flatten(2).transpose(1, 2)
        if self.pooling == "cls":
            vectors = hidden[:, 0]
        elif self.pooling == "last" and lengths is not None:
            vectors = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        elif "attention_mask" in inputs:
            weights = inputs["attention_mask"].to(hidden.dtype)
            sums = torch.bmm(weights.unsqueeze(1), hidden).squeeze(1)
            vectors = sums / weights.sum(dim=1, keepdim=True)
        else:
            vectors = hidden.mean(dim=1)
        if self.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return vectors.cpu().numpy()

    def _rows_of_part(self, items: list[Any], part: int, n_parts: int) -> IntArray:
        """Rows of consecutive batches, about as costly in every part.

        The batches of `_in_batches` follow from where they start, so that a part which starts
        where a batch does is cut into the same ones.
        """
        self._ready()
        costs = np.maximum(1, self._costs(items))
        order = np.argsort(-costs, kind="stable")
        starts = [0]
        while starts[-1] < len(order):
            starts.append(starts[-1] + max(1, self.budget_ // int(costs[order[starts[-1]]])))
        starts[-1] = len(order)
        paid = np.concatenate([[0], np.cumsum(costs[order])])[starts]
        limits = np.searchsorted(paid, paid[-1] * np.arange(n_parts + 1) / n_parts)
        return order[starts[limits[part]] : starts[limits[part + 1]]]

    @abstractmethod
    def _costs(self, items: list[Any]) -> IntArray:
        """What each item costs in a batch (N,), in the unit of the budget."""

    def _in_batches(
        self,
        items: list[Any],
        costs: IntArray,
        compute: Callable[[IntArray], FloatArray],
        advance: Advance,
    ) -> FloatArray:
        """Compute all rows in batches whose padded cost stays within the budget.

        The costliest items come first, so that memory runs out at once or not at all; when it
        does, the budget is halved for good.
        """
        import torch

        order = np.argsort(-costs, kind="stable")
        vectors: FloatArray | None = None
        start = 0
        while start < len(order):
            cost = max(1, int(costs[order[start]]))
            batch = order[start : start + max(1, self.budget_ // cost)]
            try:
                with torch.inference_mode():
                    computed = compute(batch)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                failure = first_line(error)
            else:
                if vectors is None:
                    vectors = np.empty((len(order), computed.shape[1]), dtype=np.float32)
                vectors[batch] = computed
                advance(len(batch))
                start += len(batch)
                continue
            # Only here, out of the handler, has the traceback let go of the batch's tensors.
            _free_cached_memory(self.backbone_.device)
            if len(batch) == 1:
                row = int(batch[0])
                raise ItemError([row], [describe(items[row])], f"does not fit alone: {failure}")
            self.budget_ = len(batch) * cost // 2
            logger.warning("out of memory: halving the batch to %d %s", self.budget_, self.unit)
        if vectors is None:
            return np.empty((0, self.backbone_.width), dtype=np.float32)
        return vectors


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    text = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def _free_cached_memory(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
