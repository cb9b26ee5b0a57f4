"""Where a pretrained model comes from, and how its files are read."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from w2s_data.encoders.base import Kind
from w2s_data.errors import EncoderError
from w2s_data.utils.io import sha256_file
from w2s_data.utils.threads import in_background

# Only these files of a folder are hashed: a README or a log does not change the features.
_MODEL_FILES = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model", "*.py", "*.jinja")
MODULES_FILE = "modules.json"  # of sentence-transformers: the parts of a model, in order
# Parts that hold the transformer itself; older folders keep it in a subfolder.
_TRANSFORMERS = ("Transformer", "CLIPModel")
_WEIGHTS = ("*.safetensors", "*.bin")
# Configurations of the parts of a model for several kinds of items.
SUBCONFIGS: dict[Kind, str] = {"text": "text_config", "image": "vision_config"}
# Entries of a configuration that models of one kind of items have.
_MARKS: dict[Kind, tuple[str, ...]] = {
    "text": ("vocab_size",),
    "image": ("image_size", "patch_size", "num_channels"),
}
# Far above any model; building more layers than this would only take time and memory.
_MOST_LAYERS = 2000


class Module(NamedTuple):
    """One part of a sentence-transformers model."""

    type: str
    folder: str  # relative to the model's, with slashes

    @property
    def name(self) -> str:
        """The class, without its package."""
        return self.type.rpartition(".")[2]


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
            for name, file in sorted(self._files(self.folder).items()):
                try:
                    digest.update(f"{name} {sha256_file(file)}\n".encode())
                except OSError as error:
                    raise EncoderError(
                        f"cannot read {name} of model {self.model!r}: {error.strerror or error}"
                    ) from error
            return f"sha256:{digest.hexdigest()}"
        # The hub's cache keeps the files of a commit in a folder named after it.
        config_file = self.load(_cached_config_file, "configuration")
        return f"{self.model}@{Path(config_file).parent.name}"

    def identity_ahead(self) -> Callable[[], str]:
        """Start to hash the files of a local model; return a function that waits for the hash."""
        if self.folder is None:
            return self.identity
        return in_background(self.identity).result

    def _files(self, folder: Path) -> dict[str, Path]:
        """Return the files that the vectors depend on, those of the model's parts included."""
        folders = {"", *(module.folder for module in self.modules)}
        return {
            file.relative_to(folder).as_posix(): file
            for part in folders
            for pattern in _MODEL_FILES
            for file in (folder / part).glob(pattern)
            if file.is_file()
        }

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """The parts that modules.json lists; none for a plain transformers model."""
        if self.file(MODULES_FILE) is None:
            return ()
        listed = self.read_json(MODULES_FILE)
        where = f"{MODULES_FILE} of model {self.model!r}"
        if not isinstance(listed, list) or not listed:
            raise EncoderError(f"{where} must be a list of modules; got {_kind(listed)}")
        modules = []
        for entry in listed:
            kind, folder = (
                (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
            )
            if not isinstance(kind, str) or not isinstance(folder, str):
                raise EncoderError(f"{where}: each module needs a type and a path, both texts")
            path = PurePosixPath(folder.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in folder:
                raise EncoderError(f"{where}: the path {folder!r} leads out of the model's folder")
            modules.append(Module(kind, "" if str(path) == "." else str(path)))
        return tuple(modules)

    @property
    def subfolder(self) -> str:
        """Folder of the transformer within the model's."""
        return next((m.folder for m in self.modules if m.name in _TRANSFORMERS), "")

    def file(self, name: str) -> Path | None:
        """Return one of the model's files by its relative path; None if there is none."""
        if self.folder:
            path = self.folder / name
            return path if path.is_file() else None
        from transformers.utils import cached_file

        try:
            found = cached_file(
                self.model,
                name,
                revision=self.revision,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
        except (OSError, ValueError):  # the model itself is reported when it is loaded
            return None
        return None if found is None else Path(found)

    def read_json(self, name: str) -> Any:
        """Return the content of one of the model's JSON files."""
        try:
            return json.loads((self.file(name) or Path(name)).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise EncoderError(
                f"{name} of model {self.model!r} is not JSON that can be read: {failure(error)}"
            ) from error

    def read_settings(self, name: str) -> Mapping[str, Any] | None:
        """Return the JSON object in one of the model's files; None if there is no such file."""
        if self.file(name) is None:
            return None
        settings = self.read_json(name)
        if not isinstance(settings, dict):
            raise EncoderError(
                f"{name} of model {self.model!r} must hold a JSON object; got {_kind(settings)}"
            )
        return settings

    def configuration(self, kind: Kind | None = None) -> Any:
        """Load the transformer's configuration, not the weights.

        Raise EncoderError if the model is not found, its configuration cannot be used, its folder
        holds no weights, or it clearly reads items of another kind.
        """
        from transformers import AutoConfig
        from transformers.utils import CONFIG_NAME

        part = self.subfolder
        if self.folder:
            self.read_settings(f"{part}/{CONFIG_NAME}".lstrip("/"))
        config = self.load(AutoConfig.from_pretrained, "configuration")
        for name in ("num_hidden_layers", "num_layers", "n_layer"):
            layers = getattr(config, name, None)
            if isinstance(layers, int) and not 0 <= layers <= _MOST_LAYERS:
                raise EncoderError(
                    f"{CONFIG_NAME} of model {self.model!r} states {name}={layers}; a model has "
                    f"0 to {_MOST_LAYERS} layers"
                )
        if self.folder and not any(any((self.folder / part).glob(files)) for files in _WEIGHTS):
            raise EncoderError(
                f"the folder of model {self.model!r} holds no weights ({' or '.join(_WEIGHTS)})"
            )
        read = kinds_of(config)
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
        path = Path(self.model).expanduser()
        # A hub name has one slash at most, so that anything deeper must be a path.
        looks_local = path.is_absolute() or self.model.startswith((".", "~")) or len(path.parts) > 2
        if looks_local and not self.folder:
            raise EncoderError(f"there is no model folder {self.model!r}{_nearest_folder(path)}")
        subfolder = self.subfolder
        with quiet() as said:
            try:
                return from_pretrained(
                    str(self.folder or self.model),
                    revision=self.revision,
                    trust_remote_code=self.trust_remote_code,
                    **({"subfolder": subfolder} if subfolder else {}),
                    **options,
                )
            # Whatever a damaged folder makes these libraries raise, and the panics of tokenizers
            # written in Rust, which are no Exceptions.
            except BaseException as error:
                if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                    raise
                hint = "" if self.folder else _nearest_folder(path)
                raise EncoderError(
                    f"cannot load the {what} of model {self.model!r}{hint}: {failure(error, said)}"
                ) from error


def kinds_of(config: Any) -> set[Kind]:
    """Return the kinds of items that a model reads by its configuration; empty if it says none."""
    return {kind for kind, marks in _MARKS.items() if _has_any(config, kind, marks)}


def failure(error: BaseException, said: Sequence[str] = (), limit: int = 200) -> str:
    """Say in one line why weights or settings could not be loaded; `said` is the log."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "Weights only load failed" in text:
        return (
            "its .bin file holds more than tensors, which could be any program, and was not "
            "executed; save the weights as safetensors"
        )
    if "ignore_mismatched_sizes" in text:
        rows = (re.match(r"(\S+)\s*\| MISMATCH \|.*ckpt: (.*) vs model:(.*)", s) for s in said)
        text = "the weights have other shapes than config.json asks for"
        for row in filter(None, rows):
            name, stored, wanted = (g.strip().replace("torch.Size", "") for g in row.groups())
            return f"weight {name} has shape {stored}, but config.json asks for {wanted}"
    # The text of these alone says little.
    if isinstance(
        error,
        KeyError | AttributeError | TypeError | AssertionError | RecursionError | ArithmeticError,
    ):
        text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else f"{text[:limit]}..."


def _has_any(config: Any, kind: Kind, marks: tuple[str, ...]) -> bool:
    part = getattr(config, SUBCONFIGS[kind], None) or config
    return any(getattr(part, mark, None) is not None for mark in marks)


def _kind(value: Any) -> str:
    """Name the type of a JSON value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "null")


def _cached_config_file(model: str, *, revision: str | None, **_: Any) -> Any:
    from transformers.utils import CONFIG_NAME, cached_file

    return cached_file(model, CONFIG_NAME, revision=revision)


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Catch what transformers logs, and draw no bar, for a moment; yields the lines."""
    from transformers.utils import logging as theirs

    lines: list[str] = []

    def collect(record: logging.LogRecord) -> bool:
        lines.extend(record.getMessage().splitlines())
        return False

    # Filters, not the level or the list of handlers: two threads that load at once may then
    # come and go in any order.
    handlers = list(theirs.get_logger("transformers").handlers)
    bar = theirs.is_progress_bar_enabled()
    for handler in handlers:
        handler.addFilter(collect)
    theirs.disable_progress_bar()
    try:
        yield lines
    finally:
        for handler in handlers:
            handler.removeFilter(collect)
        if bar:
            theirs.enable_progress_bar()


def _nearest_folder(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    folders = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    close = difflib.get_close_matches(path.name, folders, n=1, cutoff=0.5)
    return f" (did you mean {str(path.with_name(close[0]))!r}?)" if close else ""
