"""Decompositions on no more threads than they use."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from w2s_data.utils.threads import one_thread
from w2s_data.utils.typing import FloatArray

# Columns up to which a decomposition has one thread: half of it is bound by memory, and on two busy
# cores two threads take twice as long at 384 columns, and ten times as long at 1,536.
NARROW = 2000


def eigh(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues (D,), ascending, and eigenvectors (D, D) of a symmetric matrix.

    >>> eigh(np.diag([2.0, 1.0]))[0].tolist()
    [1.0, 2.0]
    """
    with one_thread() if len(matrix) <= NARROW else nullcontext():
        values, vectors = np.linalg.eigh(matrix)
    return values, vectors
