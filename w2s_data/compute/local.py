"""The engine of one machine: block after block in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from w2s_data.compute.base import Engine, Job


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
