"""Features read block by block, so that N x D never has to be in memory.

Anything with `shape`, `blocks` and `take` is a `FeatureMatrix`: a numpy array or memory map
(through `as_feature_matrix`) and a `FeatureStore` alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from w2s_data.compute.memory import BLOCK_BYTES, LIBRARIES, MemoryLimit, size_text
from w2s_data.errors import FeatureError, InputError
from w2s_data.utils.typing import FloatArray, IntArray

DEFAULT_BLOCK_BYTES = BLOCK_BYTES


@runtime_checkable
class FeatureMatrix(Protocol):
    """A float32 matrix of N rows and D columns that is read in blocks of rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Items N and feature dimensions D."""
        ...

    def blocks(self, max_bytes: int = ...) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, float32 array (len(rows), D)) in order, each within `max_bytes`."""
        ...

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows (int array, any order) as a float32 array."""
        ...


@dataclass(frozen=True)
class ArrayFeatures:
    """A numpy array or memory map as a `FeatureMatrix`."""

    array: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Items N and feature dimensions D."""
        return self.array.shape[0], self.array.shape[1]

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, float32 block) in order."""
        for rows in row_blocks(self.shape, max_bytes):
            yield rows, np.asarray(self.array[rows], dtype=np.float32)

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows as a float32 array."""
        return np.asarray(self.array[rows], dtype=np.float32)


def row_blocks(shape: tuple[int, int], max_bytes: int, itemsize: int = 4) -> Iterator[slice]:
    """Slices of consecutive rows, each at most `max_bytes` (at least one row).

    >>> list(row_blocks((5, 2), max_bytes=16))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    n_rows, n_columns = shape
    step = max(1, max_bytes // max(1, n_columns * itemsize))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def as_feature_matrix(features: Any, name: str = "features") -> FeatureMatrix:
    """Accept a `FeatureMatrix` or anything numpy turns into a 2-D array of numbers.

    Raises
    ------
    FeatureError
        If the features are not a non-empty two-dimensional table of numbers.
    """
    if isinstance(features, FeatureMatrix) and not isinstance(features, np.ndarray):
        return features
    array = np.asarray(features)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.number):
        raise FeatureError(
            f"{name} must be numbers of shape (N, D); got {array.dtype} of shape {array.shape}"
        )
    if array.shape[1] == 0:
        raise FeatureError(f"{name} have no columns: shape {array.shape}")
    return ArrayFeatures(array)


@dataclass(frozen=True)
class RowSubset:
    """Some rows of a `FeatureMatrix`, in ascending order, without copying them."""

    base: FeatureMatrix
    rows: IntArray

    @property
    def shape(self) -> tuple[int, int]:
        """Items N and feature dimensions D."""
        return len(self.rows), self.base.shape[1]

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows of the subset, float32 block) in order."""
        start = 0
        for whole, block in self.base.blocks(max_bytes):
            inside = self.rows[start : np.searchsorted(self.rows, whole.stop)]
            if len(inside):
                yield slice(start, start + len(inside)), block[inside - whole.start]
            start += len(inside)

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows of the subset as a float32 array."""
        return self.base.take(self.rows[rows])


@dataclass(frozen=True)
class BoundedFeatures:
    """Features whose blocks are cut to a limit, and that are never taken beyond it at once."""

    base: FeatureMatrix
    name: str
    limit: MemoryLimit

    @property
    def shape(self) -> tuple[int, int]:
        """Items N and feature dimensions D."""
        return self.base.shape

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield the base's blocks, each within the limit's block size."""
        return self.base.blocks(min(max_bytes, self.limit.block_bytes))

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows.

        Raises
        ------
        InputError
            If so many rows do not fit into half of the limit; says what they need.
        """
        n = len(np.arange(self.shape[0])[rows]) if isinstance(rows, slice) else np.size(rows)
        needed = 4 * n * self.shape[1]
        if needed > self.limit.free // 2:
            raise InputError(
                f"{n:,} rows of the {self.name} are needed at once, {size_text(needed)}, and "
                f"{size_text(self.limit.total)} of memory leave {size_text(self.limit.free // 2)} "
                f"for them: give --memory {size_text(LIBRARIES + 2 * needed).replace(' ', '')} or "
                "more"
            )
        return self.base.take(rows)


def sampled(rows: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """The rows, or a random sample of them in ascending order where they are more than `most`."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
