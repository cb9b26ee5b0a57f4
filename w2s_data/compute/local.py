"""The engine of one machine: block after block in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

from w2s_data.compute.base import Advance, B, R, S, Work, no_advance


class LocalEngine:
    """Computes blocks one after the other, where it is.

    Examples
    --------
    >>> def scaled(factor, block, advance):
    ...     return factor * block
    >>> with LocalEngine() as engine:
    ...     list(engine.map_blocks(scaled, 10, [1, 2]))
    [(0, 10), (1, 20)]
    """

    name = "local"

    def map_blocks(
        self,
        work: Work[S, B, R],
        state: S,
        blocks: Iterable[B],
        advance: Advance = no_advance,
        *,
        ordered: bool = True,  # noqa: ARG002
        device: str = "cpu",  # noqa: ARG002
        same_threads: bool = True,  # noqa: ARG002
    ) -> Iterator[tuple[int, R]]:
        """Yield (number of the block, its result), in order."""
        for number, block in enumerate(blocks):
            yield number, work(state, block, advance)

    def place(self, device: str) -> str:
        """The device as it was asked for."""
        return device

    def parts(self, n_blocks: int, device: str) -> int:  # noqa: ARG002
        """One: a single worker is never idle."""
        return 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing was started."""
