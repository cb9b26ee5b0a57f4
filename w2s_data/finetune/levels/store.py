"""Files of students: finished ones, and whole models under training, which can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import RunError
from w2s_data.finetune.loop import EarlyStop, Trainer
from w2s_data.utils.io import (
    atomic_path,
    digest_parts,
    jsonable,
    read_json,
    sha256_file,
    write_json,
)
from w2s_data.utils.reading import reading
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from w2s_data.finetune.levels.whole import WholeNetwork

SCHEMA_VERSION = 1
WEIGHTS = "model.safetensors"  # of a student
MOMENTS = ("exp_avg", "exp_avg_sq")  # of a parameter, by their names in Adam
# Key in the metadata of a checkpoint's file. A single one: the order of several is random, and with
# it the bytes of the file.
RECORD = "w2s"


def digest_array(array: FloatArray) -> str:
    """Return a hash of an array's bytes, for the key of a checkpoint."""
    return hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def digest_items(items: Iterable[Any]) -> str:
    """Return a hash of texts or bytes, for the key of a checkpoint."""
    return digest_parts(item if isinstance(item, bytes) else str(item).encode() for item in items)


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


@dataclass(frozen=True)
class TrainingStore:
    """The file of one training."""

    path: Path
    key: str  # hash of all that the training depends on

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
        write_tensors(self.path, tensors, {**record, "key": self.key})


@dataclass(eq=False)
class StoredTrainer(Trainer):
    """The shared loop for one seed, which saves its state after every epoch."""

    network: WholeNetwork
    store: TrainingStore | None = field(kw_only=True)
    history: list[dict[str, Any]] = field(kw_only=True)  # rows of a stored training are restored
    reseed: Callable[[int], None] = field(kw_only=True)  # starts the random numbers of an epoch

    def __post_init__(self) -> None:
        super().__post_init__()
        self._first_row = len(self.history)

    def _begin(self, epoch: int) -> None:
        # A stream per epoch: a resumed training draws the same dropout as one that ran through.
        self.reseed(1 + epoch)

    def _restore(self, early: EarlyStop | None) -> int:
        stored = self.store.read() if self.store is not None else None
        if stored is None:
            return 0
        tensors, record = stored
        self.network.load(_part(tensors, "weights"))
        self.history += record["history"]
        for name, parameter in self.network.parameters().items():
            if f"step.{name}" in tensors:
                moments = {n: tensors[f"{n}.{name}"].to(parameter.device) for n in MOMENTS}
                # The step stays on the CPU, where Adam counts it.
                self.optimizer.state[parameter] = {"step": tensors[f"step.{name}"], **moments}
        if early is not None and record["best"] is not None:
            early.best = np.array(record["best"])
            early.waited = np.array(record["waited"])
            self.network.kept = _part(tensors, "kept")
        return int(record["epochs"])

    def _save_state(self, epochs: int, early: EarlyStop | None) -> None:
        if self.store is None:
            return
        tensors = {f"weights.{name}": value for name, value in self.network.state().items()}
        record: dict[str, Any] = {
            "epochs": epochs,
            "history": self.history[self._first_row :],
            "best": None,
        }
        if epochs < self.schedule.epochs:  # a finished training needs no moments of Adam
            for name, parameter in self.network.parameters().items():
                moments = self.optimizer.state.get(parameter)
                if moments:
                    for kind in ("step", *MOMENTS):
                        tensors[f"{kind}.{name}"] = moments[kind].detach().cpu()
            if early is not None:
                tensors |= {f"kept.{name}": t for name, t in self.network.kept.items()}
                record |= {"best": early.best, "waited": early.waited}
        self.store.write(tensors, record)


def _part(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{kind}."): value
        for name, value in tensors.items()
        if name.startswith(f"{kind}.")
    }
