"""Checks of arrays that users supply; every failure names the rows and what was expected."""

from __future__ import annotations

import numpy as np

from w2s_data.errors import FeatureError, InputError, ProbabilityError, rows
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState

PROBABILITY_TOLERANCE = 1e-3


def check_generator(random_state: RandomState) -> np.random.Generator:
    """Turn an int, a Generator or None into a Generator; the global state is never touched.

    >>> int(check_generator(0).integers(10)), int(check_generator(0).integers(10))
    (8, 8)
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None or isinstance(random_state, int | np.integer):
        return np.random.default_rng(random_state)
    raise InputError(
        f"random_state must be an int, a numpy Generator or None; got {random_state!r}"
    )


def check_proba(proba: AnyArray, name: str = "weak_proba") -> FloatArray:
    """Return class probabilities (N, C) as float64, or say which rows are not distributions.

    Raises
    ------
    ProbabilityError
        If the shape is not (N, C >= 2), a value leaves [0, 1], or a row does not sum to 1.
    """
    array = np.asarray(proba)
    if array.ndim != 2 or array.shape[1] < 2 or not np.issubdtype(array.dtype, np.number):
        raise ProbabilityError(
            f"{name} must be numbers of shape (N, C) with C >= 2 classes; "
            f"got {array.dtype} of shape {array.shape}"
        )
    array = array.astype(np.float64)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise ProbabilityError(f"{name} has NaN or infinite values in {rows(np.flatnonzero(bad))}")
    bad = ((array < -PROBABILITY_TOLERANCE) | (array > 1 + PROBABILITY_TOLERANCE)).any(axis=1)
    if bad.any():
        raise ProbabilityError(f"{name} leaves [0, 1] in {rows(np.flatnonzero(bad))}")
    total = array.sum(axis=1)
    bad = np.abs(total - 1) > PROBABILITY_TOLERANCE
    if bad.any():
        worst = np.flatnonzero(bad)
        raise ProbabilityError(
            f"{name} must sum to 1 in every row; {rows(worst)} do not "
            f"(row {worst[0]} sums to {total[worst[0]]:.4g})"
        )
    clipped = np.clip(array, 0.0, 1.0)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def check_feature_block(block: FloatArray, numbers: IntArray, name: str, *, nonzero: bool) -> None:
    """Refuse NaN, infinite and (where a direction is needed) zero rows of one block.

    Parameters
    ----------
    block : array (n, D)
    numbers : int array (n,)
        Row numbers in the whole matrix, for the message.

    Raises
    ------
    FeatureError
        Naming the rows.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        square = np.einsum("ij,ij->i", block, block)  # one pass; finite and positive for good rows
    doubtful = np.flatnonzero(~(np.isfinite(square) & (square > 0)))
    if not len(doubtful):
        return
    bad = doubtful[~np.isfinite(block[doubtful]).all(axis=1)]
    if len(bad):
        raise FeatureError(f"{name} have NaN or infinite values in {rows(numbers[bad])}")
    zero = doubtful[~block[doubtful].any(axis=1)]
    if nonzero and len(zero):
        raise FeatureError(
            f"{name} are all zero in {rows(numbers[zero])}: they have no direction to compare"
        )


def check_same_length(**arrays: AnyArray) -> int:
    """Return the common number of rows, or say which array has how many.

    >>> check_same_length(x=np.zeros(3), y=np.ones(3))
    3
    """
    lengths: dict[str, int] = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"row counts disagree: {found}")
    return next(iter(lengths.values()))
