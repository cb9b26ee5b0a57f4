"""An engine that keeps finished blocks on disk until a stage ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.compute.base import Engine, Job
from w2s_data.errors import FileFormatError
from w2s_data.utils.io import atomic_path
from w2s_data.utils.reading import reading


class KeepingEngine(Engine):
    """Another engine, whose finished blocks are kept in a folder and read from there again.

    The caller guarantees that the same calls map the same blocks in the same order. Results are
    tuples of arrays with one row per unit of progress. The folder is made when the first block is
    finished; WriteError if it cannot be written.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.name = engine.name
        self._engine = engine
        self._folder = folder
        self._calls = 0

    def run(self, job: Job) -> Iterator[tuple[int, Any]]:
        """Yield (number of the block, its result) in order, computing only the missing blocks."""
        call, self._calls = self._calls, self._calls + 1
        computed: list[int] = []

        def missing() -> Iterator[Any]:
            for number, block in enumerate(job.blocks):
                if self._read(call, number) is None:
                    computed.append(number)
                    yield block

        def kept(number: int) -> Any:
            result = self._read(call, number)
            if result is not None:
                job.advance(len(result[0]))
            return result

        turn = 0
        # Ordered whatever the caller asked for: a stored block is known by its number.
        for place, result in self._engine.run(replace(job, blocks=missing(), ordered=True)):
            while turn < computed[place]:
                yield turn, kept(turn)
                turn += 1
            self._write(call, turn, result)
            yield turn, result
            turn += 1
        while (result := kept(turn)) is not None:
            yield turn, result
            turn += 1

    def place(self, device: str) -> str:
        """Return the device of the other engine."""
        return self._engine.place(device)

    def parts(self, n_blocks: int, device: str) -> int:
        """Return the number of parts of the other engine."""
        return self._engine.parts(n_blocks, device)

    def _path(self, call: int, number: int) -> Path:
        return self._folder / f"{call}-{number:06d}.npz"

    def _write(self, call: int, number: int, result: Any) -> None:
        with atomic_path(self._path(call, number)) as partial, partial.open("wb") as file:
            # Named by its place, so that a file that was moved is not taken for another block.
            np.savez(file, **{f"{call}.{number}.{i}": array for i, array in enumerate(result)})

    def _read(self, call: int, number: int) -> Any:
        """Return a stored result, or None if it is missing or damaged."""
        path = self._path(call, number)
        with (
            suppress(FileFormatError),
            reading(path, "a block of results"),
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            names = [f"{call}.{number}.{i}" for i in range(len(arrays.files))]
            return tuple(arrays[name] for name in names)
        return None
