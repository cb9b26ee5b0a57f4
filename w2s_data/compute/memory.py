"""Memory limit of a stage, and its division among the parts of the stage."""

from __future__ import annotations

import ctypes
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from w2s_data.errors import InputError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
USUAL_SHARE = 0.5  # of the free memory by default: other programs need some as well
BLOCK_BYTES = 32 * 2**20  # larger blocks fall out of the caches and gain nothing
# Resident memory of a command before it holds any data: numpy, pandas, pyarrow, torch and faiss
# after their first use. A third of it is their code, which the system counts as the process's own.
LIBRARIES = 450 * 10**6
LEAST = 512 * 10**6  # the libraries, and little more
USUAL_LEAST = 640 * 10**6  # by default: every stage runs on a few thousand items


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes of resident memory that a stage may take, and their division.

    The pages of memory-mapped features count, and are dropped as they are read where they would
    take much of the limit.
    Results do not depend on the limit where an algorithm is exact: it sets the size of blocks.
    A stage reports where it has to sample or round to keep within the limit.

    >>> MemoryLimit.parse("4GB").total, MemoryLimit.parse("600 MB").block_bytes
    (4000000000, 2343750)
    """

    total: int  # libraries included

    @classmethod
    def parse(cls, text: str | int | None) -> Self:
        """Read "4GB", "500MB", "2GiB" or plain bytes; None takes half of the free memory.

        Raise InputError for anything else, or less than the libraries take.
        """
        if text is None:
            return cls(max(USUAL_LEAST, int(USUAL_SHARE * available_bytes())))
        match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*([a-z]*)\s*", str(text).lower())
        if match is None or match[2] not in UNITS:
            raise InputError(
                f"memory must be a size such as 4GB, 500MB, 2GiB or plain bytes; got {text!r}"
            )
        total = int(float(match[1]) * UNITS[match[2]])
        if total < LEAST:
            raise InputError(
                f"memory={text} is too little, since the libraries alone take "
                f"{size_text(LIBRARIES)}; set memory to {size_text(LEAST)} or more"
            )
        return cls(total)

    def __str__(self) -> str:
        return size_text(self.total)

    @property
    def free(self) -> int:
        """Bytes for data, without the libraries."""
        return self.total - LIBRARIES

    @property
    def block_bytes(self) -> int:
        """Bytes of a block of features."""
        # With its copies in float64 and products a block takes up to ten times its own size.
        return min(BLOCK_BYTES, self.free // 64)

    @property
    def mapped_bytes(self) -> int:
        """Bytes of memory-mapped files whose pages may stay in memory after they were read."""
        return self.free // 8

    @property
    def resident_bytes(self) -> int:
        """Bytes of one array that stays in memory, such as the vectors of an index."""
        return self.free // 4

    def rows(self, n_columns: int, copies: int = 1) -> int:
        """Return how many float64 rows fit, with their copies, into half of the free bytes."""
        return max(1, self.free // (2 * 8 * copies * max(1, n_columns)))


def release_freed() -> None:
    """Return memory that was freed to the system, which C libraries keep for later otherwise.

    For the end of a step that held large arrays: the next one may take other sizes.
    """
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # only glibc can
        ctypes.CDLL(None).malloc_trim(0)


def available_bytes() -> int:
    """Return the memory that can be had without swapping, within the limit of a container."""
    import psutil

    return int(min(psutil.virtual_memory().available, *_container_limits(_used)))


def total_bytes() -> int:
    """Return the memory of this machine, or of the container if that is less."""
    import psutil

    return int(min(psutil.virtual_memory().total, *_container_limits()))


def size_text(n_bytes: float) -> str:
    """Format bytes for people.

    >>> size_text(1_536_000_000), size_text(2_000_000), size_text(900)
    ('1.5 GB', '2 MB', '900 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            value = n_bytes / size
            return f"{value:.2g} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{n_bytes:,.0f} bytes"


def _container_limits(used: Callable[[Path], int] = lambda _: 0) -> Iterator[float]:
    """Yield the limits that Linux control groups, version 2 and 1, set, less what is used of them.

    psutil reports the memory of the host, and a container that takes more than its own limit is
    killed.
    """
    yield math.inf
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = Path(f"/sys/fs/cgroup/{name}")
        with suppress(OSError, ValueError):  # no such file, or the word "max"
            limit = int(path.read_text(encoding="ascii"))
            yield max(0, limit - used(path.parent))


def _used(group: Path) -> int:
    """Return what a control group uses of its memory, without files that it can drop."""
    total, dropped = 0, 0
    for name in ("memory.current", "memory.usage_in_bytes"):
        with suppress(OSError, ValueError):
            total = int((group / name).read_text(encoding="ascii"))
    with suppress(OSError, ValueError):
        for line in (group / "memory.stat").read_text(encoding="ascii").splitlines():
            key, value = line.split()
            if key in ("inactive_file", "total_inactive_file"):
                dropped = int(value)
    return max(0, total - dropped)
