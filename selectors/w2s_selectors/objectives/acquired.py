"""Points acquired so far, as an objective sees them."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO

import numpy as np

from w2s_data.errors import FeatureError, ProbabilityError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

IN_MEMORY = 64 * 2**20  # bytes; larger tables lie in a temporary file


class Rows:
    """Rows that are appended to; capacity doubles, and a large table lies on disk."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = np.dtype(dtype)
        self._buffer: AnyArray | None = None
        self._file: IO[bytes] | None = None
        self._n = 0

    def append(self, added: AnyArray) -> None:
        """Append rows, which have the shape of the first ones."""
        needed = self._n + len(added)
        if self._buffer is None or needed > len(self._buffer):
            # Doubling keeps appending linear in all; few rows get some room at once.
            capacity = max(256, needed, 2 * self._n)
            self._grow((capacity, *added.shape[1:]))
        assert self._buffer is not None
        self._buffer[self._n : needed] = added
        self._n = needed

    @property
    def array(self) -> AnyArray:
        """All rows, without a copy."""
        return np.empty(0, self._dtype) if self._buffer is None else self._buffer[: self._n]

    def _grow(self, shape: tuple[int, ...]) -> None:
        """Enlarge the buffer, in place once it lies in a file."""
        size = int(np.prod(shape)) * self._dtype.itemsize
        if size <= IN_MEMORY:
            grown: AnyArray = np.empty(shape, self._dtype)
        elif self._file is not None:
            self._buffer = None  # the old map; its rows are in the file
            self._file.truncate(size)
            self._buffer = np.memmap(self._file, self._dtype, "r+", shape=shape)
            return
        else:
            # Without a name: it disappears with the process, even if that is killed.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)
            self._file.truncate(size)
            grown = np.memmap(self._file, self._dtype, "r+", shape=shape)
        if self._buffer is not None:
            grown[: self._n] = self.array
        self._buffer = grown


class Acquired:
    """The n points acquired so far, in the order of their delivery.

    Attributes
    ----------
    n_sources : int
        K.
    newest : slice
        Rows of the latest answer.

    Examples
    --------
    >>> acquired = Acquired(n_sources=2)
    >>> acquired.add(1, np.ones((3, 4)), np.full((3, 2), 0.5))
    >>> len(acquired), acquired.source.tolist(), acquired.strong_features.shape
    (3, [1, 1, 1], (3, 4))
    """

    def __init__(self, n_sources: int) -> None:
        self.n_sources = n_sources
        self.newest = slice(0, 0)
        self._source, self._proba = Rows(np.int64), Rows(np.float64)
        self._features = Rows(np.float32)  # encoders give no more digits, and they fill memory

    def __len__(self) -> int:
        return len(self._source.array)

    def add(self, source: int, strong_features: FloatArray, weak_proba: FloatArray) -> None:
        """Append the points of one answer, or raise if they do not fit earlier ones."""
        # Before anything is appended: a refused answer leaves all tables as they were.
        self.check_fits(strong_features, weak_proba)
        self.newest = slice(len(self), len(self) + len(strong_features))
        self._source.append(np.full(len(strong_features), source))
        self._proba.append(weak_proba)
        self._features.append(strong_features)

    def check_fits(self, strong: FloatArray | None, proba: FloatArray | None) -> None:
        """Raise if features or probabilities have other dimensions or classes than before."""
        if not len(self):
            return
        n_features, n_classes = self._features.array.shape[1], self._proba.array.shape[1]
        if strong is not None and strong.shape[1] != n_features:
            raise FeatureError(
                f"strong features had {n_features} dimensions so far; now {strong.shape[1]}"
            )
        if proba is not None and proba.shape[1] != n_classes:
            raise ProbabilityError(
                f"weak probabilities had {n_classes} classes so far; now {proba.shape[1]}"
            )

    @property
    def source(self) -> IntArray:
        """Source of each point, int array (n,)."""
        return self._source.array

    @property
    def weak_proba(self) -> FloatArray:
        """Weak probabilities, (n, C)."""
        return self._proba.array

    @property
    def strong_features(self) -> ArrayFeatures:
        """Strong features (n, D), to be read in blocks."""
        return ArrayFeatures(self._features.array)

    @property
    def counts(self) -> IntArray:
        """Points of each source, (K,)."""
        return np.bincount(self.source, minlength=self.n_sources)
