"""What every engine does: one function over many blocks, wherever they are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

S = TypeVar("S")
B = TypeVar("B")
R = TypeVar("R")

Advance = Callable[[int], None]
Work = Callable[[S, B, Advance], R]
"""A function of the module level: (what all blocks share, one block, advance) -> result."""


def no_advance(units: int) -> None:
    """Tell nobody about progress."""


class Engine(Protocol):
    """Where blocks of a stage are computed; results do not depend on it.

    An engine is a context manager: leaving it gives back what it started.
    """

    name: str

    def map_blocks(
        self,
        work: Work[S, B, R],
        state: S,
        blocks: Iterable[B],
        advance: Advance = no_advance,
        *,
        ordered: bool = True,
        device: str = "cpu",
        same_threads: bool = True,
    ) -> Iterator[tuple[int, R]]:
        """Yield (number of the block, its result).

        Parameters
        ----------
        work : function of a module
        state : object
            What all blocks share: it is sent to a worker once.
        blocks : iterable
            Taken as workers become free, so that few are in memory.
        advance : function of an int
            Told how many units are done, as `work` tells it.
        ordered : bool
            In the order of the blocks, or as they are finished.
        device : "cpu" or "cuda"
            What `work` computes on, as `place` said.
        same_threads : bool
            Each worker uses as many threads as this process would: some sums depend on it.
        """
        ...

    def place(self, device: str) -> str:
        """Where workers will compute that are asked for a device ("auto", "cpu", "cuda" ...)."""
        ...

    def parts(self, n_blocks: int, device: str) -> int:
        """Into how many parts blocks that can be divided should be, so that nobody is idle."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any: ...
