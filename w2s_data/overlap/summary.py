"""What a scored run says, as plain numbers and one honest sentence: `overlap.json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.load import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.intervals import wilson_interval
from w2s_data.utils.typing import AnyArray

UNIFORM_EXPLAINED = 0.75  # share of variance that a split of evenly spread values explains


def summarize_overlap(
    detector: OverlapDetector,
    dataset: W2SDataset,
    scores: pd.DataFrame,
    notes: list[str],
) -> dict[str, Any]:
    """Everything that `overlap.json` holds.

    Parameters
    ----------
    detector : OverlapDetector
        Fitted on the pool.
    dataset : W2SDataset
    scores : DataFrame (N rows)
        `scores.parquet` of all items; the pool's rows are summarised.
    notes : list of str
        Warnings raised on the way.
    """
    pool = scores[scores["split"] == "pool"]
    overall = detector.shares().iloc[0]
    return {
        "n_items": len(dataset),
        "n_scored": len(pool),
        "scored_split": "pool",
        "class_names": dataset.class_names,
        "level": detector.level,
        "density": _estimate(overall, "density"),
        "regions": {
            region.label: {
                "n": int(np.count_nonzero(detector.regions_ == region)),
                **_estimate(overall, column, value="share"),
                "weak_accuracy": _accuracy(pool[pool["region"] == region.label], detector.level),
            }
            for region, column in (
                (Region.HARD, "hard_only"),
                (Region.EASY, "easy_only"),
                (Region.OVERLAP, "density"),
            )
        },
        "confidence_threshold": _threshold(detector, "confidence"),
        "alignment_threshold": _threshold(detector, "alignment"),
        "n_anchors": detector.n_anchors_,
        "weak_accuracy": _accuracy(pool, detector.level),
        "confident": _mirrored(overall, "hard_only"),
        "confident_accuracy": _accuracy(_confident(pool), detector.level),
        "by_source": _breakdown(detector, pool, "source"),
        "by_group": _breakdown(detector, pool, "group"),
        "settings": {
            name: value for name, value in detector.get_params().items() if name != "random_state"
        },
        "reading": reading(detector, len(pool)),
        "warnings": notes,
    }


def reading(detector: OverlapDetector, n: int) -> str:
    """One sentence that says what the density means here and what it does not.

    The limits it names were measured: see "What may be claimed" in docs/concepts.md.
    """
    if np.isnan(detector.density_):
        return (
            "The overlap density is undefined here: the points could not be parted into regions "
            "(see the warnings)."
        )
    low, high = detector.density_interval_
    interval = "" if np.isnan(low) else f" ({100 * low:.1f}\u2013{100 * high:.1f}%)"
    said = (
        f"About {100 * detector.density_:.1f}%{interval} of the {n:,} pool items are overlap "
        "points: the teacher is sure of them, and they resemble items that it is unsure of, so "
        "that a student can learn from them what its teacher does not know. Compare this between "
        "sources scored together, not between runs (a change point always splits somewhere), and "
        "credit part of any gain to the sure labels alone."
    )
    if min(detector.confidence_explained_, detector.alignment_explained_) < UNIFORM_EXPLAINED:
        said += (
            " Here even the split is doubtful: it explains no more of the variance than a split of "
            "evenly spread values would."
        )
    return said


def _estimate(row: Any, column: str, value: str = "value") -> dict[str, float]:
    return {
        value: float(row[column]),
        "low": float(row[f"{column}_low"]),
        "high": float(row[f"{column}_high"]),
    }


def _mirrored(row: Any, column: str) -> dict[str, float]:
    """The share of all other points, from the same replicates."""
    found = _estimate(row, column)
    return {"value": 1 - found["value"], "low": 1 - found["high"], "high": 1 - found["low"]}


def _confident(points: pd.DataFrame) -> pd.DataFrame:
    """Overlap and easy-only points: those that a filter on weak confidence alone would keep."""
    return points[points["region"] != Region.HARD.label]


def _threshold(detector: OverlapDetector, name: str) -> dict[str, float]:
    low, high = getattr(detector, f"{name}_threshold_interval_")
    return {
        "value": getattr(detector, f"{name}_threshold_"),
        "low": low,
        "high": high,
        "explained": getattr(detector, f"{name}_explained_"),
    }


def _accuracy(points: pd.DataFrame, level: float) -> dict[str, float] | None:
    """Share of right weak labels where gold labels exist, with the Wilson interval."""
    known = points["weak_correct"].dropna()
    if not len(known):
        return None
    right = int(known.sum())
    low, high = wilson_interval(right, len(known), level)
    return {"value": right / len(known), "low": low, "high": high, "n": len(known)}


def _breakdown(detector: OverlapDetector, pool: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """One record a source or group: shares with intervals, accuracies of the weak labels.

    `confident` is what a reading by weak confidence alone would call dense.
    """
    if column not in pool.columns:
        return []
    table = detector.shares(_names(pool[column]))
    parts = dict(iter(pool.groupby(column)))
    records = []
    for row in table.to_dict("records"):
        own = parts[row["name"]]
        accuracy = _accuracy(own, detector.level)
        confident_accuracy = _accuracy(_confident(own), detector.level)
        records.append(
            {str(key): value for key, value in row.items()}
            | _columns("weak_accuracy", accuracy)
            | _columns("confident", _mirrored(row, "hard_only"))
            | _columns("confident_accuracy", confident_accuracy)
        )
    return records


def _columns(name: str, found: dict[str, float] | None) -> dict[str, float | None]:
    """An estimate as three columns of a table."""
    given = found or {}
    return {
        name: given.get("value"),
        f"{name}_low": given.get("low"),
        f"{name}_high": given.get("high"),
    }


def _names(column: pd.Series[Any]) -> AnyArray:
    return column.to_numpy(dtype=object)
