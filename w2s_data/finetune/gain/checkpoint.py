"""What is kept of a measurement while it runs: test probabilities, a file a (student, seed)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from w2s_data._io import (
    atomic_path,
    jsonable,
    read_json,
    remove_partial_files,
    sha256_json,
    write_json,
)
from w2s_data._typing import FloatArray
from w2s_data.errors import RunError
from w2s_data.finetune.base import Method

SCHEMA = 1
TASK_FILE = "task.json"
TRAININGS = "trainings"
_METADATA = b"w2s_gain"

Predictions = dict[str, FloatArray]
"""Test probabilities (n, C) of one seed: of the student under "", of its controls by name."""


class Checkpoint:
    """A folder with the test probabilities of finished students; None keeps nothing.

    Parameters
    ----------
    folder : path or None
    configuration : mapping
        Everything the probabilities depend on, apart from the method and the seed.
    resume : bool
        Take up what is there; otherwise it is removed.

    Raises
    ------
    RunError
        If the folder holds a measurement of another configuration, or other files.
    """

    def __init__(
        self, folder: str | Path | None, configuration: Mapping[str, Any], resume: bool
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_partial_files(self.folder)
        wanted = {"schema": SCHEMA, **jsonable(configuration)}
        task = self.folder / TASK_FILE
        if task.exists() and resume:
            self._check_same(read_json(task), wanted)
            return
        if not task.exists() and any(self.folder.iterdir()):
            raise RunError(f"checkpoint folder {str(folder)!r} holds other files; use an empty one")
        task.unlink(missing_ok=True)
        for old in self.folder.glob("*-seed*.parquet"):
            old.unlink()
        shutil.rmtree(self.folder / TRAININGS, ignore_errors=True)
        write_json(task, wanted)

    def _check_same(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        for name in sorted(wanted.keys() | found.keys()):
            if found.get(name) != wanted.get(name):
                raise RunError(
                    f"checkpoint {str(self.folder)!r} is of another configuration: {name} was "
                    f"{_short(found.get(name))}, now {_short(wanted.get(name))}; use another "
                    "folder, or resume=False to start anew"
                )

    def read(self, name: str, method: Method, seed: int) -> Predictions | None:
        """What is kept of a student, or None.

        Raises
        ------
        RunError
            If a student of that name was trained by another method or with other parameters, or
            the file is damaged.
        """
        path = self._path(name, seed)
        if path is None or not path.exists():
            return None
        try:
            table = pa.parquet.read_table(path)
            stored = json.loads(table.schema.metadata[_METADATA])
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"cannot read checkpoint {str(path)!r}: {error}; delete it") from error
        wanted = _identity(method)
        if stored["method"] != wanted:
            raise RunError(
                f"checkpoint {str(self.folder)!r} holds {name!r} trained as {stored['method']}, "
                f"now {wanted}; use another name or folder, or resume=False to start anew"
            )
        columns = np.column_stack([column.to_numpy() for column in table.columns])
        parts = np.split(columns, len(stored["models"]), axis=1)
        return dict(zip(stored["models"], parts, strict=True))

    def write(self, name: str, method: Method, seed: int, predictions: Predictions) -> None:
        """Keep a finished student."""
        path = self._path(name, seed)
        if path is None:
            return
        stored = {"method": _identity(method), "models": list(predictions)}
        columns = {
            f"{model or 'student'}:{c}": pa.array(column)
            for model, proba in predictions.items()
            for c, column in enumerate(np.asarray(proba, dtype=np.float32).T)
        }
        table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(stored)})
        with atomic_path(path) as partial:
            pa.parquet.write_table(table, partial)
        trainings = self.trainings(name)
        if trainings is not None:
            shutil.rmtree(trainings / f"seed{seed}", ignore_errors=True)

    def trainings(self, name: str) -> Path | None:
        """Where a whole model leaves the state of its training until it is finished."""
        return None if self.folder is None else self.folder / TRAININGS / _slug(name)

    def _path(self, name: str, seed: int) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{_slug(name)}-seed{seed}.parquet"


def _slug(name: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', name)[:40]}-{sha256_json(name)[:8]}"


def _identity(method: Method) -> dict[str, Any]:
    return {"name": method.name, **jsonable(method.parameters())}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
