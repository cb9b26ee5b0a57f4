"""Weak probabilities as a table: an id, then a column "weak model / class" for each."""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import ColumnError, listing
from w2s_data.utils.typing import FloatArray


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
