"""Worker process: one function over the blocks that it is given."""

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
    """Keep the state that all blocks share, and compute blocks.

    `look` is answered from a thread of its own while a block is computed.
    """

    def __init__(self) -> None:
        self._number = self._units = 0

    def prepare(self, work: Work[Any, Any, Any], state: Any, threads: int) -> dict[str, str]:
        """Set the work and state of the next blocks; return the versions in this process."""
        self._work, self._state, self._threads = work, state, threads
        self._number = -1
        return versions()

    def look(self) -> tuple[int, int, float]:
        """Return the number of the present block, its units done, and the CPU seconds used."""
        return self._number, self._units, time.process_time()

    def run(self, number: int, block: Any) -> tuple[Any, int]:
        """Compute a block; return its result and the units done."""
        self._units, self._number = 0, number
        use_threads(self._threads)
        return self._work(self._state, block, self._advance), self._units

    def _advance(self, units: int) -> None:
        self._units += units


def versions() -> dict[str, str]:
    """Return the versions of the libraries that results depend on, by name.

    >>> versions()["w2s-data"] == __version__
    True
    """
    own = {"w2s-data": __version__, "python": platform.python_version()}
    return own | {name: importlib.metadata.version(name) for name in NUMERIC}


def use_threads(number: int) -> None:
    """Set the number of threads that numerical libraries use in this Python thread."""
    import threadpoolctl
    import torch

    faiss = library()  # before the limits, which apply to the libraries that are loaded
    # OpenMP keeps the number by thread, so that it is set where blocks are computed.
    threadpoolctl.threadpool_limits(number)
    torch.set_num_threads(number)
    faiss.omp_set_num_threads(number)


def own_threads() -> int:
    """Return the number of threads that numerical libraries use in this process."""
    import torch

    return int(torch.get_num_threads())
