"""Votes of weak models: the most probable class, and rows that abstain."""

from __future__ import annotations

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray, IntArray


def abstains(proba: FloatArray) -> BoolArray:
    """Whether all classes of a row (..., C) are equally probable, which is no vote for any.

    >>> abstains(np.array([[0.5, 0.5], [0.4, 0.6]])).tolist()
    [True, False]
    """
    return np.asarray(proba.max(axis=-1) == proba.min(axis=-1))


def votes(proba: FloatArray) -> IntArray:
    """Return the most probable class of each row (..., C), -1 where it abstains.

    >>> votes(np.array([[0.5, 0.5], [0.4, 0.6]])).tolist()
    [-1, 1]
    """
    return np.where(abstains(proba), -1, proba.argmax(axis=-1))
