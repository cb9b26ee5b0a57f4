"""Votes of weak models: the most probable class, and rows that abstain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from w2s_data.errors import InputError, listing
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


def teacher_names(names: Sequence[str] | None, n_teachers: int) -> tuple[str, ...]:
    """Return a name for each teacher, by default its number; raise for more names or fewer.

    >>> teacher_names((), 1), teacher_names((), 2)
    (('teacher',), ('teacher 0', 'teacher 1'))
    """
    given = (names,) if isinstance(names, str) else tuple(() if names is None else names)
    if not given:
        several = tuple(f"teacher {m}" for m in range(n_teachers))
        return ("teacher",) if n_teachers == 1 else several
    if len(given) != n_teachers:
        raise InputError(
            f"weak_names must hold one name for each teacher ({n_teachers} here); got "
            f"{len(given)}: {listing(given)}"
        )
    return given


def voting_teachers(weak_proba: FloatArray) -> BoolArray:
    """Whether each teacher (M,) votes on any row (N, M, C); all of them where none does.

    >>> voting_teachers(np.array([[[0.5, 0.5], [0.4, 0.6]]])).tolist()
    [False, True]
    """
    voted = ~abstains(weak_proba).all(axis=0)
    return np.asarray(voted | ~voted.any())


def chance(proba: FloatArray, codes: IntArray) -> FloatArray:
    """Return the probability (..., n) of class codes (..., n) by rows (n, C), NaN for a code of -1.

    With a posterior and the `votes` of a weak model it is the trust in them.

    >>> chance(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([[1, -1], [0, 0]])).tolist()
    [[0.8, nan], [0.2, 0.6]]
    """
    return np.where(codes < 0, np.nan, proba[np.arange(len(proba)), np.maximum(codes, 0)])


def mean_label(weak_proba: FloatArray) -> FloatArray:
    """Average teachers (N, M, C) to (N, C) without those that abstain; uniform where all do.

    Probabilities (N, C) are those of one teacher, and returned as they are.

    >>> mean_label(np.array([[[0.5, 0.5], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]]])).tolist()
    [[0.1, 0.9], [0.5, 0.5]]
    """
    if weak_proba.ndim == 2:
        return weak_proba
    voted = ~abstains(weak_proba)
    if voted.all():
        return np.asarray(weak_proba.mean(axis=1))
    total = np.einsum("nm,nmc->nc", voted, weak_proba)
    count = voted.sum(axis=1, keepdims=True)
    uniform = np.full_like(total, 1 / total.shape[1])
    return np.asarray(np.divide(total, count, out=uniform, where=count > 0))
