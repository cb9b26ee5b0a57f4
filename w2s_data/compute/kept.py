"""An engine that keeps what is finished until a stage has its end."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from w2s_data.compute.base import Advance, B, Engine, R, S, Work, no_advance
from w2s_data.utils.io import atomic_path


class KeepingEngine:
    """Another engine, which leaves finished blocks in a folder and takes up those that are there.

    Whoever gives the folder answers for it that the same calls map the same blocks in the same
    order. Results are tuples of arrays with a row for each unit of progress.

    Parameters
    ----------
    engine : Engine
    folder : path
        Made when the first block is finished.

    Raises
    ------
    WriteError
        From `map_blocks`, if the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from w2s_data.compute.local import LocalEngine
    >>> def doubled(state, block, advance):
    ...     return (2 * block,)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for _ in range(2):
    ...         engine = KeepingEngine(LocalEngine(), Path(folder) / "blocks")
    ...         list(engine.map_blocks(doubled, None, [np.arange(2), np.arange(1)]))
    [(0, (array([0, 2]),)), (1, (array([0]),))]
    [(0, (array([0, 2]),)), (1, (array([0]),))]
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.name = engine.name
        self._engine = engine
        self._folder = folder
        self._calls = 0

    def map_blocks(
        self,
        work: Work[S, B, R],
        state: S,
        blocks: Iterable[B],
        advance: Advance = no_advance,
        *,
        ordered: bool = True,  # noqa: ARG002
        device: str = "cpu",
        same_threads: bool = True,
    ) -> Iterator[tuple[int, R]]:
        """Yield (number of the block, its result), in order."""
        call, self._calls = self._calls, self._calls + 1
        computed: list[int] = []

        def missing() -> Iterator[B]:
            for number, block in enumerate(blocks):
                if self._read(call, number) is None:
                    computed.append(number)
                    yield block

        def kept(number: int) -> Any:
            found = self._read(call, number)
            if found is not None:
                advance(len(found[0]))
            return found

        results = self._engine.map_blocks(
            work, state, missing(), advance, device=device, same_threads=same_threads
        )
        turn = 0
        for place, result in results:
            while turn < computed[place]:
                yield turn, kept(turn)
                turn += 1
            self._write(call, turn, result)
            yield turn, result
            turn += 1
        while (found := kept(turn)) is not None:
            yield turn, found
            turn += 1

    def place(self, device: str) -> str:
        """As the other engine."""
        return self._engine.place(device)

    def parts(self, n_blocks: int, device: str) -> int:
        """As the other engine."""
        return self._engine.parts(n_blocks, device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing was started."""

    def _path(self, call: int, number: int) -> Path:
        return self._folder / f"{call}-{number:06d}.npz"

    def _write(self, call: int, number: int, result: Any) -> None:
        with atomic_path(self._path(call, number)) as partial, partial.open("wb") as file:
            np.savez(file, *result)

    def _read(self, call: int, number: int) -> Any:
        """A result that is there and whole, or None."""
        try:
            with (
                self._path(call, number).open("rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                return tuple(arrays[name] for name in arrays.files)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None
