"""Base of the encoders on pretrained models: loading, spec, batches and memory."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import clone

from w2s_data.compute.base import Advance
from w2s_data.compute.device import (
    every_device,
    fast_dtype,
    is_lost,
    is_out_of_memory,
    resolve_device,
    warn_if_imitated,
)
from w2s_data.encoders.agreement import Agreement, measure
from w2s_data.encoders.backbone import Backbone, StateModel, resolve_layer
from w2s_data.encoders.base import Encoder, as_items
from w2s_data.encoders.batches import UNFIT, Batches, Reading, lanes, rows_of_part
from w2s_data.encoders.exports import Export, ExportError
from w2s_data.encoders.pooling import Head, pool
from w2s_data.encoders.recipe import Recipe
from w2s_data.encoders.runtimes import BACKENDS, INT8, TORCH, check_backend, runtime_dtype
from w2s_data.encoders.source import Source, failure
from w2s_data.errors import EncoderError, first_line
from w2s_data.utils.constants import LARGEST_COUNT
from w2s_data.utils.progress import no_advance
from w2s_data.utils.threads import in_background
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import Constraint, between, check_codes, check_parameters, one_of

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

DTYPES = ("auto", "float32", "bfloat16", "float16", INT8)


class PretrainedEncoder(Encoder):
    """Base of the encoders that pool one hidden state of a pretrained transformer.

    A subclass stores the arguments below in its constructor, and implements `_recipe`,
    `_load_reader`, `_probe`, `_budget` and `_read`, which turn items into batches.

    Attributes
    ----------
    n_cut_, limit_, n_flat_ : int
        How many items of the last call were too long and cut, to what length, and how many images
        were almost black or of one colour.
    agreement_ : Agreement or None
        For vectors in int8: how far they are those of float32, on a sample of the items.
    """

    unit: ClassVar[str]  # of the budget of a batch
    # Settings of the recipe on which the vectors depend, beside the model, the layer and the dtype.
    recipe_settings: ClassVar[tuple[str, ...]]
    limits: ClassVar[dict[str, Constraint]]  # of the parameters of a subclass

    model: str
    layer: int
    pooling: str
    dtype: str
    device: str | torch.device
    backend: str
    min_agreement: float
    revision: str | None
    trust_remote_code: bool

    _kept: tuple[list[Any], Reading] | None = None  # the items of the last part, as they were read
    _next: list[Any] | None = None  # items that were announced
    _ahead: tuple[list[Any], Future[Reading]] | None = None  # and those that are being read

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:
        """Load the model; nothing is learned from the items.

        In int8 a sample of the items is compared with their vectors in float32, also by a probe of
        `y`, their classes from 0 on, -1 where one is not known. Raise EncoderError if the model
        cannot be loaded or run, a setting does not fit it, or its vectors in int8 are too far off.
        """
        self._check_settings()
        source = self._source()
        identity = source.identity_ahead()  # hashing large files takes as long as loading
        self.recipe_ = self._recipe(source.configuration(self.kind))
        try:
            self._place(identity)
        except RuntimeError as error:
            if not (is_lost(error) or is_out_of_memory(error)):
                raise
            raise EncoderError(
                f"model {self.model!r} does not run on {str(self.device)!r} ({first_line(error)}): "
                "use another device, or 'cpu'"
            ) from error
        except UNFIT as error:
            raise self.unfit(error) from error
        self.budget_ = self._budget()
        self.settings_ = self.get_params()
        self._kept = self._ahead = None
        self.identity_ = identity()
        self.agreement_: Agreement | None = None
        if self.dtype == INT8:
            self._check_agreement(as_items(items, self.kind), y)
        if len(self.replicas_) > 1:
            logger.info("encoding on %d devices", len(self.replicas_))
        return self

    def _place(self, identity: Callable[[], str]) -> None:
        """Load the model onto every device, in torch or in another runtime."""
        import torch

        self.n_cut_ = self.n_flat_ = 0
        self.limit_: int | None = None
        self.replicas_: list[StateModel] = []
        if self.backend != TORCH:
            (backbone,) = self._load([torch.device("cpu")], torch.float32)
            try:
                self.replicas_ = [self._on_runtime(backbone, identity())]
            except ExportError as error:
                self._give_up_export(error)
        self.backend_ = self.backend if self.replicas_ else TORCH
        if not self.replicas_:
            devices = every_device(self.device)
            warn_if_imitated(self._torch_dtype(), devices[0])
            self.replicas_ = [*self._load(devices, self._torch_dtype())]
        self.backbone_ = self.replicas_[0]

    def _on_runtime(self, backbone: Backbone, identity: str) -> StateModel:
        """Return the model as its runtime computes it; raise ExportError if that cannot be."""
        import torch

        dtype = self._runtime_dtype()
        if self.dtype not in ("auto", dtype):
            logger.warning(
                "backend %s does not compute in %s here: it takes %s",
                *(self.backend, self.dtype, dtype),
            )
        export = Export(self.backend, identity, self.kind, backbone.layer, self.recipe_.pooling)
        return export.load(backbone, self._probe(backbone), dtype, torch.get_num_threads())

    def _give_up_export(self, reason: Exception) -> None:
        """Say that torch computes instead, unless it lacks the precision."""
        said = f"model {self.model!r} cannot be exported to {self.backend} ({reason})"
        if self.dtype == INT8:
            raise EncoderError(f"{said}, which {INT8} requires: use another dtype") from reason
        logger.warning("%s: torch computes instead", said)

    def _load(self, devices: list[torch.device], dtype: torch.dtype) -> list[Backbone]:
        """Load the model onto devices, and drop the layers that are not needed."""
        import torch

        from w2s_data.encoders.packing import pack

        source, pooling = self._source(), self.recipe_.pooling
        replicas = [
            Backbone(source, self.layer, self.kind, dtype=dtype, device=device, pooling=pooling)
            for device in devices
        ]
        self.reader_ = self._load_reader(replicas[0].model)
        self._prepare()
        self.heads_ = {}
        with torch.inference_mode():
            for replica in replicas:
                probe = self._probe(replica)
                replica.drop_unneeded_layers(probe)
                pack(replica, probe)
                # Measured: configurations name the width of a state in many ways, or not at all.
                width = replica.hidden(probe).shape[-1]
                self.heads_[replica.device] = Head(source, self.recipe_, width, replica.device)
        return replicas

    def check(self) -> int:
        """Load the configuration, check the settings against it, and return the layer's number."""
        return self._resolved()[0]

    def spec(self) -> dict[str, Any]:
        """Return the model (hash of its files, or hub commit), layer, pooling and other settings.

        Only the configuration is loaded, not the weights.
        """
        layer, made = self._resolved()
        source, recipe = self._source(), made.spec()
        return {
            "encoder": type(self).__name__,
            "name": source.label,
            # A loaded model keeps the hash that its files had when they were loaded.
            "model": self.identity_ if self._is_ready() else source.identity(),
            "layer": layer,
            **{name: recipe[name] for name in self.recipe_settings},
            "dtype": self.resolved_dtype(),
            # Stores of earlier versions name none, and were made by torch.
            **({} if (backend := self.resolved_backend()) == TORCH else {"backend": backend}),
        }

    def notes(self) -> list[str]:
        """Say how hidden states become vectors, and why."""
        agreement = getattr(self, "agreement_", None)
        return [
            f"{self._resolved()[1].told()}; pass pooling to change it",
            *([f"vectors in {INT8}: {agreement}"] if agreement else []),
        ]

    def _resolved(self) -> tuple[int, Recipe]:
        """Return the layer's number and the recipe by the configuration, without the weights."""
        self._check_settings()
        config = self._source().configuration(self.kind)
        recipe = self._recipe(config)  # refuses parts that cannot be run here
        return resolve_layer(config, self.layer, self.kind), recipe

    @abstractmethod
    def _recipe(self, config: Any) -> Recipe:
        """Return how hidden states become vectors."""

    @abstractmethod
    def _load_reader(self, model: Any) -> Any:
        """Load the tokenizer or image processor of a model that is loaded."""

    def _prepare(self) -> None:
        """Prepare what depends on both the model and its reader."""

    @abstractmethod
    def _probe(self, backbone: StateModel) -> Mapping[str, torch.Tensor]:
        """Make a small batch of made-up items on the model's device."""

    @abstractmethod
    def _budget(self) -> int:
        """Return the padded cost of a batch to start with; the model is loaded."""

    @abstractmethod
    def _read(self, items: list[Any]) -> Reading:
        """Prepare the items for their batches."""

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        self._ready()
        self._check_agreement(items)
        return self._vectors(items, advance)

    def _vectors(self, items: list[Any], advance: Advance = no_advance) -> FloatArray:
        reading = self._reading(items)
        if self._next is not None:
            self._ahead, self._next = (self._next, in_background(self._read, self._next)), None
        return self._in_batches(items, reading, np.arange(len(items)), advance)

    def _reading(self, items: list[Any]) -> Reading:
        """Read items, unless that is under way already."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == items:
            return ahead[1].result()
        if ahead is not None:
            ahead[1].exception()  # waits, since a tokenizer serves one thread at a time
        return self._read(items)

    def announce(self, items: list[Any]) -> None:
        """Say what is encoded after the next call, to be read while that one computes."""
        self._next = items

    def _check_agreement(self, items: list[Any], y: Any = None) -> None:
        """Compare vectors in int8 with those in float32, once, and refuse those too far off."""
        if self.dtype != INT8 or not items:
            return
        if self.agreement_ is None:
            exact = clone(self).set_params(backend=TORCH, dtype="float32")
            labels = (
                None if y is None else check_codes(y, len(items), LARGEST_COUNT, "y", unknown=True)
            )
            self.agreement_ = measure(self._vectors, exact.encode, items, labels)
            logger.info("%s in %s: %s", self._source().label, INT8, self.agreement_)
        if not self.agreement_.reaches(self.min_agreement):
            raise EncoderError(
                f"{INT8} changes the vectors of model {self.model!r} too much: {self.agreement_}; "
                f"use another dtype, or take them with a min_agreement below {self.min_agreement:g}"
            )

    def encode_part(
        self, items: list[Any], part: int, n_parts: int, *, advance: Advance | None = None
    ) -> tuple[IntArray, FloatArray]:
        """Encode some of the batches of the items; see `Encoder.encode_part`."""
        if n_parts == 1:
            return super().encode_part(items, part, n_parts, advance=advance)
        self._ready()
        self._check_agreement(items)
        # Kept for the next part of the same items, whose texts need not be tokenized again.
        if self._kept is None or self._kept[0] != items:
            self._kept = items, self._read(items)
        reading = self._kept[1]
        rows = rows_of_part(reading.costs, self.budget_, part, n_parts)
        vectors = self._in_batches(items, reading, rows, advance or no_advance)
        self._check_finite(vectors, items, rows)
        return rows, vectors

    @property
    def _n_features_out(self) -> int:
        return self._head(self.backbone_).width

    def _head(self, backbone: StateModel) -> Head:
        return self.heads_[backbone.device]

    def unfit(self, error: Exception) -> EncoderError:
        """Turn an error in a model's own code into one line."""
        if isinstance(error, EncoderError):
            return error
        return EncoderError(f"model {self.model!r} cannot read {self.kind} items: {failure(error)}")

    def _ready(self) -> None:
        """Load the model at first use, and again after a change of settings."""
        if not self._is_ready():
            self.fit(())

    def _is_ready(self) -> bool:
        return bool(getattr(self, "settings_", None) == self.get_params())

    def _source(self) -> Source:
        return Source(str(self.model), self.revision, self.trust_remote_code)

    def _check_settings(self) -> None:
        own = {
            "dtype": one_of(*DTYPES),
            "backend": one_of(*BACKENDS),
            "min_agreement": between(0, 1),
        }
        check_parameters(self, own | self.limits, EncoderError)
        check_backend(self.backend, self.dtype, str(self.device))

    def resolved_dtype(self) -> str:
        """Return the precision in which the model runs, without "auto"."""
        if self.resolved_backend() != TORCH:
            return self._runtime_dtype()
        return str(self._torch_dtype()).removeprefix("torch.")

    def resolved_backend(self) -> str:
        """Return the backend that computes: torch where the model cannot be exported.

        Load and export it if that was never tried.
        """
        if self.backend == TORCH:
            return TORCH
        if not self._is_ready():
            layer, recipe = self._resolved()
            identity = self._source().identity()
            export = Export(self.backend, identity, self.kind, layer, recipe.pooling)
            if export.succeeds:
                return self.backend
            self._ready()
        return self.backend_

    def _runtime_dtype(self) -> str:
        import torch

        fast = str(fast_dtype(torch.device("cpu"))).removeprefix("torch.")
        return runtime_dtype(self.backend, self.dtype, fast)

    def _torch_dtype(self) -> torch.dtype:
        import torch

        if self.dtype != "auto":
            return getattr(torch, self.dtype)  # type: ignore[no-any-return]
        # A cluster's workers may have CUDA where this machine has none.
        device = self.device if self.device != "auto" else resolve_device("auto")
        return fast_dtype(torch.device(device))

    def _pooled(
        self,
        backbone: StateModel,
        inputs: Mapping[str, torch.Tensor],
        lengths: torch.Tensor | None = None,
        first: int = 0,
    ) -> FloatArray:
        """Run the model on one batch and pool in float32; see `pool` for the last two."""
        hidden = backbone.hidden(inputs).float()
        vectors = self._head(backbone)(pool(hidden, self.recipe_.pooling, lengths, first))
        return vectors.cpu().numpy()

    def _in_batches(
        self, items: list[Any], reading: Reading, rows: IntArray, advance: Advance
    ) -> FloatArray:
        """Compute some rows, in batches whose padded cost stays within the budget."""
        # Every device, and every core of a CPU, takes the next batch when it is free: neither the
        # batches nor the last bits of their vectors depend on the number of devices, and a core
        # computes a whole batch at less cost than several cores compute parts of it.
        work = Batches(self, items, reading, rows, advance)
        with lanes(self.replicas_) as backbones, ThreadPoolExecutor(len(backbones)) as threads:
            started = [threads.submit(work.run, backbone) for backbone in backbones]
            try:
                for thread in started:
                    thread.result()
            finally:  # after an interrupt, too, the others end with their present batch
                work.stop()
        self.limit_ = reading.limit
        self.n_cut_, self.n_flat_ = (
            0 if odd is None else int(odd[rows].sum()) for odd in (reading.cut, reading.flat)
        )
        if work.vectors is None:
            return np.empty((0, self._n_features_out), dtype=np.float32)
        return work.vectors
