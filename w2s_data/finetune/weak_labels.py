"""Pseudo-labels of one or several teachers, soft or hard, as one array of distributions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from w2s_data.errors import DegenerateDataWarning, InputError, ProbabilityError, listing, rows
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_proba
from w2s_data.utils.votes import votes


def as_weak_proba(
    labels: Any, class_names: Sequence[object] | None = None
) -> tuple[FloatArray, AnyArray]:
    """Convert pseudo-labels of any form to distributions (N, M, C) and the classes (C,).

    `labels` are probabilities (N, C) or (N, M, C), labels (N,), or a list of such arrays, one per
    teacher. By default the classes of probabilities are 0 ... C - 1, those of labels are the ones
    that occur, sorted.

    A `ProbabilityError` names the teacher and the rows that are not distributions; teachers that
    disagree in rows or classes, or a label that is not among the classes, are an `InputError`.

    >>> as_weak_proba(["no", "yes"])
    (array([[[1., 0.]],
           [[0., 1.]]]), array(['no', 'yes'], dtype='<U3'))
    """
    parts = _split(labels)
    if len({len(part) for part in parts}) > 1:
        raise InputError(f"weak_proba: teachers disagree in rows: {[len(part) for part in parts]}")
    if len(parts[0]) == 0:
        raise InputError("weak_proba has no rows: the pool is empty")
    classes = _classes(parts, class_names)
    columns = [
        _one_hot(part, classes, m) if part.ndim == 1 else check_proba(part, f"teacher {m}")
        for m, part in enumerate(parts)
    ]
    for m, column in enumerate(columns):
        if column.shape[1] != len(classes):
            raise InputError(
                f"teacher {m} has {column.shape[1]} classes; expected {len(classes)} "
                f"({listing(classes.tolist())})"
            )
    # Without a copy of a single teacher's probabilities.
    stacked = np.stack(columns, axis=1) if len(columns) > 1 else columns[0][:, None]
    # A student of a single pseudo-label trains without error, and its gain means nothing.
    cast = votes(stacked.mean(axis=1))
    only = np.unique(cast[cast >= 0])
    if len(only) == 1:
        warnings.warn(
            f"every pseudo-label is {classes[only].tolist()[0]!r}: the student can only repeat it",
            DegenerateDataWarning,
            stacklevel=3,
        )
    return stacked, classes


def check_posterior(posterior: Any, weak_proba: FloatArray) -> FloatArray:
    """Return a posterior (N, C) for rows with weak probabilities (N, M, C), or raise."""
    proba = check_proba(np.asarray(posterior), "posterior")
    wanted = (len(weak_proba), weak_proba.shape[2])
    if proba.shape != wanted:
        raise InputError(f"posterior must have shape {wanted}; got {proba.shape}")
    return proba


def _split(labels: Any) -> list[AnyArray]:
    """One array per teacher: (N, C), or (N,) of hard labels."""
    # A list of arrays holds teachers; a list of lists holds the rows of one teacher.
    several = isinstance(labels, list | tuple) and labels and isinstance(labels[0], np.ndarray)
    if several and labels[0].ndim > 0:
        return [np.asarray(teacher) for teacher in labels]
    array = np.asarray(labels)
    if array.ndim == 3:
        return [array[:, m] for m in range(array.shape[1])]
    if array.ndim not in (1, 2):
        raise ProbabilityError(
            f"weak_proba must have shape (N,), (N, C) or (N, M, C); got {array.shape}"
        )
    return [array]


def _classes(parts: list[AnyArray], class_names: Sequence[object] | None) -> AnyArray:
    if class_names is not None:
        names = np.asarray(class_names)
        if len(np.unique(names)) != len(names) or len(names) < 2:
            raise InputError(f"class_names must be at least two different names; got {names}")
        return names
    soft = [part for part in parts if part.ndim == 2]
    if soft:
        return np.arange(soft[0].shape[1])
    occurring = np.unique(np.concatenate(parts))
    if len(occurring) < 2:
        raise InputError(
            f"every hard label is {occurring.tolist()[0]!r}; pass class_names with the others"
        )
    return occurring


def _one_hot(labels: AnyArray, classes: AnyArray, teacher: int) -> FloatArray:
    matches = labels[:, None] == classes
    if not matches.any(axis=1).all():
        unknown = np.flatnonzero(~matches.any(axis=1))
        raise InputError(
            f"teacher {teacher} has labels that are not classes in {rows(unknown)}: "
            f"{listing(np.unique(labels[unknown]).tolist())}; classes: {listing(classes.tolist())}"
        )
    return np.asarray(matches, dtype=np.float64)
