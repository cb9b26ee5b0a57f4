"""A pretrained model cut down to the layers that one hidden state needs."""

from __future__ import annotations

import difflib
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_data.encoders.base import Kind
from w2s_data.errors import EncoderError, first_line
from w2s_data.utils.io import sha256_file

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("w2s_data")

# Attributes of models for several kinds of items that hold the part for one kind.
_TOWERS: dict[Kind, tuple[str, ...]] = {
    "text": ("text_model", "language_model"),
    "image": ("vision_model", "vision_tower", "visual"),
}
_SUBCONFIGS: dict[Kind, str] = {"text": "text_config", "image": "vision_config"}
# Entries of a configuration that models of one kind of items have.
_MARKS: dict[Kind, tuple[str, ...]] = {
    "text": ("vocab_size",),
    "image": ("image_size", "patch_size", "num_channels"),
}
_WEIGHTS = ("*.safetensors", "*.bin")
# Of a folder only these are hashed: a README or a log does not change the features.
_MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.py", "*.jinja")


@dataclass(frozen=True)
class Source:
    """Where a pretrained model comes from: a folder, or a name (and revision) on the hub."""

    model: str
    revision: str | None = None
    trust_remote_code: bool = False

    @property
    def label(self) -> str:
        """Name for people; of a folder its last part, so that moving it changes nothing."""
        return self.folder.name if self.folder else self.model

    @property
    def folder(self) -> Path | None:
        """The local folder, or None for a hub name."""
        path = Path(self.model).expanduser()
        return path.resolve() if path.is_dir() else None

    def identity(self) -> str:
        """Return a hash of a folder's files, or hub name and commit.

        Raise EncoderError if the model is not found.
        """
        if self.folder:
            # Names and contents, so that the same model in another folder has the same hash.
            digest = hashlib.sha256()
            files = {file for pattern in _MODEL_FILES for file in self.folder.glob(pattern)}
            for file in sorted(files):
                digest.update(f"{file.name} {sha256_file(file)}\n".encode())
            return f"sha256:{digest.hexdigest()}"
        # The hub's cache keeps the files of a commit in a folder named after it.
        config_file = self.load(_cached_config_file, "configuration")
        return f"{self.model}@{Path(config_file).parent.name}"

    def configuration(self, kind: Kind | None = None) -> Any:
        """Load the configuration, not the weights.

        Raise EncoderError if the model is not found, its folder holds no weights, or it clearly
        reads items of another kind.
        """
        from transformers import AutoConfig

        config = self.load(AutoConfig.from_pretrained, "configuration")
        if self.folder and not any(any(self.folder.glob(files)) for files in _WEIGHTS):
            raise EncoderError(
                f"the folder of model {self.model!r} holds no weights ({' or '.join(_WEIGHTS)})"
            )
        read = {name for name, marks in _MARKS.items() if _has_any(config, name, marks)}
        # A model of unknown marks may still read the items, which its reader then shows.
        if kind is not None and read and kind not in read:
            raise EncoderError(
                f"model {self.model!r} reads {' and '.join(sorted(read))} items, but these are "
                f"{kind} items"
            )
        return config

    def load(self, from_pretrained: Callable[..., Any], what: str, **options: Any) -> Any:
        """Call a `from_pretrained` of transformers; turn its failures into one line.

        Raise EncoderError with the nearest folder name if the model looks like a missing path.
        """
        from huggingface_hub.errors import HfHubHTTPError
        from safetensors import SafetensorError

        path = Path(self.model).expanduser()
        # A hub name has one slash at most, so that anything deeper must be a path.
        looks_local = path.is_absolute() or self.model.startswith((".", "~")) or len(path.parts) > 2
        if looks_local and not self.folder:
            raise EncoderError(f"there is no model folder {self.model!r}{_nearest_folder(path)}")
        try:
            with _quiet():
                return from_pretrained(
                    str(self.folder or self.model),
                    revision=self.revision,
                    trust_remote_code=self.trust_remote_code,
                    **options,
                )
        except (
            *(OSError, ValueError, KeyError, ImportError, RuntimeError),
            *(SafetensorError, HfHubHTTPError),
        ) as error:
            hint = "" if self.folder else _nearest_folder(path)
            raise EncoderError(
                f"cannot load the {what} of model {self.model!r}{hint}: {first_line(error)}"
            ) from error


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
    part = getattr(config, _SUBCONFIGS[kind], None) or config
    n_layers = getattr(part, "num_hidden_layers", None)
    return n_layers if isinstance(n_layers, int) else None


def _has_any(config: Any, kind: Kind, marks: tuple[str, ...]) -> bool:
    part = getattr(config, _SUBCONFIGS[kind], None) or config
    return any(getattr(part, mark, None) is not None for mark in marks)


class Backbone:
    """A pretrained model that computes one of its hidden states and nothing above it.

    Hidden state k < L is the input of layer k, so that a hook there ends the forward pass, and the
    layers above are dropped. Hidden state L is the last one of the model, after its final norm, if
    any. A model whose layers are not found runs in full.
    """

    def __init__(
        self, source: Source, layer: int, kind: Kind, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        from transformers import AutoModel

        model, info = source.load(
            AutoModel.from_pretrained, "weights", dtype=dtype, output_loading_info=True
        )
        # A pooler lies above all hidden states, and base models are often saved without it.
        missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
        if missing:
            raise EncoderError(
                f"the files of model {source.model!r} lack {len(missing)} weights "
                f"({missing[0]}, ...): features would be random"
            )
        self.layer = resolve_layer(model.config, layer, kind)
        self.n_layers = number_of_layers(model.config, kind)
        self.model = _part_that_reads(model, kind).eval().requires_grad_(False).to(device)
        self.model.config.use_cache = False  # of keys and values, for generating text only
        self.stops_early = False

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the model."""
        return self.model.dtype  # type: ignore[no-any-return]

    @property
    def width(self) -> int:
        """Dimensions of a hidden state, 0 if the configuration does not state them."""
        return int(getattr(self.model.config, "hidden_size", 0))

    def hidden(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Compute the hidden state (items, positions, dimensions) of one batch."""
        if self.stops_early:
            try:
                self.model(**inputs)
            except _ReachedError as reached:
                return reached.hidden
        if self.layer in (self.n_layers, -1):  # -1 where the number of layers is unknown
            return self.model(**inputs).last_hidden_state  # type: ignore[no-any-return]
        hidden_states = self.model(**inputs, output_hidden_states=True).hidden_states
        if not -len(hidden_states) <= self.layer < len(hidden_states):
            raise EncoderError(f"layer {self.layer} is outside 0 to {len(hidden_states) - 1}")
        return hidden_states[self.layer]  # type: ignore[no-any-return]

    def drop_unneeded_layers(self, probe: Mapping[str, torch.Tensor]) -> None:
        """Drop the layers above the hidden state, unless that changes the hidden state.

        `probe` is a small batch on which the whole and the cut model are compared.
        """
        import torch

        layers = self._layers()
        if layers is None or self.layer >= len(layers):
            return
        whole = self.hidden(probe)
        hook = layers[self.layer].register_forward_pre_hook(_stop, with_kwargs=True)
        self.stops_early = True
        cut = self.hidden(probe)
        # Wide enough for half precision; another hidden state differs by much more.
        tolerance = 1e-2 * float(whole.float().abs().max())
        if whole.shape == cut.shape and torch.allclose(cut, whole, rtol=0, atol=tolerance):
            del layers[self.layer + 1 :]
        else:
            hook.remove()
            self.stops_early = False
            logger.info("hidden state %d needs all layers of this model", self.layer)

    def _layers(self) -> torch.nn.ModuleList | None:
        from torch.nn import ModuleList

        for module in self.model.modules():
            if isinstance(module, ModuleList) and len(module) == self.n_layers:
                return module
        return None


class _ReachedError(Exception):
    """Ends a forward pass, and carries the hidden state."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def _stop(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise _ReachedError(args[0] if args else kwargs["hidden_states"])


def _part_that_reads(model: Any, kind: Kind) -> Any:
    if getattr(model.config, "is_encoder_decoder", False):  # a decoder would need targets
        return model.get_encoder()
    for name in _TOWERS[kind]:
        tower = getattr(model, name, None)
        if tower is not None and hasattr(tower, "config"):
            return tower
    return model


def _cached_config_file(model: str, *, revision: str | None, **_: Any) -> Any:
    from transformers.utils import CONFIG_NAME, cached_file

    return cached_file(model, CONFIG_NAME, revision=revision)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bar and load report of transformers for a moment."""
    from transformers.utils import logging as theirs

    verbosity, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        yield
    finally:
        theirs.set_verbosity(verbosity)
        if bar:
            theirs.enable_progress_bar()


def _nearest_folder(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    folders = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    close = difflib.get_close_matches(path.name, folders, n=1, cutoff=0.5)
    return f" (did you mean {str(path.with_name(close[0]))!r}?)" if close else ""
