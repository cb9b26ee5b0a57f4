"""Engines: one function over many blocks, wherever they are computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from w2s_data.utils.progress import no_advance

S = TypeVar("S")
B = TypeVar("B")
R = TypeVar("R")

Advance = Callable[[int], None]
Work = Callable[[S, B, Advance], R]
"""A function of a module: (state that all blocks share, one block, advance) -> result."""


@dataclass(frozen=True)
class Job:
    """One call of `Engine.map_blocks`; the fields are its parameters."""

    work: Work[Any, Any, Any]
    state: Any
    blocks: Iterable[Any]
    advance: Advance
    ordered: bool
    device: str
    same_threads: bool


class Engine(ABC):
    """Where blocks of a stage are computed; results do not depend on it.

    An engine is a context manager that stops what it started.
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
            Shared by all blocks, and sent to a worker once.
        blocks : iterable
            Taken as workers become free, so that few are in memory.
        advance : function of an int
            Called with the number of units done, as `work` reports it.
        ordered : bool
            Yield in the order of the blocks, or as they are finished.
        device : "cpu" or "cuda"
            Device that `work` computes on, as `place` returned it.
        same_threads : bool
            Give each worker as many threads as this process would use, since the last bits of
            some sums depend on it.
        """
        return self.run(Job(work, state, blocks, advance, ordered, device, same_threads))

    @abstractmethod
    def run(self, job: Job) -> Iterator[tuple[int, Any]]:
        """Compute the blocks of one call of `map_blocks`."""

    def place(self, device: str) -> str:
        """Return the device that workers compute on if `device` is requested."""
        return device

    def parts(self, n_blocks: int, device: str) -> int:  # noqa: ARG002
        """Return the number of parts to divide each block into, so that no worker is idle."""
        return 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return None


class LocalEngine(Engine):
    """Compute blocks one after the other in this process.

    >>> def scaled(factor, block, advance):
    ...     return factor * block
    >>> list(LocalEngine().map_blocks(scaled, 10, [1, 2]))
    [(0, 10), (1, 20)]
    """

    name = "local"

    def run(self, job: Job) -> Iterator[tuple[int, Any]]:
        """Compute the blocks in order."""
        for number, block in enumerate(job.blocks):
            yield number, job.work(job.state, block, job.advance)
