"""Batches of rows of similar length, and their pieces within a budget of tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from w2s_data.finetune.loop import row_stream
from w2s_data.utils.typing import IntArray

# Sorted over the whole pool, every long text would meet the same others in every pass; among fifty
# batches, as in transformers, over nine tenths of the computed tokens are real already.
SORTED_TOGETHER = 50


def similar_rows(
    rows: IntArray, lengths: IntArray, size: int, rng: np.random.Generator
) -> Iterator[IntArray]:
    """Yield batches of `size` rows of similar length without end, in random order.

    Rows come one random permutation after another; those of up to fifty batches are sorted by their
    length in tokens (N,) and cut.

    >>> lengths = np.array([3, 9, 3, 9])
    >>> batches = similar_rows(np.arange(4), lengths, 2, np.random.default_rng(0))
    >>> sorted(sorted(next(batches).tolist()) for _ in range(2))
    [[0, 2], [1, 3]]
    """
    n_batches = max(1, min(SORTED_TOGETHER, len(rows) // size))
    for chosen in row_stream(rows, n_batches * size, rng):
        ordered = chosen[np.argsort(lengths[chosen], kind="stable")]
        yield from rng.permutation(ordered.reshape(n_batches, size))


def pieces(lengths: IntArray, most_tokens: int, most_rows: int) -> list[slice]:
    """Cut a batch into pieces of at most so many tokens, with padding, and rows; each has a row.

    >>> pieces(np.array([2, 2, 3, 8]), most_tokens=9, most_rows=32)
    [slice(0, 3, None), slice(3, 4, None)]
    """
    found, start, longest = [], 0, 0
    for row, length in enumerate(lengths):
        longest = max(longest, int(length))
        n_rows = row + 1 - start
        if n_rows > 1 and (n_rows * longest > most_tokens or n_rows > most_rows):
            found.append(slice(start, row))
            start, longest = row, int(length)
    return [*found, slice(start, len(lengths))]
