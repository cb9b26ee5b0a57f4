"""Features read block by block, so that N x D never has to be in memory.

Anything with `shape`, `blocks` and `take` is a `FeatureMatrix`: a numpy array or memory map
(through `as_feature_matrix`), a `FeatureStore`, and every `FeatureView` of one of them.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from w2s_data.compute.memory import BLOCK_BYTES, LIBRARIES, MemoryLimit, size_text
from w2s_data.errors import FeatureError, InputError
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

DEFAULT_BLOCK_BYTES = BLOCK_BYTES  # for callers without a memory limit
PIECE_BYTES = 4 * 2**20
TILE_ROWS = 64
PAGE_BYTES = 2**16  # of a file that Linux maps around a single row


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
            yield rows, _float32(self.array[rows])

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows as a float32 array."""
        return _float32(self.array[rows])

    def release(self) -> None:
        """Drop the pages of a memory map that were read; they are read again when needed."""
        mapped = getattr(self.array, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


@dataclass
class _Touched:
    """Bytes of memory-mapped pages that were read since the last were dropped."""

    n_bytes: int = 0


@dataclass(frozen=True)
class FeatureView:
    """A `FeatureMatrix` seen through a choice of rows, signs, a sum, checks or a limit.

    Nothing is copied when a view is made. A view of a view works.

    >>> base = as_feature_matrix([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> FeatureView(base, np.array([0, 2])).take([1]).tolist()
    [[5.0, 6.0]]
    """

    base: FeatureMatrix  # (N, D)
    rows: IntArray | None = None  # of the base, in ascending order; by default all
    name: str = "features"  # in error messages
    limit: MemoryLimit | None = None  # of the size of blocks, and of rows taken at once
    check: bool = False  # refuse NaN, infinite and all-zero rows, by their numbers in the base
    advance: Callable[[int], None] | None = None  # gets the number of rows of each block read
    minus: FeatureMatrix | None = None  # (N, D), subtracted: the second items of pairs
    signs: FloatArray | None = None  # (N,), factors of the rows, after sum or difference
    plus: FeatureMatrix | None = None  # (N, D), added
    _touched: _Touched = field(default_factory=_Touched, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Items and feature dimensions."""
        n_rows, n_columns = self.base.shape
        return n_rows if self.rows is None else len(self.rows), n_columns

    def blocks(self, max_bytes: int = DEFAULT_BLOCK_BYTES) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows of the view, float32 block) in order.

        Raise FeatureError if `check` is set and a row cannot be used.
        """
        if self.limit is not None:
            max_bytes = min(max_bytes, self.limit.block_bytes)
        start = 0
        for whole, block in self.base.blocks(max_bytes):
            if self.rows is None:
                numbers, chosen = np.arange(whole.start, whole.stop), block
            else:
                numbers = self.rows[start : np.searchsorted(self.rows, whole.stop)]
                chosen = block[numbers - whole.start]
            if len(numbers):
                yield slice(start, start + len(numbers)), self._finished(chosen, numbers)
                # After the yield: the rows count when the caller has used them.
                if self.advance is not None:
                    self.advance(len(numbers))
            self._touch(block.nbytes)
            start += len(numbers)

    def take(self, rows: Any) -> FloatArray:
        """Return the given rows of the view as a float32 array.

        Raise InputError if they do not fit into half of the limit, saying how much memory they
        need, and FeatureError if `check` is set and a row cannot be used.
        """
        numbers = self._numbers(rows)
        if self.limit is not None:
            self._check_fits(len(numbers), self.limit)
        # A slice of an array is taken without a copy; the row numbers would copy it.
        taken = self.base.take(rows if self.rows is None else numbers)
        finished = self._finished(taken, numbers)
        self._touch(max(taken.nbytes, PAGE_BYTES * len(numbers)))
        return finished

    def _touch(self, n_bytes: int) -> None:
        """Count pages that were read, and drop them when they take much of the limit."""
        if self.limit is None:
            return
        self._touched.n_bytes += n_bytes
        if self._touched.n_bytes > self.limit.mapped_bytes:
            for matrix in (self.base, self.minus, self.plus):
                if isinstance(matrix, ArrayFeatures):
                    matrix.release()
            self._touched.n_bytes = 0

    def _numbers(self, rows: Any) -> IntArray:
        if isinstance(rows, slice):
            numbers = np.arange(*rows.indices(self.shape[0]))
        else:
            numbers = np.atleast_1d(rows)
            # An empty list is an array of floats to numpy, which cannot index.
            numbers = np.flatnonzero(numbers) if numbers.dtype == bool else numbers.astype(np.intp)
        return numbers if self.rows is None else self.rows[numbers]

    def _finished(self, block: FloatArray, numbers: IntArray) -> FloatArray:
        if self.minus is not None:
            block = block - self.minus.take(numbers)
        if self.plus is not None:
            block = block + self.plus.take(numbers)
        if self.signs is not None:
            block = block * self.signs[numbers, None]
        if self.check:
            check_feature_block(block, numbers, self.name, nonzero=True)
        return block

    def _check_fits(self, n_rows: int, limit: MemoryLimit) -> None:
        # Half of the free memory: whoever takes rows makes at least one array of the same size.
        needed = 4 * n_rows * self.shape[1]
        if needed > limit.free // 2:
            enough = size_text(LIBRARIES + 2 * needed).replace(" ", "")
            raise InputError(
                f"{n_rows:,} rows of the {self.name} need {size_text(needed)} at once, and "
                f"memory={size_text(limit.total)} leaves {size_text(limit.free // 2)} for them; "
                f"set memory to {enough} or more"
            )


def _float32(features: Any) -> FloatArray:
    """Return features in single precision; raise FeatureError for numbers beyond its range."""
    try:
        with np.errstate(over="raise"):
            return np.asarray(features, dtype=np.float32)
    except FloatingPointError as error:
        raise FeatureError(
            "features hold numbers beyond 3.4e38, the range of float32: bring them to another scale"
        ) from error


def row_blocks(shape: tuple[int, int], max_bytes: int, itemsize: int = 4) -> Iterator[slice]:
    """Yield slices of consecutive rows, each at most `max_bytes` (at least one row).

    >>> list(row_blocks((5, 2), max_bytes=16))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    n_rows, n_columns = shape
    step = max(1, max_bytes // max(1, n_columns * itemsize))
    # Whole tiles of the kernels that multiply matrices, which round the rows of a cut tile in
    # another order: so results are the same bits whatever the size of the blocks.
    step = step // TILE_ROWS * TILE_ROWS or step
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def pieces(features: FeatureMatrix) -> Iterator[tuple[slice, FloatArray]]:
    """Yield (rows, float32 rows) of all blocks in small pieces, for `for_each`.

    Results for a piece stay in the caches of a core, and take no memory to speak of.
    """
    for rows, block in features.blocks():
        for part in row_blocks(block.shape, PIECE_BYTES):
            yield slice(rows.start + part.start, rows.start + part.stop), block[part]


def as_array(features: Any, name: str = "features") -> AnyArray:
    """Turn anything into an array; FeatureError for rows of several lengths.

    >>> as_array([[1, 2], [3, 4]]).shape
    (2, 2)
    """
    if hasattr(features, "detach"):  # a tensor of torch; numpy knows no gradients and no bfloat16
        features = features.detach().cpu()
        if features.is_floating_point() and features.element_size() < 4:
            features = features.float()
    try:
        return np.asarray(features)
    except ValueError as error:
        raise FeatureError(
            f"{name} must be numbers of shape (N, D), all rows of one length"
        ) from error


def as_feature_matrix(features: Any, name: str = "features") -> FeatureMatrix:
    """Accept a `FeatureMatrix` or anything numpy turns into a 2-D array of numbers.

    Raise FeatureError if the features are not a two-dimensional table of numbers with columns.
    """
    if isinstance(features, FeatureMatrix):
        return features
    if hasattr(features, "toarray"):  # numpy would wrap a sparse matrix as one object
        raise FeatureError(
            f"{name} must be dense: sparse input ({type(features).__name__}) is not supported; "
            "convert it with toarray()"
        )
    array = as_array(features, name)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise FeatureError(
            f"{name} must be numbers of shape (N, D); got {array.dtype} of shape {array.shape}"
        )
    if array.shape[1] == 0:
        raise FeatureError(f"{name} have no columns: shape {array.shape}")
    return ArrayFeatures(array)


def has_random_access(matrix: FeatureMatrix) -> bool:
    """Return whether single rows are read without reading others, as from an array or a map.

    >>> has_random_access(FeatureView(as_feature_matrix([[1.0, 2.0]])))
    True
    """
    if isinstance(matrix, FeatureView):
        parts = (matrix.base, matrix.minus, matrix.plus)
        return all(has_random_access(part) for part in parts if part is not None)
    return isinstance(matrix, ArrayFeatures)


def sampled(rows: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """Return the rows, or a random sample of `most` of them in ascending order."""
    # Ascending, as views require, and so that blocks are read in order.
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
