"""Finished students of a measurement on disk: predictions, diagnostics and weights per seed."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_data.errors import RunError
from w2s_data.finetune.levels.store import read_tensors, write_tensors
from w2s_data.finetune.methods.base import Method
from w2s_data.finetune.objectives import Weights
from w2s_data.utils.io import (
    jsonable,
    make_folder,
    read_json,
    remove_partial_files,
    sha256_json,
    write_json,
)
from w2s_data.utils.lock import LOCK
from w2s_data.utils.reading import reading
from w2s_data.utils.typing import FloatArray

# Raised where files differ, or where students of one configuration are trained otherwise.
SCHEMA = 4
TASK_FILE = "task.json"
TRAININGS = "trainings"
_RETRAIN = "resume=False retrains"


@dataclass(frozen=True)
class Predictions:
    """Predictions of one seed of a student, and its diagnostics."""

    # (n, C) of the test rows: of the student under "", of its controls by name.
    test: Mapping[str, FloatArray]
    rest: FloatArray | None = None  # (N - n, C) of all other rows, where they were computed
    diagnostics: Mapping[str, Any] = field(default_factory=dict)  # plain JSON types
    l2: float = math.nan  # the penalty
    weights: Weights | None = None  # of students that may be kept; a checkpoint has them on disk


class Checkpoint:
    """A folder with the predictions of finished students; without a folder nothing is stored.

    The `configuration` is all that they depend on, apart from the method and the seed; a folder of
    another one, or with other files, is a `RunError`. With `resume` stored students are reused,
    otherwise they are removed.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None, configuration: Mapping[str, Any], resume: bool
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        make_folder(self.folder)
        remove_partial_files(self.folder)
        wanted = {"schema": SCHEMA, **jsonable(configuration)}
        task = self.folder / TASK_FILE
        if task.exists() and resume:
            with reading(task, "the settings of a checkpoint", error=RunError, advice=_RETRAIN):
                self._check_same(read_json(task), wanted)
            return
        self.check_place(self.folder)
        task.unlink(missing_ok=True)
        for old in self.folder.glob("*-seed*.safetensors"):
            old.unlink()
        shutil.rmtree(self.folder / TRAININGS, ignore_errors=True)
        write_json(task, wanted)

    @staticmethod
    def check_place(folder: Path) -> None:
        """Raise RunError if a folder holds other files, of which none may be removed."""
        entries = folder.iterdir() if folder.is_dir() and not (folder / TASK_FILE).exists() else ()
        if any(entry.name != LOCK for entry in entries):
            raise RunError(f"checkpoint folder {str(folder)!r} holds other files; use an empty one")

    def _check_same(self, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
        for name in sorted(wanted.keys() | stored.keys()):
            if stored.get(name) != wanted.get(name):
                raise RunError(
                    f"checkpoint {str(self.folder)!r} is of another configuration: {name} was "
                    f"{_short(stored.get(name))}, now {_short(wanted.get(name))}; use another "
                    "folder, or resume=False to retrain"
                )

    def read(
        self, name: str, method: Method, seed: int, *, weighted: bool = False
    ) -> Predictions | None:
        """Return the stored predictions of a student, or None; `weighted` if it needs weights too.

        A damaged file, or a student of that name by another method, is a `RunError`.
        """
        path = self._path(name, seed)
        if path is None or not path.exists() or (weighted and not _weights_of(path).exists()):
            return None
        with reading(path, "a checkpoint", error=RunError, advice="delete it"):
            arrays, stored = read_tensors(path, "np")
            wanted = _identity(method)
            if stored["method"] != wanted:
                raise RunError(
                    f"checkpoint {str(self.folder)!r} holds {name!r} trained as "
                    f"{stored['method']}, now {wanted}; use another name or folder, or "
                    f"{_RETRAIN}"
                )
            if (stored["name"], stored["seed"]) != (name, seed):
                raise ValueError(f"it holds seed {stored['seed']} of {stored['name']!r}")
            self._forget_training(name, seed)
            test = {model: arrays[f"test/{model}"] for model in stored["models"]}
            return Predictions(test, arrays.get("rest"), stored["diagnostics"], stored["l2"])

    def write(self, name: str, method: Method, seed: int, predictions: Predictions) -> None:
        """Store a finished student."""
        path = self._path(name, seed)
        if path is None:
            return
        arrays = {f"test/{model}": proba for model, proba in predictions.test.items()}
        if predictions.rest is not None:
            arrays["rest"] = predictions.rest
        record = {
            "method": _identity(method),
            "name": name,
            "seed": seed,
            "models": list(predictions.test),  # in their order, which the file does not keep
            "diagnostics": predictions.diagnostics,
            "l2": predictions.l2,
        }
        # First: a student without the weights that it needs is trained again.
        if predictions.weights is not None:
            own = predictions.weights
            write_tensors(_weights_of(path), own.tensors, {"seed": seed, **own.record})
        write_tensors(path, arrays, record)
        self._forget_training(name, seed)

    def add_rest(self, name: str, seed: int, rest: FloatArray) -> None:
        """Add predictions of the rows outside the test split to a stored student."""
        path = self._path(name, seed)
        if path is not None:
            arrays, record = read_tensors(path, "np")
            write_tensors(path, {**arrays, "rest": rest}, record)

    def weights(self, name: str, seed: int) -> Weights:
        """Return the stored weights of a student; a damaged or missing file is a `RunError`."""
        path = self._path(name, seed)
        assert path is not None
        return Weights(*read_tensors(_weights_of(path), "np"))

    def _forget_training(self, name: str, seed: int) -> None:
        trainings = self.trainings(name)
        if trainings is not None:
            shutil.rmtree(trainings / f"seed{seed}", ignore_errors=True)

    def trainings(self, name: str) -> Path | None:
        """Return the folder for the state of a whole model's training, until it is finished."""
        return None if self.folder is None else self.folder / TRAININGS / _slug(name)

    def _path(self, name: str, seed: int) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{_slug(name)}-seed{seed}.safetensors"


def _weights_of(path: Path) -> Path:
    return path.with_suffix(f".weights{path.suffix}")


def _slug(name: str) -> str:
    # The hash keeps names apart that are equal in letters and digits.
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name)[:40]}-{sha256_json(name)[:8]}"


def _identity(method: Method) -> dict[str, Any]:
    return {"name": method.name, **jsonable(method.parameters())}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
