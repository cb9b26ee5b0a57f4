"""Checks of the parameters and arrays that users supply.

Every failure names the parameter or the rows, the values that are allowed, and the one given.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.errors import FeatureError, InputError, ProbabilityError, listing, rows
from w2s_data.utils.constants import MOST_PENALTY, MOST_SEEDS
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState

# Probabilities that a model computed in half precision sum to 1 only to three digits.
PROBABILITY_TOLERANCE = 1e-3
# Squares of values, and sums of many of them, stay within the range of float64.
LARGEST = 1e100


@dataclass(frozen=True)
class Constraint:
    """Values that a parameter allows; join two constraints with ``|``."""

    allowed: str  # in words, to follow "must be"
    accepts: Callable[[Any], bool]
    names: tuple[str, ...] = ()  # valid names, from which an error suggests the nearest

    def __or__(self, other: Constraint) -> Constraint:
        return Constraint(
            f"{self.allowed} or {other.allowed}",
            lambda value: self.accepts(value) or other.accepts(value),
            self.names + other.names,
        )


def whole(low: int | None = None, high: int | None = None) -> Constraint:
    """Allow integers from `low` to `high`, both included."""
    at_least = "" if low is None else f" >= {low}"
    limits = at_least if high is None else f" from {low} to {high}"

    def accepts(value: Any) -> bool:
        if not _is_number(value, Integral):
            return False
        return (low is None or value >= low) and (high is None or value <= high)

    return Constraint(f"an integer{limits}", accepts)


def between(
    low: float, high: float, closed: Literal["both", "left", "right", "neither"] = "both"
) -> Constraint:
    """Allow finite numbers from `low` to `high`; `closed` says which limits are included."""
    left, right = closed in ("both", "left"), closed in ("both", "right")
    if high < math.inf:
        limits = f"in {'(['[left]}{low:g}, {high:g}{')]'[right]}"
    else:
        limits = f"{'>='[: 1 + left]} {low:g}"

    def accepts(value: Any) -> bool:
        # An integer beyond the floats is too large for every limit, and isfinite cannot take it.
        huge = isinstance(value, int) and abs(value) > sys.float_info.max
        if not _is_number(value, Real) or huge or not math.isfinite(value):
            return False
        return low < value < high or (left and value == low) or (right and value == high)

    return Constraint(f"a number {limits}", accepts)


def _is_number(value: Any, kind: type) -> bool:
    # A bool is an integer to Python, but True is never a count or a share.
    return isinstance(value, kind) and not isinstance(value, bool)


share = between(0, 1, closed="neither")
positive = between(0, math.inf, closed="neither")
nonnegative = between(0, math.inf, closed="left")
penalty = between(0, MOST_PENALTY)


def one_of(*values: str | bool | None) -> Constraint:
    """Allow the given values only: names, None, True or False."""
    *first, last = (repr(value) for value in values)
    names = tuple(value for value in values if isinstance(value, str))
    return Constraint(
        f"{', '.join(first)} or {last}" if first else last,
        # Types are compared as well, since 1 == True and arrays compare elementwise.
        lambda value: any(type(value) is type(v) and value == v for v in values),
        names,
    )


def check_parameters(
    parameters: Any, constraints: Mapping[str, Constraint], error: type[InputError] = InputError
) -> None:
    """Raise at the first attribute (or value of a mapping) that its constraint does not accept.

    >>> limits = {"level": share, "n_jobs": one_of(None) | whole(1)}
    >>> check_parameters({"level": 0.9, "n_jobs": None}, limits)
    >>> check_parameters({"level": 95, "n_jobs": None}, limits)
    Traceback (most recent call last):
    w2s_data.errors.InputError: level must be a number in (0, 1); got 95
    """
    for name, constraint in constraints.items():
        mapped = isinstance(parameters, Mapping)
        value = parameters[name] if mapped else getattr(parameters, name)
        if not constraint.accepts(value):
            close = difflib.get_close_matches(str(value), constraint.names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            shown = " ".join(line.strip() for line in repr(value).splitlines())
            raise error(f"{name} must be {constraint.allowed}; got {shown}{hint}")


def check_generator(random_state: RandomState) -> np.random.Generator:
    """Turn an int, a Generator or None into a Generator; the global state is never touched.

    >>> int(check_generator(0).integers(10)), int(check_generator(0).integers(10))
    (8, 8)
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None or whole(0).accepts(random_state):
        return np.random.default_rng(random_state)
    raise InputError(
        f"random_state must be an int >= 0, a numpy Generator or None; got {random_state!r}"
    )


def root_seed(random_state: RandomState) -> int:
    """Return an int unchanged; draw one from a Generator, or from fresh entropy for None.

    >>> root_seed(7)
    7
    """
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state)
    return int(check_generator(random_state).integers(2**63))


def check_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of seeds: 0 to `seeds` - 1, or the given different ones.

    >>> check_seeds(3), check_seeds([5, 1])
    ((0, 1, 2), (5, 1))
    """
    if isinstance(seeds, int | np.integer):
        numbers = tuple(range(seeds)) if seeds <= MOST_SEEDS else ()
    else:
        numbers = tuple(seeds)
    good = all(isinstance(seed, int | np.integer) and seed >= 0 for seed in numbers)
    if not numbers or not good or len(set(numbers)) < len(numbers):
        raise InputError(
            f"seeds must be a number from 1 to {MOST_SEEDS} or different integers >= 0; got "
            f"{seeds!r}"
        )
    return tuple(int(seed) for seed in numbers)


def check_weights(sample_weight: Any, n: int, name: str = "sample_weight") -> FloatArray:
    """Return weights (n,) of rows, 1 by default; raise unless they are finite and >= 0."""
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,):
        raise InputError(f"{name} must have shape ({n},); got {weights.shape}")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise InputError(f"{name} must be finite and >= 0; it is not in {rows(bad)}")
    if not weights.any():
        raise InputError(f"{name} is zero everywhere")
    return weights


def check_codes(codes: Any, n: int, n_classes: int, name: str, *, unknown: bool) -> IntArray:
    """Return class codes (n,); -1 stands for an unknown class where those are allowed.

    >>> check_codes([0, 2, -1], 3, 3, "gold", unknown=True).tolist()
    [0, 2, -1]
    """
    array = np.asarray(codes)
    missing = ", -1 where there is no label" if unknown else ""
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise InputError(
            f"{name} must be class codes of shape ({n},){missing}; got {array.dtype} of "
            f"{array.shape}"
        )
    bad = np.flatnonzero((array < -unknown) | (array >= n_classes))
    if len(bad):
        raise InputError(
            f"{name} must be class codes from 0 to {n_classes - 1}{missing}; row {bad[0]} holds "
            f"{array[bad[0]]}" + (f", and {len(bad) - 1:,} more are wrong" if len(bad) > 1 else "")
        )
    return array.astype(np.int64)


def check_rows(chosen: Any, n_rows: int, name: str) -> IntArray:
    """Return row numbers as they are given, or those of a mask in ascending order.

    >>> check_rows([2, 0], 3, "rows").tolist(), check_rows([True, False, True], 3, "rows").tolist()
    ([2, 0], [0, 2])
    """
    numbers = np.asarray(chosen)
    if numbers.dtype == bool:
        if numbers.shape != (n_rows,):
            raise InputError(f"{name} must be a mask of {n_rows} rows; got {numbers.shape}")
        return np.flatnonzero(numbers)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise InputError(
            f"{name} must be row numbers or a mask; got {numbers.dtype} of shape {numbers.shape}"
        )
    outside = numbers[(numbers < 0) | (numbers >= n_rows)]
    if len(outside):
        raise InputError(f"{name} has row {outside[0]}, the features have {n_rows} rows")
    return numbers.astype(np.int64)


def check_proba(proba: AnyArray, name: str = "weak_proba") -> FloatArray:
    """Return class probabilities (N, C) as float64, or say which rows are not distributions."""
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
            f"{name} must sum to 1 in every row; {rows(worst)} "
            f"{'does' if len(worst) == 1 else 'do'} not "
            f"(row {worst[0]} sums to {total[worst[0]]:.4g})"
        )
    # Errors within the tolerance are removed, so that callers may rely on exact sums. In place,
    # since with many items and classes each copy takes hundreds of megabytes.
    np.clip(array, 0.0, 1.0, out=array)
    array /= array.sum(axis=1, keepdims=True)
    return array


def check_feature_block(block: FloatArray, numbers: IntArray, name: str, *, nonzero: bool) -> None:
    """Raise for NaN, infinite, too large and, if `nonzero`, all-zero or too small rows of a block.

    `numbers` are the row numbers of the block in the whole matrix, for the FeatureError.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        # One pass; finite and normal for good rows. At least in float32, as they are computed with.
        exact = np.result_type(block.dtype, np.float32)
        square = np.einsum("ij,ij->i", block, block, dtype=exact)
    normal = np.finfo(exact).tiny
    doubtful = np.flatnonzero(~(np.isfinite(square) & (square >= normal)))
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
    # Lengths and variances of such rows overflow, or vanish, and are wrong in silence.
    large = ~np.isfinite(square[doubtful])
    far = doubtful[large | (square[doubtful] < normal if nonzero else False)]
    if len(far):
        size = "large" if large.any() else "small"
        raise FeatureError(
            f"{name} are too {size} to square in {rows(numbers[far])} (row {numbers[far[0]]} "
            f"reaches {np.abs(block[far[0]]).max():.0e}): bring all features to another scale"
        )


def check_names(
    values: ArrayLike, name: str, numbers: IntArray | None = None
) -> tuple[list[Any], IntArray]:
    """Return the different names (of any type) in order of appearance, and the code of each row.

    `numbers` are row numbers for the message about missing names, by default 0 ... N - 1.

    >>> names, codes = check_names(["web", "crowd", "web"], "sources")
    >>> names, codes.tolist()
    (['web', 'crowd'], [0, 1, 0])
    """
    import pandas as pd

    array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise InputError(f"{name} must hold one name per row; got shape {array.shape}")
    missing = np.flatnonzero(pd.isna(array))
    if len(missing):
        bad = missing if numbers is None else numbers[missing]
        raise InputError(f"{name} are missing in {rows(bad)}: name them, or drop these rows")
    codes, names = pd.factorize(array)
    return list(names), np.asarray(codes, dtype=np.int64)


def check_same_length(**arrays: Sized) -> int:
    """Return the common number of rows; raise with the length of each array.

    >>> check_same_length(x=np.zeros(3), y=np.ones(3))
    3
    """
    missing = [name for name, array in arrays.items() if array is None]
    if missing:
        raise InputError(f"{listing(missing)} must hold one entry per row; got None")
    lengths: dict[str, int] = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError(f"row counts disagree: {counts}")
    return next(iter(lengths.values()))


def check_magnitude(values: FloatArray, name: str) -> None:
    """Raise for values so large or small that their squares leave the range of float64.

    >>> check_magnitude(np.array([0.0, 1e-3, np.nan]), "targets")
    """
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    if largest and not 1 / LARGEST < largest < LARGEST:
        raise InputError(
            f"{name} must be between {1 / LARGEST:g} and {LARGEST:g} in size, as values are "
            f"squared; the largest is {largest:g}: give them in another unit"
        )
