"""Summary of a scored run as plain numbers and a reading: `overlap.json`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.load import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.overlap.changepoint import UNIFORM_EXPLAINED
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.overlap.regions import from_columns
from w2s_data.utils.intervals import Estimate, wilson_interval


def summarize_overlap(
    detector: OverlapDetector,
    dataset: W2SDataset,
    scores: pd.DataFrame,
    notes: list[str],
) -> dict[str, Any]:
    """Return the content of `overlap.json`, of a detector that was fitted on the pool.

    `scores` are those of all items, `notes` the warnings of the stage.
    """
    pool = scores[scores["split"] == "pool"]
    learned = detector.to_dict()
    for name, region in learned["regions"].items():
        region["weak_accuracy"] = _accuracy(pool[pool["region"] == name], detector.level)
    overall = detector.shares().iloc[0]
    return {
        "n_items": len(dataset),
        "n_scored": learned.pop("n_points"),
        "scored_split": "pool",
        "class_names": dataset.class_names,
        "level": detector.level,
        **learned,
        "weak_accuracy": _accuracy(pool, detector.level),
        "confident": _others(overall, "hard_only", detector.level),
        "confident_accuracy": _accuracy(_confident(pool), detector.level),
        "by_source": _breakdown(detector, pool, "source"),
        "by_group": _breakdown(detector, pool, "group"),
        "reading": reading(detector, len(pool)),
        "warnings": notes,
    }


def reading(detector: OverlapDetector, n: int) -> str:
    """Explain the density of n pool items in words, with the limits of such a number."""
    if np.isnan(detector.density_):
        return (
            "The overlap density is undefined here: the points could not be divided into regions "
            "(see the warnings)."
        )
    low, high = detector.density_interval_
    if detector.density_range_ is not None:
        low, high = detector.density_range_
        text = (
            f"Between {100 * low:.0f} and {100 * high:.0f}% of the {n:,} pool items are overlap "
            f"points: no level can be relied on here, since {detector.objection_}. Read the "
            "density as a rank among sources scored together (a change point always splits "
            "somewhere)."
        )
    else:
        covers = ", sampling only" if detector.quantified_by_ == "count" else ""
        interval = "" if np.isnan(low) else f" ({100 * low:.1f}\u2013{100 * high:.1f}%{covers})"
        text = (
            f"About {100 * detector.density_:.1f}%{interval} of the {n:,} pool items are overlap "
            "points: the teacher is confident of them, and they resemble items of which it is not, "
            "so that a student can learn from them what its teacher does not know. Compare this "
            "between sources scored together, not between runs"
        )
        if detector.quantified_by_ == "count":
            text += " (a change point always splits somewhere)."
        else:
            text += (
                ". The shares are those of a mixture of the three types, and their intervals hold "
                "the truth as far as it fits."
            )
    # Never the density alone: on real data most of its effect is the filter on confidence.
    text += " Part of any gain is due to filtering by confidence alone."
    if detector.quantified_by_ == "count" and _poorly_split(detector):
        text += (
            " The thresholds are poorly supported here (explained variance below "
            f"{UNIFORM_EXPLAINED:g}, that of evenly spread values)."
        )
    return text


def _poorly_split(detector: OverlapDetector) -> bool:
    explained = min(detector.confidence_explained_, detector.alignment_explained_)
    return bool(explained < UNIFORM_EXPLAINED)


def _others(row: Any, column: str, level: float) -> Estimate:
    """Return the share of all other points, from the same replicates."""
    share = from_columns(row, column, level)
    return Estimate(1 - share.value, 1 - share.high, 1 - share.low, level)


def _confident(points: pd.DataFrame) -> pd.DataFrame:
    """Select the points that a filter on weak confidence alone would keep."""
    return points[points["region"] != Region.HARD.label]


def _accuracy(points: pd.DataFrame, level: float) -> dict[str, Any] | None:
    """Return the share of right weak labels where gold labels exist; None without any."""
    if "weak_correct" not in points:  # as of values, which are never just right
        return None
    known = points["weak_correct"].dropna()
    if not len(known):
        return None
    right = int(known.sum())
    limits = wilson_interval(right, len(known), level)
    return Estimate(right / len(known), *limits, level).to_dict() | {"n": len(known)}


def _breakdown(detector: OverlapDetector, pool: pd.DataFrame, column: str) -> list[dict[str, Any]]:
    """Return one record per source or group: shares and accuracies of the weak labels."""
    if column not in pool.columns:
        return []
    table = detector.shares(pool[column].to_numpy(dtype=object))
    parts = dict(iter(pool.groupby(column)))
    records = []
    for row in table.to_dict("records"):
        own = parts[row["name"]]
        # The density that weak confidence alone would report, the baseline of the other.
        confident = _others(row, "hard_only", detector.level)
        records.append(
            {str(key): value for key, value in row.items()}
            | _columns("weak_accuracy", _accuracy(own, detector.level))
            | confident.columns("confident")
            | _columns("confident_accuracy", _accuracy(_confident(own), detector.level))
        )
    return records


def _columns(name: str, accuracy: dict[str, Any] | None) -> dict[str, Any]:
    given = accuracy or {}
    keys = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    return {column: given.get(key) for column, key in keys.items()}
