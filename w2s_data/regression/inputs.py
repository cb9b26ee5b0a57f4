"""Checks of weak values, their errors and targets; and the mean of several teachers."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.errors import InputError, rows
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_magnitude

# Errors below it count as this large: their squares leave the range of float64.
LEAST_ERROR = float(np.finfo(np.float64).tiny) ** 0.25


def check_weak_values(weak_values: Any, n_rows: int, name: str = "weak_values") -> FloatArray:
    """Return weak values (N, M) as float64, NaN where a teacher abstains.

    >>> check_weak_values([1.0, 2.0], 2).shape
    (2, 1)
    """
    values = _numbers(weak_values, name)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != n_rows or not values.shape[1]:
        raise InputError(
            f"{name} must be numbers of shape ({n_rows},) or ({n_rows}, M) of M teachers; got "
            f"shape {values.shape}"
        )
    infinite = np.flatnonzero(np.isinf(values).any(axis=1))
    if len(infinite):
        raise InputError(f"{name} are infinite in {rows(infinite)}: NaN stands for no value")
    if not np.isfinite(values).any():
        raise InputError(f"{name} are NaN everywhere: no teacher says anything")
    return values


def check_teachers(weak_values: FloatArray, n_teachers: int, name: str, whose: str) -> None:
    """Raise unless weak values (N, M) are those of as many teachers as other rows have."""
    if weak_values.shape[1] != n_teachers:
        raise InputError(f"{name} have {weak_values.shape[1]} teachers, {whose} {n_teachers}")


def check_weak_errors(weak_errors: Any, weak_values: FloatArray) -> FloatArray | None:
    """Return standard errors (N, M) of weak values, NaN where unknown; None if there are none."""
    if weak_errors is None:
        return None
    errors = _numbers(weak_errors, "weak_errors")
    if errors.ndim == 1:
        errors = errors[:, None]
    if errors.shape != weak_values.shape:
        raise InputError(
            f"weak_errors must have the shape of weak_values, {weak_values.shape}; got "
            f"{errors.shape}"
        )
    bad = np.flatnonzero((errors < 0).any(axis=1) | np.isinf(errors).any(axis=1))
    if len(bad):
        raise InputError(f"weak_errors must be finite and >= 0; they are not in {rows(bad)}")
    return errors if np.isfinite(errors).any() else None


def check_gold_values(targets: Any, n_rows: int, name: str = "targets") -> FloatArray:
    """Return gold values (N,) as float64, NaN where there is none.

    >>> check_gold_values(None, 2).tolist()
    [nan, nan]
    """
    if targets is None:
        return np.full(n_rows, np.nan)
    values = _numbers(targets, name)
    if values.shape != (n_rows,):
        raise InputError(f"{name} must have shape ({n_rows},); got {values.shape}")
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise InputError(f"{name} are infinite in {rows(infinite)}: NaN stands for no gold value")
    return values


def check_held_out(inputs: Any, values: Any) -> FloatArray:
    """Return the values (V,) of validation rows as float64; every row needs one."""
    targets = _numbers(values, "validation values")
    n_rows = inputs.shape[0] if hasattr(inputs, "shape") else len(inputs)
    if targets.shape != (n_rows,):
        raise InputError(f"validation values must have shape ({n_rows},); got {targets.shape}")
    bad = np.flatnonzero(~np.isfinite(targets))
    if len(bad):
        raise InputError(f"validation values must be finite; they are not in {rows(bad)}")
    return targets


def check_rows(chosen: AnyArray | None, n_rows: int, name: str) -> AnyArray:
    """Return row numbers, ascending, of a mask (N,) or of row numbers; all rows by default."""
    if chosen is None:
        return np.arange(n_rows)
    given = np.asarray(chosen)
    if given.dtype == bool:
        if given.shape != (n_rows,):
            raise InputError(f"{name} must have shape ({n_rows},) as a mask; got {given.shape}")
        return np.flatnonzero(given)
    if given.dtype.kind not in "iu" or (
        given.size and not 0 <= given.min() <= given.max() < n_rows
    ):
        raise InputError(f"{name} must be a mask or row numbers from 0 to {n_rows - 1}")
    return np.unique(given)


def mean_value(
    weak_values: FloatArray, weak_errors: FloatArray | None = None
) -> tuple[FloatArray, FloatArray | None]:
    """Return the mean (N,) of the teachers that answer, and its standard error.

    With errors the mean weights teachers by 1 / error^2; its error is that of one teacher of mean
    precision, as teachers share mistakes. A value without an error has the mean one; where no value
    has one, teachers weigh the same.

    >>> values, errors = mean_value(np.array([[1.0, 3.0], [2.0, np.nan]]))
    >>> values.tolist(), errors
    ([2.0, 2.0], None)
    """
    known = np.isfinite(weak_values)
    count = known.sum(axis=1)
    if weak_errors is not None and not (known & np.isfinite(weak_errors)).any():
        weak_errors = None
    if weak_errors is None:
        precision = known.astype(np.float64)
    else:
        usual = np.sqrt(np.nanmean(np.where(known, weak_errors, np.nan) ** 2))
        own = np.where(np.isfinite(weak_errors), weak_errors, usual)
        # An error of 0 would decide alone.
        precision = known / np.maximum(own, 1e-3 * usual + LEAST_ERROR) ** 2
    total = precision.sum(axis=1)
    silent = np.full(len(total), np.nan)
    sums = (precision * np.where(known, weak_values, 0.0)).sum(axis=1)
    values = np.divide(sums, total, out=silent.copy(), where=count > 0)
    if weak_errors is None:
        return values, None
    return values, np.sqrt(np.divide(count, total, out=silent, where=count > 0))


def _numbers(values: Any, name: str) -> FloatArray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be numbers; got {np.asarray(values).dtype}") from None
    check_magnitude(numbers, name)
    return numbers
