"""Class names, labels and weak probabilities from the columns of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from w2s_data.data.columns import Roles, WeakColumns, as_names, as_numbers, column
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, InputError, ProbabilityError, listing, rows, unknown
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_proba


def read_labels(raw: RawTable, name: str | None) -> pd.Series:
    """Return the label of each row as a class name, None where it is missing."""
    if name is None:
        return pd.Series([None] * len(raw.frame), dtype=object)  # not NaN, which is a float
    if name not in raw.class_names:
        return as_names(raw.frame[name])
    class_names = raw.class_names[name]
    # The format stores codes (the hub's ClassLabel), with -1 for a hidden label.
    codes = raw.frame[name].fillna(-1).to_numpy(dtype=np.int64)
    bad = np.flatnonzero((codes < -1) | (codes >= len(class_names)))
    if len(bad):
        raise ColumnError(
            f"label column {name!r} has codes outside its {len(class_names)} classes in {rows(bad)}"
        )
    return pd.Series(np.array([*class_names, None], dtype=object)[codes], dtype=object)


def resolve_class_names(
    raw: RawTable, roles: Roles, labels: pd.Series, given: Sequence[object] | None
) -> tuple[str, ...]:
    """Return class names as given, from the format, or sorted from labels and weak labels."""
    if given is not None:
        names = tuple(str(name) for name in given)
        if len(set(names)) < len(names):
            raise InputError(f"class_names repeat a name: {listing(names)}")
        return names
    if roles.label in raw.class_names:
        # The order of the format is that of the outputs of published models.
        return raw.class_names[str(roles.label)]
    known = sort_class_names(labels.dropna())
    if not known:
        return weak_class_names(raw.frame, roles.weak_columns, roles.weak_label)
    if roles.weak_label is not None:
        # A weak labeller may predict a class that no gold label shows.
        weak = weak_class_names(raw.frame, None, roles.weak_label)
        return sort_class_names({*known, *weak})
    return known


def read_weak(
    frame: pd.DataFrame, roles: Roles, class_names: Sequence[str]
) -> tuple[FloatArray | None, tuple[str, ...]]:
    """Return weak probabilities, and the names of several weak models."""
    if roles.weak_columns is not None:  # `Roles.checked` refuses both at once
        return weak_from_columns(frame, roles.weak_columns, class_names)
    if roles.weak_label is not None:
        level = roles.weak_confidence
        return weak_from_labels(frame, roles.weak_label, level, class_names), ()
    return None, ()


def sort_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, by value where all of them are numbers."""
    ordered = sorted(set(names))
    try:
        values = [float(name) for name in ordered]
    except ValueError:
        return tuple(ordered)
    if not all(math.isfinite(value) for value in values):  # a class may be called "nan" or "inf"
        return tuple(ordered)
    return tuple(name for _, name in sorted(zip(values, ordered, strict=True)))


def class_codes(names: pd.Series, class_names: Sequence[str], column_name: str) -> IntArray:
    """Return codes into `class_names`, -1 where missing; raise if a name is not a class."""
    codes = pd.Index(list(class_names)).astype(object).get_indexer(pd.Index(names.astype(object)))
    # get_indexer returns -1 for missing names and for names that are not classes alike.
    strange = np.flatnonzero((codes < 0) & names.notna().to_numpy())
    if len(strange):
        raise ColumnError(
            f"column {column_name!r}, {rows(strange)}: "
            + unknown("class", str(names.iloc[strange[0]]), list(class_names))
        )
    return np.asarray(codes, dtype=np.int64)


def weak_class_names(
    frame: pd.DataFrame, columns: WeakColumns | None, label: str | None
) -> tuple[str, ...]:
    """Return the class names that weak inputs imply, for data without labels.

    >>> weak_class_names(pd.DataFrame({"spam": [0.5]}), "spam", None)
    ('not spam', 'spam')
    """
    if label is not None:
        return sort_class_names(as_names(column(frame, label)).dropna())
    if columns is None:
        return ()
    first = next(iter(columns.values())) if isinstance(columns, Mapping) else columns
    names = [first] if isinstance(first, str) else [str(name) for name in first]
    # A single column holds the probability of the class it is named after, the second one.
    return (f"not {names[0]}", names[0]) if len(names) == 1 else tuple(names)


def weak_from_columns(
    frame: pd.DataFrame, columns: WeakColumns, class_names: Sequence[str]
) -> tuple[FloatArray, tuple[str, ...]]:
    """Return weak probabilities (N, C), or (N, M, C) and M names for a mapping of models."""
    if not isinstance(columns, Mapping):
        return _one_weak_model(frame, columns, class_names), ()
    if not columns:
        raise ColumnError("weak_columns names no weak model: give {model name: columns}")
    models = [_one_weak_model(frame, names, class_names) for names in columns.values()]
    return np.stack(models, axis=1), tuple(str(name) for name in columns)


def _one_weak_model(
    frame: pd.DataFrame, columns: str | Sequence[str], class_names: Sequence[str]
) -> FloatArray:
    names = [columns] if isinstance(columns, str) else list(columns)
    if set(names) == set(class_names):
        names = list(class_names)  # columns named after the classes may come in any order
    if len(names) != len(class_names) and not (len(names) == 1 and len(class_names) == 2):
        raise ProbabilityError(
            f"weak columns {listing(names)} are {len(names)}, but there are {len(class_names)} "
            f"classes: {listing(class_names)}; give one column per class, in this order"
        )
    values = as_numbers(frame, names)
    if len(names) == 1:
        values = np.column_stack([1 - values[:, 0], values[:, 0]])
    return check_proba(values, f"weak columns {listing(names)}")


def weak_from_labels(
    frame: pd.DataFrame, label: str, confidence: str | None, class_names: Sequence[str]
) -> FloatArray:
    """Return probabilities (N, C): c on the label, (1 - c)/(C - 1) on the other classes."""
    n_classes = len(class_names)
    if n_classes < 2:
        raise ProbabilityError(
            f"weak labels need two classes or more; there is only {listing(class_names)}"
        )
    names = as_names(column(frame, label))
    codes = class_codes(names, class_names, label)
    if (codes < 0).any():
        raise ColumnError(
            f"weak label column {label!r} is empty in {rows(np.flatnonzero(codes < 0))}"
        )
    level = np.ones(len(frame)) if confidence is None else as_numbers(frame, [confidence])[:, 0]
    # Below 1/C another class would be likelier than the label; 1e-6 allows for decimal rounding.
    bad = np.flatnonzero(~((level >= 1 / n_classes - 1e-6) & (level <= 1 + 1e-6)))
    if len(bad):
        raise ProbabilityError(
            f"weak confidence column {confidence!r} must lie in [1/{n_classes}, 1]; "
            f"{rows(bad)} do not (row {bad[0]} holds {level[bad[0]]:g})"
        )
    proba = np.repeat(((1 - level) / (n_classes - 1))[:, None], n_classes, axis=1)
    proba[np.arange(len(frame)), codes] = level
    return check_proba(proba, f"weak labels {label!r}")
