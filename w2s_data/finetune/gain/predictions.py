"""Predictions of teacher and students item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.finetune.gain.data import GainData
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import mean_label, votes

SHARES = ("proba", "gold proba", "right")  # float32 columns of every student


def predict_items(
    data: GainData, test: Sequence[FloatArray], rest: Sequence[FloatArray]
) -> pd.DataFrame:
    """Join the predictions of the test rows, a set per seed, and those of all others, if any.

    The columns are those of `GainResult.predictions`; `label` is a code, -1 without a prediction.
    """
    table = pd.DataFrame({"label": np.full(len(data.labels), -1)})
    shares = {name: np.full(len(table), np.nan, dtype=np.float32) for name in SHARES}
    parts = [(data.rows("test"), test)]
    if len(rest):
        parts.append((data.other_rows, rest))
    for rows, probas in parts:
        gold = data.labels[rows]
        known = np.flatnonzero(gold >= 0)
        mean = np.asarray(np.mean(probas, axis=0, dtype=np.float64))
        label = mean.argmax(axis=1)
        table.loc[rows, "label"] = label
        shares["proba"][rows] = mean[np.arange(len(rows)), label]
        shares["gold proba"][rows[known]] = mean[known, gold[known]]
        right = [proba[known].argmax(axis=1) == gold[known] for proba in probas]
        shares["right"][rows[known]] = np.mean(right, axis=0)
    return table.assign(**shares)


def predictions_table(data: GainData, students: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per item, in the order of the items; see `GainResult.predictions`."""
    # Categories instead of strings: a million items take megabytes less.
    names = [str(name) for name in data.class_names]
    teacher = mean_label(data.weak_proba)
    weak_labels = votes(teacher)

    def named(codes: IntArray) -> Any:
        return pd.Categorical.from_codes(codes, pd.Index(names))

    columns: dict[str, Any] = {
        "row": np.arange(len(weak_labels)),
        "split": pd.Categorical(data.splits),
        **({} if data.test_splits is None else {"test_split": pd.Categorical(data.test_splits)}),
        "label": named(data.labels),
        "teacher / label": named(weak_labels),
        "teacher / proba": teacher[np.arange(len(weak_labels)), weak_labels].astype(np.float32),
    }
    for name, table in students.items():
        columns[f"{name} / label"] = named(table["label"].to_numpy())
        columns |= {f"{name} / {share}": table[share] for share in SHARES}
    return pd.DataFrame(columns)
