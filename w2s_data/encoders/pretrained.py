"""Base of the encoders on pretrained models: loading, spec, batches and memory."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from w2s_data.compute.base import Advance, no_advance
from w2s_data.compute.device import (
    every_device,
    is_lost,
    is_out_of_memory,
    release_memory,
    resolve_device,
)
from w2s_data.encoders.backbone import Backbone, Source, resolve_layer
from w2s_data.encoders.base import Encoder, ItemError, describe
from w2s_data.errors import EncoderError, first_line
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import Constraint, check_parameters, one_of

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

DTYPES = ("auto", "float32", "bfloat16", "float16")


class Reading(NamedTuple):
    """Costs of some items, and the function that computes a batch of them."""

    costs: IntArray  # of each item (N,), in the unit of the budget
    compute: Callable[[Backbone, IntArray], FloatArray]  # model, rows (n,) -> vectors (n, D)


class PretrainedEncoder(Encoder):
    """Base of the encoders that pool one hidden state of a pretrained transformer.

    A subclass stores the arguments below in its constructor, and implements `_load_reader`,
    `_probe`, `_budget` and `_read`, which turn items into batches.
    """

    poolings: ClassVar[tuple[str, ...]]
    unit: ClassVar[str]  # of the budget of a batch
    # Settings on which the vectors depend, beside the model, the layer and the dtype.
    own_settings: ClassVar[tuple[str, ...]]
    limits: ClassVar[dict[str, Constraint]]  # of the parameters that only a subclass has

    model: str
    layer: int
    pooling: str
    normalize: bool
    dtype: str
    device: str | torch.device
    revision: str | None
    trust_remote_code: bool

    _kept: tuple[list[Any], Reading] | None = None  # the items of the last part, as they were read

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:  # noqa: ARG002
        """Load the model; nothing is learned from the items.

        Raise EncoderError if the model cannot be loaded or run, or a setting does not fit it.
        """
        self._check_settings()
        identity = _while_loading(self._source())  # hashing large files takes as long as loading
        self.reader_ = self._load_reader()
        try:
            self._place()
        except RuntimeError as error:
            if not (is_lost(error) or is_out_of_memory(error)):
                raise
            raise EncoderError(
                f"model {self.model!r} does not run on {str(self.device)!r} ({first_line(error)}): "
                "use another device, or 'cpu'"
            ) from error
        self.budget_ = self._budget()
        self.settings_ = self.get_params()
        self._kept = None
        self.identity_ = identity()
        if len(self.replicas_) > 1:
            logger.info("encoding on %d devices", len(self.replicas_))
        return self

    def _place(self) -> None:
        """Load the model onto every device, and drop the layers that are not needed."""
        import torch

        source, dtype = self._source(), self._torch_dtype()
        self.replicas_ = [
            Backbone(source, self.layer, self.kind, dtype=dtype, device=device)
            for device in every_device(self.device)
        ]
        self.backbone_ = self.replicas_[0]
        with torch.inference_mode():
            for replica in self.replicas_:
                replica.drop_unneeded_layers(self._probe(replica))

    def check(self) -> int:
        """Load the configuration, check the settings against it, and return the layer's number."""
        self._check_settings()
        config = self._source().configuration(self.kind)
        return resolve_layer(config, self.layer, self.kind)

    def spec(self) -> dict[str, Any]:
        """Return the model (hash of its files, or hub commit), layer, pooling and other settings.

        Only the configuration is loaded, not the weights.
        """
        layer = self.check()
        source = self._source()
        return {
            "encoder": type(self).__name__,
            "name": source.label,
            # Of a loaded model, the hash of its files when they were loaded.
            "model": self.identity_ if self._is_ready() else source.identity(),
            "layer": layer,
            "pooling": self.pooling,
            **{name: getattr(self, name) for name in self.own_settings},
            "dtype": str(self._torch_dtype()).removeprefix("torch."),
        }

    @abstractmethod
    def _load_reader(self) -> Any:
        """Load the tokenizer or image processor."""

    @abstractmethod
    def _probe(self, backbone: Backbone) -> Mapping[str, torch.Tensor]:
        """Make a small batch of made-up items on the model's device."""

    @abstractmethod
    def _budget(self) -> int:
        """Return the padded cost of a batch to start with; the model is loaded."""

    @abstractmethod
    def _read(self, items: list[Any]) -> Reading:
        """Prepare the items for their batches."""

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        self._ready()
        reading = self._read(items)
        return self._in_batches(items, reading, np.arange(len(items)), advance)

    def encode_part(
        self, items: list[Any], part: int, n_parts: int, *, advance: Advance | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Encode some of the batches of the items; see `Encoder.encode_part`."""
        if n_parts == 1:
            return super().encode_part(items, part, n_parts, advance=advance)
        self._ready()
        # Kept for the next part of the same items, whose texts need not be tokenized again.
        if self._kept is None or self._kept[0] != items:
            self._kept = items, self._read(items)
        reading = self._kept[1]
        rows = self._rows_of_part(reading.costs, part, n_parts)
        vectors = self._in_batches(items, reading, rows, advance or no_advance)
        self._check_finite(vectors, items, rows)
        return rows, vectors

    @property
    def _n_features_out(self) -> int:
        return self.backbone_.width

    def _ready(self) -> None:
        """Load the model at first use, and again after a change of settings."""
        if not self._is_ready():
            self.fit(())

    def _is_ready(self) -> bool:
        return bool(getattr(self, "settings_", None) == self.get_params())

    def _source(self) -> Source:
        return Source(str(self.model), self.revision, self.trust_remote_code)

    def _check_settings(self) -> None:
        named = {"pooling": one_of(*self.poolings), "dtype": one_of(*DTYPES)}
        check_parameters(self, named | self.limits, EncoderError)

    def _torch_dtype(self) -> torch.dtype:
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)  # type: ignore[no-any-return]
        on_cuda = resolve_device(self.device).type == "cuda"
        return torch.bfloat16 if on_cuda else torch.float32

    def _pooled(
        self,
        backbone: Backbone,
        inputs: Mapping[str, torch.Tensor],
        lengths: torch.Tensor | None = None,
    ) -> FloatArray:
        """Run the model on one batch and pool in float32; `lengths` exclude the padding."""
        import torch

        hidden = backbone.hidden(inputs).float()
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

    def _rows_of_part(self, costs: IntArray, part: int, n_parts: int) -> IntArray:
        """Return the rows of consecutive batches, at about equal cost per part."""
        costs = np.maximum(1, costs)
        order = np.argsort(-costs, kind="stable")
        # The batches of `_in_batches` follow from where they start: a part that starts where a
        # batch does is cut into the same batches, and gives the same bytes.
        starts = [0]
        while starts[-1] < len(order):
            starts.append(starts[-1] + max(1, self.budget_ // int(costs[order[starts[-1]]])))
        starts[-1] = len(order)
        paid = np.concatenate([[0], np.cumsum(costs[order])])[starts]
        limits = np.searchsorted(paid, paid[-1] * np.arange(n_parts + 1) / n_parts)
        return order[starts[limits[part]] : starts[limits[part + 1]]]

    def _in_batches(
        self, items: list[Any], reading: Reading, rows: IntArray, advance: Advance
    ) -> FloatArray:
        """Compute some rows, in batches whose padded cost stays within the budget."""
        # Every device, and every core of a CPU, takes the next batch when it is free: neither the
        # batches nor the last bits of their vectors depend on the number of devices, and a core
        # computes a whole batch at less cost than several cores compute parts of it.
        work = _Batches(self, items, reading, rows, advance)
        with _lanes(self.replicas_) as backbones, ThreadPoolExecutor(len(backbones)) as threads:
            started = [threads.submit(work.run, backbone) for backbone in backbones]
            try:
                for thread in started:
                    thread.result()
            finally:  # after an interrupt, too, the others end with their present batch
                work.stop()
        if work.vectors is None:
            return np.empty((0, self.backbone_.width), dtype=np.float32)
        return work.vectors


@contextmanager
def _lanes(replicas: list[Backbone]) -> Iterator[list[Backbone]]:
    """Yield one model per device, or per core of a CPU."""
    import torch

    if replicas[0].device.type != "cpu":
        yield replicas
        return
    cores = torch.get_num_threads()
    torch.set_num_threads(1)  # for the threads that are started from here on
    try:
        yield replicas * (cores if len(replicas) == 1 else 1)
    finally:
        torch.set_num_threads(cores)


@dataclass
class _Batches:
    """Rows of one call, handed to the devices batch by batch."""

    encoder: PretrainedEncoder
    items: list[Any]
    reading: Reading
    rows: IntArray
    advance: Advance
    vectors: FloatArray | None = None

    def __post_init__(self) -> None:
        self.costs = self.reading.costs[self.rows]
        # Places among the rows, costliest first: memory then runs out at once or not at all.
        self._order = np.argsort(-self.costs, kind="stable")
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Hand out no further batches."""
        self._stopped = True

    def run(self, backbone: Backbone) -> None:
        """Compute batches on one device until none is left, or one failed anywhere."""
        import torch

        on_cuda = backbone.device.type == "cuda"
        try:
            with (
                torch.inference_mode(),
                torch.cuda.device(backbone.device) if on_cuda else nullcontext(),
            ):
                while (batch := self._next()) is not None:
                    self._compute(backbone, batch)
        except BaseException:
            self.stop()
            raise

    def _next(self) -> IntArray | None:
        with self._lock:
            if self._stopped or not len(self._order):
                return None
            size = max(1, self.encoder.budget_ // self._cost(self._order))
            batch, self._order = self._order[:size], self._order[size:]
            return batch

    def _cost(self, places: IntArray) -> int:
        return max(1, int(self.costs[places[0]]))

    def _compute(self, backbone: Backbone, batch: IntArray) -> None:
        try:
            computed = self.reading.compute(backbone, self.rows[batch])
        except RuntimeError as error:
            failure = first_line(error)
            if not is_out_of_memory(error):
                if not is_lost(error):
                    raise
                raise EncoderError(
                    f"{backbone.device} failed ({failure}); finished features are kept, and "
                    "the same command resumes after them"
                ) from error
        else:
            with self._lock:
                if self.vectors is None:
                    shape = (len(self.costs), computed.shape[1])
                    self.vectors = np.empty(shape, dtype=np.float32)
                self.vectors[batch] = computed
                self.advance(len(batch))
            return
        # Outside of the handler, since its traceback holds the tensors of the batch.
        release_memory(backbone.device)
        if len(batch) == 1:
            row = int(self.rows[batch[0]])
            raise ItemError([row], [describe(self.items[row])], f"does not fit alone: {failure}")
        self._return(batch)

    def _return(self, batch: IntArray) -> None:
        """Return a batch that was too large to the front of the queue."""
        encoder = self.encoder
        with self._lock:
            half = len(batch) * self._cost(batch) // 2
            if half < encoder.budget_:  # another device may have halved it already
                encoder.budget_ = half
                logger.warning("out of memory: halving the batch to %d %s", half, encoder.unit)
            self._order = np.concatenate([batch, self._order])


def _while_loading(source: Source) -> Callable[[], str]:
    """Start to hash the files of a local model; return a function that waits for the hash."""
    if source.folder is None:
        return source.identity
    threads = ThreadPoolExecutor(max_workers=1)
    hashed = threads.submit(source.identity)
    threads.shutdown(wait=False)
    return hashed.result
