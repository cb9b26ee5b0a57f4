"""Predictions of teacher and students item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.finetune.gain.checkpoint import Predictions
from w2s_data.finetune.gain.data import GainData
from w2s_data.utils.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Predicted:
    """Predictions of a student for N items, over its seeds; NaN where there is no gold label."""

    label: IntArray  # (N,), most probable class of the mean over seeds; -1 without a prediction
    proba: FloatArray  # float32 (N,), mean probability of that class
    gold_proba: FloatArray  # float32 (N,), mean probability of the gold class
    right: FloatArray  # float32 (N,), share of the seeds that are right


def predict_items(data: GainData, seeds: Sequence[Predictions]) -> Predicted:
    """Join the predictions of test rows and, where they were computed, of all others."""
    n = len(data.labels)
    result = Predicted(np.full(n, -1), *(np.full(n, np.nan, dtype=np.float32) for _ in range(3)))
    test = data.rows("test")
    parts = [(test, [each.test[""] for each in seeds])]
    if seeds[0].rest is not None:
        others = np.setdiff1d(np.arange(n), test)
        parts.append((others, [each.rest for each in seeds if each.rest is not None]))
    for rows, probas in parts:
        gold = data.labels[rows]
        known = np.flatnonzero(gold >= 0)
        mean = np.asarray(np.mean(probas, axis=0, dtype=np.float64))
        label = mean.argmax(axis=1)
        result.label[rows] = label
        result.proba[rows] = mean[np.arange(len(rows)), label]
        result.gold_proba[rows[known]] = mean[known, gold[known]]
        right = [proba[known].argmax(axis=1) == gold[known] for proba in probas]
        result.right[rows[known]] = np.mean(right, axis=0)
    return result


def predictions_table(data: GainData, students: Mapping[str, Predicted]) -> pd.DataFrame:
    """Return one row per item, in the order of the items; see `GainResult.predictions`."""
    # Categories instead of strings: a million items take megabytes less.
    names = [str(name) for name in data.class_names]
    teacher = data.weak_proba.mean(axis=1)
    weak_labels = teacher.argmax(axis=1)

    def named(codes: IntArray) -> Any:
        return pd.Categorical.from_codes(codes, pd.Index(names))

    columns: dict[str, Any] = {
        "row": np.arange(len(weak_labels)),
        "split": pd.Categorical(data.splits),
        "label": named(data.labels),
        "teacher / label": named(weak_labels),
        "teacher / proba": teacher[np.arange(len(weak_labels)), weak_labels].astype(np.float32),
    }
    for name, result in students.items():
        columns[f"{name} / label"] = named(result.label)
        columns[f"{name} / proba"] = result.proba
        columns[f"{name} / gold proba"] = result.gold_proba
        columns[f"{name} / right"] = result.right
    return pd.DataFrame(columns)
