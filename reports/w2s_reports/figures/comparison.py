"""Numbers of two runs, one row each: this run filled, its baseline hollow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.figures.base import Figure, describe, line, mark_series, rows_layout, title

# A figure of ten rows still fits a screen.
SHOWN = 10
SERIES = (
    ("baseline", "other", "accent", False, 0.03),
    ("this run", "value", "accent", True, -0.22),
)
AXES = {
    "share": "share",
    "points": "gain over the teacher, in points",
    "value": "mean squared error",
    "change": "gain over the teacher, in MSE",
}
Row = Mapping[str, Any]


def side_by_side(comparison: Mapping[str, Any] | None) -> list[Figure]:
    """Draw shares in one figure, gains in another; a figure without a row is left out."""
    if comparison is None:
        return []
    rows = [
        {**row, "name": _name(section, row)}
        for section in comparison["sections"]
        for row in section["rows"]
        if (section["key"] != "forecast" or row["unit"] in ("points", "change"))
        and None not in (row["value"]["value"], row["other"]["value"])
    ]
    made = (
        _paired("comparison", "Densities and accuracies of both runs", rows, ("share", "density")),
        _paired("comparison-gains", "Gains of both runs", rows, ("points",)),
        _paired("comparison-errors", "Errors of both runs", rows, ("value",)),
        _paired("comparison-gains", "Gains of both runs", rows, ("change",)),
    )
    return [figure for figure in made if figure is not None]


def _name(section: Mapping[str, Any], row: Row) -> str:
    """Name a number outside its table, without the unit, which the axis has."""
    name = str(row["name"]).removesuffix(", points")
    return {"sources": "source: ", "groups": "group: "}.get(section["key"], "") + name


def _paired(name: str, heading: str, rows: Sequence[Row], units: Sequence[str]) -> Figure | None:
    result = [row for row in rows if row["unit"] in units]
    if not result:
        return None
    shown, unit = result[:SHOWN], units[0]
    data = mark_series(shown, SERIES, unit)
    axis: dict[str, Any] = {"title": title(AXES[unit]), "nticks": 7}
    if unit == "share":
        axis |= {"tickformat": ".0%", "nticks": 6}
    drawn = rows_layout([row["name"] for row in shown], axis, legend=True)
    if unit in ("points", "change"):
        drawn["shapes"] = [line("x", 0, "paper")]
    caption = "Filled: this run; hollow: the baseline; each with the interval of its table below."
    if len(result) > SHOWN:
        caption += f" The first {SHOWN} of {len(result)}; the tables have all."
    both = [
        f"{row['name']}: {describe(row[key], row['unit'])} in {where}"
        for row in shown
        for key, where in (("value", "this run"), ("other", "the baseline"))
    ]
    return Figure(name, heading, data, drawn, caption, f"{heading}. {'; '.join(both)}.")
