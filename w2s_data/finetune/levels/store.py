"""Files of students: finished ones, and whole models under training, which can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.data.images import image_bytes, is_text
from w2s_data.errors import RunError
from w2s_data.utils.io import (
    atomic_path,
    digest_parts,
    jsonable,
    make_folder,
    read_json,
    sha256_file,
    write_json,
)
from w2s_data.utils.reading import reading
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA_VERSION = 1
MOST_OVERHEAD = 20  # times as long as writing a checkpoint, a training goes on before the next
WEIGHTS = "model.safetensors"  # of a student
# Key in the metadata of a checkpoint's file. A single one: the order of several is random, and with
# it the bytes of the file.
RECORD = "w2s"


def digest_array(array: FloatArray) -> str:
    """Return a hash of an array's bytes, for the key of a checkpoint."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def digest_items(items: Iterable[Any]) -> str:
    """Return a hash of texts, pairs or images, for the key of a checkpoint.

    A path counts as the file's content, which may change under the same name.
    """
    return digest_parts(map(_content, items))


def _content(item: Any) -> bytes:
    if isinstance(item, tuple):  # a pair, of texts or messages
        return json.dumps(item).encode()
    return item.encode(errors="surrogatepass") if is_text(item) else image_bytes(item)


def write_student(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, FloatArray],
    record: Mapping[str, Any],
    file: str = WEIGHTS,
) -> None:
    """Write weights and a description: safetensors and JSON."""
    from safetensors.numpy import save_file

    weights = Path(folder) / file
    with atomic_path(weights) as partial:
        save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, partial)
    # The description comes last: a folder without it holds no student.
    written = {"schema_version": SCHEMA_VERSION, "sha256": sha256_file(weights), **record}
    write_json(Path(folder) / "student.json", written)


def read_student(
    folder: str | os.PathLike[str], key: str, file: str = WEIGHTS
) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Read the weights and the description that `write_student` wrote.

    Another schema, or a description without `key`, is a `RunError`; a missing or damaged file a
    `FileFormatError`.
    """
    from safetensors.numpy import load_file

    with reading(Path(folder) / "student.json", "the description of a student"):
        record = read_json(Path(folder) / "student.json")
        if record.get("schema_version") != SCHEMA_VERSION or key not in record:
            raise RunError(
                f"{os.fspath(folder)!r} holds a student of another kind or of schema "
                f"{record.get('schema_version')}; this version reads {SCHEMA_VERSION}"
            )
    path = Path(folder) / file
    with reading(path, "the weights of a student"):
        if sha256_file(path) != record["sha256"]:
            raise ValueError("its checksum is not that of student.json")
        return load_file(path), record


def write_tensors(path: Path, tensors: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    """Write arrays or CPU tensors, and a JSON record, as one file, atomically."""
    from safetensors.numpy import save_file

    # Not ascontiguousarray: it would turn the scalars of Adam into vectors.
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    text = json.dumps(jsonable(record))
    sealed = json.dumps({"digest": _digest(arrays, text), "record": text})
    with atomic_path(path) as partial:
        save_file(arrays, partial, {RECORD: sealed})


def read_tensors(path: Path, framework: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a file of `write_tensors` as arrays ("np") or tensors ("pt"); `RunError` if damaged."""
    from safetensors import safe_open

    with reading(path, "a checkpoint", error=RunError, advice="delete it"):
        with safe_open(path, framework="np") as file:
            sealed = json.loads(file.metadata()[RECORD])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # safetensors checks the layout alone: a changed bit would be another student.
        if sealed["digest"] != _digest(tensors, sealed["record"]):
            raise ValueError("its content is not what was written")
        if framework == "pt":
            import torch

            tensors = {name: torch.from_numpy(array) for name, array in tensors.items()}
        return tensors, json.loads(sealed["record"])


def _digest(arrays: Mapping[str, FloatArray], text: str) -> str:
    """Return a hash of named arrays and of the record beside them."""
    parts = [(name, str(arrays[name].dtype), arrays[name].shape) for name in sorted(arrays)]
    digest = hashlib.blake2b(f"{parts} {text}".encode(), digest_size=16)
    for name, *_ in parts:
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


@dataclass
class TrainingStore:
    """The file of one training, written every so many steps or minutes."""

    path: Path
    key: str  # hash of all that the training depends on
    steps: int | None = None
    minutes: float = 5.0
    _written: float = field(default_factory=time.monotonic)  # when
    _cost: float = 0.0  # seconds that writing took

    def is_due(self, step: int) -> bool:
        """Return whether the state after a step should be written."""
        if self.steps is not None and step % self.steps == 0:
            return True
        # Files of large models take minutes: at most a twentieth of the time goes into writing.
        wait = max(60 * self.minutes, MOST_OVERHEAD * self._cost)
        return time.monotonic() - self._written >= wait

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and record, or None; a damaged or another training is a `RunError`."""
        if not self.path.exists():
            return None
        tensors, record = read_tensors(self.path, "pt")
        if record["key"] != self.key:
            raise RunError(
                f"checkpoint {str(self.path)!r} is of another configuration (data, method or "
                "settings differ); use another folder or delete it"
            )
        return tensors, record

    def write(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write tensors and record."""
        start = time.monotonic()
        write_tensors(self.path, tensors, {**record, "key": self.key})
        self._written = time.monotonic()
        self._cost = self._written - start


def to_disk(state: Mapping[str, Tensor], folder: Path | None = None) -> dict[str, Tensor]:
    """Move weights to a file; return them as tensors that are read from there when they are used.

    The file has no name any more: the system removes it together with the last tensor.
    """
    from safetensors.torch import load_file, save_file

    if folder is not None:
        make_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".weights-") as place:
        path = Path(place) / WEIGHTS
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        return load_file(path)
