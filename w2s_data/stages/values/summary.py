"""Summary of a scored run of values: that of its regions, with errors of the weak values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.describing import spread_of
from w2s_data.data.splits import SPLITS
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.overlap.summary import summarize_overlap
from w2s_data.stages.gold import gold_rows
from w2s_data.utils.intervals import positive_mean_estimate
from w2s_data.utils.typing import FloatArray, IntArray

OURS = (
    " The confidence of a value is the share of the targets' variance that its standard error "
    "leaves explained, a definition of this package: the paper has one for classes only."
)


def summarize_value_overlap(
    detector: OverlapDetector, dataset: W2SDataset, scores: pd.DataFrame, notes: list[str]
) -> dict[str, Any]:
    """Return the content of `overlap.json`: `summarize_overlap`, targets, and errors.

    `weak_mse` stands in the place of accuracies: overall, by region, source and group, each with
    the number of gold rows behind it; "gold" is about the rows that the labelled split has.
    """
    summary = summarize_overlap(detector, dataset, scores, notes)
    pool = scores["split"].to_numpy() == "pool"
    wrong = dataset.targets - scores["weak_value"].to_numpy()
    level = detector.level

    def errors(rows: IntArray) -> dict[str, Any] | None:
        return mean_square(wrong[rows], dataset.targets[rows], level)

    for name, region in summary["regions"].items():
        region["weak_mse"] = errors(np.flatnonzero(pool & (scores["region"] == name)))
    for column in ("source", "group"):
        for record in summary[f"by_{column}"]:
            record["weak_mse"] = errors(np.flatnonzero(pool & (scores[column] == record["name"])))
    targets = {split: spread_of(dataset.targets[dataset.rows(split)]) for split in SPLITS}
    known = {split: int(dataset.is_labelled[dataset.rows(split)].sum()) for split in SPLITS}
    return summary | {
        "task": dataset.task,
        "targets": {s: spread | {"n": known[s]} for s, spread in targets.items() if known[s]},
        "weak_mse": errors(np.flatnonzero(pool)),
        "gold_mse": errors(gold_rows(dataset).rows),
        "reading": summary["reading"] + OURS,
    }


def mean_square(wrong: FloatArray, targets: FloatArray, level: float) -> dict[str, Any] | None:
    """Return the mean squared error of rows with a target, with interval, n and r2; None of none.

    >>> found = mean_square(np.array([1.0, -1.0, np.nan]), np.array([0.0, 4.0, np.nan]), 0.95)
    >>> found["value"], found["n"], found["r2"]
    (1.0, 2, 0.75)
    """
    known = np.isfinite(wrong)
    if not known.any():
        return None
    squares, variance = wrong[known] ** 2, float(targets[known].var())
    r2 = 1 - float(squares.mean()) / variance if variance > 0 else None
    return positive_mean_estimate(squares, level).to_dict() | {"n": int(known.sum()), "r2": r2}
