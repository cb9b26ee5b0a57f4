"""Groups to look at first: low accuracy, overlap or gain, or unequal shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import has_interval
from w2s_reports.summary.parts import difference

# The first are the ones to look at; the table has the rest.
SHOWN = 3
Row = Mapping[str, Any]


MEASURES: tuple[Row, ...] = (
    {
        "key": "weak_accuracy",
        "title": "Weak labels least often right",
        "word": "weak accuracy",
        "unit": "share",
        "advice": "Get gold labels here first, or leave these items out of the pool.",
    },
    {
        "key": "overlap_density",
        "title": "Least overlap",
        "word": "overlap density",
        "unit": "density",
        "advice": "There is little to learn here beyond the teacher: a larger gain needs other "
        "items.",
    },
    {
        "key": "gain",
        "title": "Least measured gain",
        "word": "measured gain",
        "unit": "points",
        "advice": "Judge the student by this group too before it replaces the teacher.",
    },
    {
        "key": "difference",
        "title": "Shares most unequal (pool minus labelled set)",
        "word": "share of pool and labelled set",
        "unit": "points",
        "advice": "Label more where the pool holds more of a group than the teacher saw, or sample "
        "the pool to match.",
    },
)
APART = "difference"  # the measure of which values far from 0 are bad, on either side


def worst_groups(rows: Sequence[Row], gains: Sequence[Row], whole: Row) -> list[dict[str, Any]]:
    """Select the groups that are significantly worse than the whole, by measure.

    A group counts if its whole interval is on the wrong side, so that a handful of items does not
    make it the worst; of those, the furthest come first. A difference is compared with 0.
    """
    result = []
    for measure in MEASURES:
        key, entries = measure["key"], _entries(measure["key"], rows, gains)
        against = 0.0 if key == APART else whole.get(key)
        # The only group is the whole, and cannot be worse than it.
        if len(entries) < 2 or against is None:
            continue
        clear = [entry for entry in entries if _excess(key, entry, against) > 0]
        clear.sort(key=lambda entry: -_excess(key, entry, against))
        result.append(
            {
                **measure,
                "advice": measure["advice"] if clear else "",
                "whole": None if key == APART else against,
                "groups": clear[:SHOWN],
                "n_clear": len(clear),
                "n": len(entries),
            }
        )
    return result


def _entries(key: str, rows: Sequence[Row], gains: Sequence[Row]) -> list[dict[str, Any]]:
    """List name and estimate of every group that has one with an interval."""
    if key == APART:
        known = [(row, difference(row["eta_pool"], row["eta_labelled"])) for row in rows]
    else:
        known = [(row, row[key]) for row in (gains if key == "gain" else rows)]
    return [{"name": row["name"], **e} for row, e in known if has_interval(e)]


def _excess(key: str, entry: Row, against: float) -> float:
    """Return how far the whole interval lies beyond the value, on the wrong side."""
    below = float(against - entry["high"])
    return max(below, float(entry["low"] - against)) if key == APART else below
