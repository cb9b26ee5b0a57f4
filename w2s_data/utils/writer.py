"""Write the files of a stage: all of them appear at once, when the stage has succeeded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.io import atomic_path, flush, json_bytes
from w2s_data.utils.manifest import FileRecord
from w2s_data.utils.typing import AnyArray


class StageWriter(AbstractContextManager["StageWriter"]):
    """Writes files beside their final names, and moves them into place when its block succeeds.

    Attributes
    ----------
    files : dict
        Record of each file by its name.
    notes : list of str
        Guesses and oddities, for the manifest and the page.
    """

    def __init__(self, folder: Path, schema: int) -> None:
        self._folder = folder
        self._schema = schema
        self._unfinished = ExitStack()
        self.files: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def __exit__(self, *reason: Any) -> bool | None:
        return self._unfinished.__exit__(*reason)

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as Parquet."""
        with self._file(name) as partial:
            table.to_parquet(partial, index=False)

    def write_csv(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV."""
        with self._file(name) as partial:
            table.to_csv(partial, index=False)

    def write_vectors(self, name: str, shape: tuple[int, int], blocks: Iterable[AnyArray]) -> None:
        """Write blocks of rows as one .npy file of float32."""
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        # By hand, since np.save would need the whole array in memory.
        with self._file(name) as partial, partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype=np.float32).data)

    def write_summary(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a summary as JSON, with the stage's schema number."""
        with self._file(name) as partial:
            partial.write_bytes(json_bytes({"schema": self._schema, **value}))

    def move(self, name: str, file: Path) -> None:
        """Take a finished file that lies elsewhere in the run."""
        with self._file(name) as partial:
            file.replace(partial)

    def add(self, name: str) -> None:
        """Name a file that something else wrote into the run."""
        self._record(name, self._folder / name)

    @contextmanager
    def _file(self, name: str) -> Iterator[Path]:
        # Entered now and left with the stage: a reader never sees half of the files replaced.
        partial = self._unfinished.enter_context(atomic_path(self._folder / name))
        yield partial
        flush(partial)  # here, so that nothing but the moves is left for the end
        self._record(name, partial)

    def _record(self, name: str, path: Path) -> None:
        self.files[name] = FileRecord.of(path).model_dump()
