"""Figure on sources: overlap density, beside the share of confident points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import Figure, describe, line, mark_series, rows_layout, title
from w2s_reports.formats import percent

# As many as the table shows without scrolling.
SHOWN = 16
SERIES = (
    ("overlap density", "density", "overlap", True, 0.03),
    ("confident (overlap or easy-only)", "confident", "muted", False, -0.22),
)


def densities(sources: Mapping[str, Any], overlap: Mapping[str, Any]) -> Figure | None:
    """Draw overlap density, filled, and share of confident points, hollow, of each source."""
    rows = [row for row in sources["rows"] if row["density"]["value"] is not None]
    if len(rows) < 2 or overlap["density"]["value"] is None:
        return None
    rows.sort(key=lambda row: -row["density"]["value"])
    shown = rows[:SHOWN]
    axis = {"title": title("share of the source's points"), "tickformat": ".0%", "nticks": 6}
    axis |= {"range": _range(shown)}
    drawn = rows_layout([row["name"] for row in shown], axis, legend=True)
    drawn["shapes"] = [line("x", overlap["density"]["value"], "paper")]
    caption = (
        f"With {percent(overlap['level'], 0)} intervals, most overlap first. The dotted line is "
        f"the density of all scored points, {percent(overlap['density']['value'])}. Hollow "
        "marks: what a filter on weak confidence would keep without any strong model."
    )
    if len(rows) > SHOWN:
        caption += f" The first {SHOWN} of {len(rows)} sources; the table has all."
    text = "; ".join(
        f"{row['name']} {describe(row['density'])} overlap, {describe(row['confident'])} confident"
        for row in shown
    )
    heading = "Overlap beside confidence alone"
    data = mark_series(shown, SERIES)
    return Figure("densities", heading, data, drawn, caption, f"Shares by source: {text}.")


def _range(rows: list[dict[str, Any]]) -> list[float]:
    """Return a range from just below 0, so that a mark at 0 is whole, to the highest limit."""
    estimates = [row[key] for row in rows for _, key, *_ in SERIES]
    highest = max(e[end] for e in estimates for end in ("value", "high") if e[end] is not None)
    return [-0.02 * highest, 1.04 * highest or 1.0]
