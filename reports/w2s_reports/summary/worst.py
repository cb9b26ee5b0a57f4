"""Groups to look at first: low accuracy, overlap or gain, or unequal shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_reports.summary.parts import difference

# The first are the ones to look at; the table has the rest.
SHOWN = 3
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """Criterion of the worst groups: low values, or with `apart` those far from 0."""

    key: str
    title: str
    word: str
    unit: str
    advice: str
    apart: bool = False


MEASURES = (
    Measure(
        "weak_accuracy",
        "Weak labels least often right",
        "weak accuracy",
        "share",
        "Get gold labels here first, or leave these items out of the pool.",
    ),
    Measure(
        "overlap_density",
        "Least overlap",
        "overlap density",
        "share",
        "There is little to learn here beyond the teacher: a larger gain needs other items.",
    ),
    Measure(
        "gain",
        "Least measured gain",
        "measured gain",
        "points",
        "Judge the student by this group too before it replaces the teacher.",
    ),
    Measure(
        "difference",
        "Shares most unequal (pool minus labelled set)",
        "share of pool and labelled set",
        "points",
        "Label more where the pool holds more of a group than the teacher saw, or sample the pool "
        "to match.",
        apart=True,
    ),
)


def worst_groups(rows: Sequence[Row], gains: Sequence[Row], whole: Row) -> list[dict[str, Any]]:
    """Select the groups that are significantly worse than the whole, by measure.

    A group counts if its whole interval is on the wrong side, so that a handful of items does not
    make it the worst; of those, the furthest come first. A difference is compared with 0.
    """
    result = []
    for measure in MEASURES:
        entries = _entries(measure, rows, gains)
        against = 0.0 if measure.apart else whole.get(measure.key)
        # The only group is the whole, and cannot be worse than it.
        if len(entries) < 2 or against is None:
            continue
        clear = [entry for entry in entries if _excess(measure, entry, against) > 0]
        clear.sort(key=lambda entry: -_excess(measure, entry, against))
        result.append(
            {
                "key": measure.key,
                "title": measure.title,
                "word": measure.word,
                "unit": measure.unit,
                "advice": measure.advice if clear else "",
                "whole": None if measure.apart else against,
                "groups": clear[:SHOWN],
                "n_clear": len(clear),
                "n": len(entries),
            }
        )
    return result


def _entries(measure: Measure, rows: Sequence[Row], gains: Sequence[Row]) -> list[dict[str, Any]]:
    """List name and estimate of every group that has one with an interval."""
    if measure.key == "gain":
        entries = [{"name": row["name"], **row["gain"]} for row in gains]
    elif measure.apart:
        entries = [
            {"name": row["name"], **difference(row["eta_pool"], row["eta_labelled"])}
            for row in rows
        ]
    else:
        entries = [{"name": row["name"], **row[measure.key]} for row in rows]
    return [entry for entry in entries if None not in (entry["low"], entry["high"])]


def _excess(measure: Measure, entry: Row, against: float) -> float:
    """Return how far the whole interval lies beyond the value, on the wrong side."""
    below = float(against - entry["high"])
    return max(below, float(entry["low"] - against)) if measure.apart else below
