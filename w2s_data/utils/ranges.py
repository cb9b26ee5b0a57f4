"""Ranges of equal counts, by which values are named and coloured."""

from __future__ import annotations

import itertools

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray


def quantile_ranges(values: FloatArray, parts: int) -> tuple[list[str], IntArray]:
    """Divide values into ranges of equal counts: names, and the range of each, -1 if unknown.

    There are fewer ranges where many values are equal, and none where all are.

    >>> names, codes = quantile_ranges(np.array([1.0, 2.0, 3.0, 4.0, np.nan]), 2)
    >>> names, codes.tolist()
    (['1 to 2.5', '2.5 to 4'], [0, 0, 1, 1, -1])
    """
    codes = np.full(len(values), -1)
    known = np.isfinite(values)
    if not known.any():
        return [], codes
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, parts + 1)))
    names = [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]
    if names:
        place = np.searchsorted(edges, values[known], side="right") - 1
        codes[known] = np.clip(place, 0, len(names) - 1)
    return names, codes
