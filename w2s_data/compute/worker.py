"""What runs in a worker's process: one function over the blocks that it is given."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from typing import Any

from w2s_data._version import __version__
from w2s_data.compute.base import Work
from w2s_data.compute.faiss import library

# Another version of these may change the last bits of a result.
NUMERIC = ("numpy", "torch", "transformers", "tokenizers", "scikit-learn")


class Worker:
    """Holds what all blocks share, and computes blocks.

    `look` is answered from a thread of its own while a block is computed.
    """

    def __init__(self) -> None:
        self._number = self._units = 0

    def prepare(self, work: Work[Any, Any, Any], state: Any, threads: int) -> dict[str, str]:
        """Take what the next blocks share; return the versions in this process."""
        self._work, self._state, self._threads = work, state, threads
        self._number = -1
        return versions()

    def look(self) -> tuple[int, int, float]:
        """Number of the present block, its units done, and the CPU seconds of this process."""
        return self._number, self._units, time.process_time()

    def run(self, number: int, block: Any) -> tuple[Any, int]:
        """Result of a block, and the units that were done for it."""
        self._units, self._number = 0, number
        use_threads(self._threads)
        return self._work(self._state, block, self._advance), self._units

    def _advance(self, units: int) -> None:
        self._units += units


def versions() -> dict[str, str]:
    """Versions of what results depend on, by name.

    >>> versions()["w2s-data"] == __version__
    True
    """
    found = {"w2s-data": __version__, "python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in NUMERIC}


def use_threads(number: int) -> None:
    """Set how many threads numerical libraries use in this thread of Python.

    OpenMP keeps the number by thread, so that it is set where blocks are computed.
    """
    import threadpoolctl
    import torch

    faiss = library()
    threadpoolctl.threadpool_limits(number)
    torch.set_num_threads(number)
    faiss.omp_set_num_threads(number)


def own_threads() -> int:
    """Threads that numerical libraries use in this process."""
    import torch

    return int(torch.get_num_threads())
