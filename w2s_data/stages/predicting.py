"""Predictions of students for new rows: block by block, and resumable for whole models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import RunError
from w2s_data.finetune.levels.store import digest_items
from w2s_data.run import Run
from w2s_data.stages.graph import GAIN
from w2s_data.stages.keeping import student_folder
from w2s_data.utils.io import atomic_path, make_folder, sha256_json
from w2s_data.utils.reading import reading
from w2s_data.utils.typing import FloatArray

PREDICTED = "applied/predicted"  # of a run: blocks of rows that whole models have labelled


@dataclass(frozen=True)
class AppliedTable:
    """Result of labelling new rows: the table, the student by which, and what it measured."""

    path: Path
    student: dict[str, Any]
    n_rows: int
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Read the table of labels."""
        kind = self.path.suffix.lower()
        if kind == ".parquet":
            return pd.read_parquet(self.path)
        if kind == ".jsonl":
            return pd.read_json(self.path, lines=True)
        return pd.read_csv(self.path, sep="\t" if kind == ".tsv" else ",")


@dataclass
class Predictor:
    """Predicts block by block; what a whole model says is stored until the table is whole.

    Attributes
    ----------
    whole : function of a block of inputs
    folder : Path
        For this student alone.
    head : function of a block and the number of its first row, or None
        Faster than any file, so that nothing is stored.
    """

    whole: Callable[[Any], FloatArray]
    folder: Path
    head: Callable[[Any, int], FloatArray] | None = None
    used: list[Path] = field(default_factory=list)

    def predict(self, inputs: Any, start: int) -> FloatArray:
        """Return predictions (n, ...) of a block of rows, whose first has number `start`."""
        if self.head is not None:
            return self.head(inputs, start)
        path = self.folder / f"{digest_items(inputs)}.npy"
        self.used.append(path)
        if not path.exists():
            make_folder(self.folder)
            with atomic_path(path) as partial, partial.open("wb") as file:
                np.save(file, self.whole(inputs))
        with reading(path, "stored predictions", error=RunError, advice="delete it"):
            return np.asarray(np.load(path, allow_pickle=False))

    def forget(self) -> None:
        """Remove the stored blocks."""
        for path in self.used:
            path.unlink(missing_ok=True)
        if self.used and not any(self.folder.iterdir()):
            self.folder.rmdir()


def identity_of(run: Run, kept: str) -> str:
    """Return a short hash of the files of a student that the run keeps."""
    files = run.manifest["stages"][GAIN.name]["files"]
    folder = student_folder(run, kept)
    own = {name: file["sha256"] for name, file in files.items() if folder in name}
    return sha256_json(own)[:12]
