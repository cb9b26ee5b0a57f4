"""The overlap in each source or group as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count, percent
from w2s_reports.markdown.tables import escape, table, with_interval


def slices(title: str, column: str, slices: Mapping[str, Any]) -> list[str]:
    """The overlap in each source or group."""
    if not slices["rows"]:
        return [f"## {title}", slices["hint"]]
    rows = [
        [
            escape(row["name"]),
            count(row["n"]),
            with_interval(row["density"], row["density_low"], row["density_high"]),
            percent(row["easy_only"]),
            percent(row["hard_only"]),
            with_interval(
                row["weak_accuracy"], row["weak_accuracy_low"], row["weak_accuracy_high"]
            ),
        ]
        for row in slices["rows"]
    ]
    header = [column, "Points", "Overlap density", "Easy-only", "Hard-only", "Weak accuracy"]
    return [f"## {title}", table(header, rows)]
