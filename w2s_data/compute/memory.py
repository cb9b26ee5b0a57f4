"""How much memory a stage may take, and what each part of it gets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from w2s_data.errors import InputError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
USUAL_SHARE = 0.5  # of the memory that is free when nobody says how much
BLOCK_BYTES = 32 * 2**20  # larger blocks fall out of the caches and gain nothing
LEAST = 512 * 10**6  # what the libraries themselves take, and little more
LIBRARIES = 400 * 10**6  # numpy, pandas, pyarrow, torch and faiss, before they hold any data


@dataclass(frozen=True)
class MemoryLimit:
    """Bytes that a stage may take beyond memory-mapped files, and their division.

    Results do not depend on the limit where an algorithm is exact: it sets the size of blocks.
    What has to be a sample, or rounded, to keep within a limit is told by the stage.

    Attributes
    ----------
    total : int
        Bytes, libraries included.

    Examples
    --------
    >>> MemoryLimit.parse("4GB").total, MemoryLimit.parse("600 MB").block_bytes
    (4000000000, 6250000)
    """

    total: int

    @classmethod
    def parse(cls, text: str | int | None) -> Self:
        """Read "4GB", "500MB", "2GiB" or plain bytes; None takes half of the memory that is free.

        Raises
        ------
        InputError
            For anything else, or less than the libraries take by themselves.
        """
        if text is None:
            return cls(max(LEAST, int(USUAL_SHARE * available_bytes())))
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(text).lower())
        if found is None or found[2] not in UNITS:
            raise InputError(
                f"--memory reads a size such as 4GB, 500MB, 2GiB or plain bytes; got {text!r}"
            )
        total = int(float(found[1]) * UNITS[found[2]])
        if total < LEAST:
            raise InputError(
                f"--memory {text} is too little: the libraries alone take {size_text(LIBRARIES)}, "
                f"give {size_text(LEAST)} or more"
            )
        return cls(total)

    def __str__(self) -> str:
        return size_text(self.total)

    @property
    def free(self) -> int:
        """Bytes for data, libraries left out."""
        return self.total - LIBRARIES

    @property
    def block_bytes(self) -> int:
        """Bytes of a block of features: with its copies and products it takes a few times that."""
        return min(BLOCK_BYTES, self.free // 32)

    @property
    def resident_bytes(self) -> int:
        """Bytes that one array may take that is kept for long, such as the vectors of an index."""
        return self.free // 4

    def rows(self, n_columns: int, copies: int = 1) -> int:
        """Rows of float64 that fit, with so many copies, into half of the free bytes."""
        return max(1, self.free // (2 * 8 * copies * max(1, n_columns)))


def available_bytes() -> int:
    """Memory that can be had without swapping, within the limit of a container."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        for line in _lines(path):
            if line.strip().isdigit():
                free = min(free, int(line))
    return free


def size_text(n_bytes: float) -> str:
    """Bytes for people.

    >>> size_text(1_536_000_000), size_text(2_000_000), size_text(900)
    ('1.5 GB', '2 MB', '900 bytes')
    """
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if n_bytes >= size:
            value = n_bytes / size
            return f"{value:.2g} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{n_bytes:,.0f} bytes"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return []
