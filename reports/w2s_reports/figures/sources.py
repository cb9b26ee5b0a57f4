"""Sources: how much overlap each holds, beside what weak confidence alone would say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import Estimate, Figure, line, marks, rows_layout, title
from w2s_reports.formats import interval, percent

SHOWN = 16
SERIES = (
    ("overlap density", "density", "overlap", True, 0.03),
    ("confident (overlap or easy-only)", "confident", "muted", False, -0.22),
)


def densities(sources: Mapping[str, Any], overlap: Mapping[str, Any]) -> Figure | None:
    """Overlap density of each source, filled; its share of confident points, hollow."""
    rows = [row for row in sources["rows"] if row["density"] is not None]
    if len(rows) < 2 or overlap["density"]["value"] is None:
        return None
    rows.sort(key=lambda row: -row["density"])
    shown = rows[:SHOWN]
    data = []
    for name, key, token, filled, shift in SERIES:
        known = [(k, row) for k, row in enumerate(shown) if row[key] is not None]
        if known:
            data.append(
                marks(
                    name,
                    [_estimate(row, key) for _, row in known],
                    [len(shown) - 1 - k + shift for k, _ in known],
                    [f"{row['name']}: {_spoken(row, key)} {name}" for _, row in known],
                    token=token,
                    filled=filled,
                )
            )
    axis = {"title": title("share of the source's points"), "tickformat": ".0%", "nticks": 6}
    axis |= {"range": _range(shown)}
    drawn = rows_layout([row["name"] for row in shown], axis, legend=True)
    drawn["shapes"] = [line("x", overlap["density"]["value"], "paper")]
    caption = (
        f"With {percent(overlap['level'], 0)} intervals, most overlap first. The dotted line is "
        f"the density of all scored points, {percent(overlap['density']['value'])}. What is "
        "hollow a filter on weak confidence would find without any strong model."
    )
    if len(rows) > SHOWN:
        caption += f" The first {SHOWN} of {len(rows)} sources; the table has all."
    said = "; ".join(
        f"{row['name']} {_spoken(row, 'density')} overlap, {_spoken(row, 'confident')} confident"
        for row in shown
    )
    heading = "Overlap beside confidence alone"
    return Figure("densities", heading, data, drawn, caption, f"Shares by source: {said}.")


def _range(rows: list[dict[str, Any]]) -> list[float]:
    """From just below 0, so that a mark there is whole, to just above the highest limit."""
    names = [f"{key}{end}" for _, key, *_ in SERIES for end in ("", "_high")]
    highest = max(row[name] for row in rows for name in names if row[name] is not None)
    return [-0.02 * highest, 1.04 * highest or 1.0]


def _estimate(row: Mapping[str, Any], key: str) -> Estimate:
    return {"value": row[key], "low": row[f"{key}_low"], "high": row[f"{key}_high"]}


def _spoken(row: Mapping[str, Any], key: str) -> str:
    limits = interval(row[f"{key}_low"], row[f"{key}_high"])
    return f"{percent(row[key])} ({limits})" if limits else percent(row[key])
