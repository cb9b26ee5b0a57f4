"""Weak labels as a table: an id, then "weak model / class" for each, or values and errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from w2s_data.data.columns import ERROR_SUFFIX
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import ColumnError, listing
from w2s_data.utils.stage import WEAK_PROBA, WEAK_VALUES
from w2s_data.utils.typing import AnyArray, FloatArray


def proba_table(
    dataset: W2SDataset, proba: FloatArray, weak_names: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Arrange weak probabilities (N, C) or (N, M, C) as a table with the ids of the data set."""
    stacked = proba if proba.ndim == 3 else proba[:, None, :]
    names = weak_names or tuple(
        "weak" if stacked.shape[1] == 1 else f"weak {m}" for m in range(stacked.shape[1])
    )
    columns = [f"{model} / {name}" for model in names for name in dataset.class_names]
    table = pd.DataFrame(stacked.reshape(len(dataset), -1), columns=columns)
    table.insert(0, "id", dataset.ids)
    return table


def weak_tables(dataset: W2SDataset) -> dict[str, pd.DataFrame]:
    """Return the weak labels that came with the data as tables, by the file of a run."""
    tables = {}
    if dataset.weak_proba is not None:
        tables[WEAK_PROBA] = proba_table(dataset, dataset.weak_proba, dataset.weak_names)
    if dataset.weak_values is not None:
        weak = dataset.weak_values, dataset.weak_errors, dataset.weak_names
        tables[WEAK_VALUES] = values_table(dataset.ids, *weak)
    return tables


def proba_of(table: pd.DataFrame, class_names: tuple[str, ...]) -> FloatArray:
    """Return the weak probabilities (N, M, C) of such a table.

    Raise ColumnError if its columns are not those of the classes, in their order.
    """
    columns = [str(name) for name in table.columns if name != "id"]
    models, rest = divmod(len(columns), len(class_names)) if class_names else (0, 1)
    expected = tuple(f" / {name}" for name in class_names) * models
    if rest or not all(map(str.endswith, columns, expected)):
        raise ColumnError(
            f"weak probabilities of classes {listing(class_names)} are in columns of other "
            f"classes: {listing(columns)}"
        )
    values = table.drop(columns="id", errors="ignore").to_numpy(dtype=np.float64)
    stacked: FloatArray = values.reshape(len(values), models, len(class_names))
    return stacked


def values_table(
    ids: AnyArray, values: FloatArray, errors: FloatArray | None, names: Sequence[str]
) -> pd.DataFrame:
    """Arrange weak values (N, M) and their errors as a table: an id, then NAME and NAME_error.

    Errors that nobody knows are missing.
    """
    unknown = np.full(values.shape, np.nan) if errors is None else errors
    columns: dict[str, AnyArray] = {"id": ids}
    for m, name in enumerate(names):
        columns |= {name: values[:, m], f"{name}{ERROR_SUFFIX}": unknown[:, m]}
    return pd.DataFrame(columns)


def values_of(table: pd.DataFrame) -> tuple[FloatArray, FloatArray | None, tuple[str, ...]]:
    """Return values (N, M), errors (None where all are missing) and names from such a table.

    >>> table = values_table(np.array(["a"]), np.array([[1.5]]), None, ["old"])
    >>> values_of(table)
    (array([[1.5]]), None, ('old',))
    """
    columns = [str(name) for name in table.columns if name != "id"]
    names = tuple(columns[::2])
    if columns[1::2] != [f"{name}{ERROR_SUFFIX}" for name in names]:
        raise ColumnError(f"weak values need columns NAME and NAME_error; got {listing(columns)}")
    values = table[list(names)].to_numpy(dtype=np.float64)
    errors = table[columns[1::2]].to_numpy(dtype=np.float64)
    return values, None if np.isnan(errors).all() else errors, names
