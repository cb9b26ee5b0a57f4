"""Figures on groups and sources: their shares, and the gain at another share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import (
    Figure,
    band,
    curve,
    cut_note,
    describe,
    layout,
    line,
    mark_series,
    note,
    rows_layout,
    title,
    with_legend,
)
from w2s_reports.formats import format_interval, has_interval, percent

# About two screens of a phone.
SHOWN = 16
VAGUE = 0.5  # width of the optimum's interval from which it is not marked
GROUP_SERIES = (
    ("labelled set", "eta_labelled", "ink", False, 0.03),
    ("pool", "eta_pool", "accent", True, -0.22),
)
SOURCE_SERIES = (
    ("overlap density", "density", "overlap", True, 0.03),
    ("confident (overlap or easy-only)", "confident", "muted", False, -0.22),
)
PARTS = (
    ("average", "both alike", "accent", "solid"),
    ("inside", "in the group", "ink", "dash"),
    ("others", "outside it", "muted", "dot"),
)


def shares(groups: Mapping[str, Any]) -> Figure | None:
    """Draw each group's share of the labelled set beside its share of the pool."""
    rows = [] if groups["hint"] else [row for row in groups["rows"] if _both_known(row)]
    if not rows:
        return None
    rows.sort(key=lambda row: -abs(row["eta_pool"]["value"] - row["eta_labelled"]["value"]))
    shown = rows[:SHOWN]
    data = mark_series(shown, GROUP_SERIES)
    axis = {"title": title("share of the split"), "tickformat": ".0%", "nticks": 6}
    axis |= {"rangemode": "tozero"}
    caption = (
        f"With {percent(groups['level'], 0)} intervals; the groups whose shares differ most come "
        "first."
    )
    caption += cut_note(len(rows), SHOWN, "groups")
    text = "; ".join(
        f"{row['name']} {describe(row['eta_labelled'])} of the labelled set, "
        f"{describe(row['eta_pool'])} of the pool"
        for row in shown
    )
    drawn = rows_layout([row["name"] for row in shown], axis, legend=True)
    heading = "Labelled set against pool"
    return Figure("shares", heading, data, drawn, caption, f"Shares of groups: {text}.")


def predicted_gain(groups: Mapping[str, Any]) -> Figure | None:
    """Draw the predicted gain over the share of the group that matters most in the pool."""
    result = None if groups["hint"] else groups["prediction"]
    if result is None or len(result["curve"]) < 2:
        return None
    x = [point["eta_pool"] for point in result["curve"]]
    data = []
    for part, name, token, dash in PARTS:
        trace = curve(name, x, [point[part]["value"] for point in result["curve"]], token, dash)
        data.append(trace | {"hovertemplate": f"{name}: %{{y:.1%}} at %{{x:.0%}}<extra></extra>"})
    known = [point for point in result["curve"] if has_interval(point["average"])]
    if known:
        low, high = ([point["average"][side] for point in known] for side in ("low", "high"))
        data.insert(0, band([point["eta_pool"] for point in known], low, high, "accent"))
    drawn = layout(
        xaxis={"title": title("share of the group in the pool"), "tickformat": ".0%"}
        | {"range": [0, 1]},
        yaxis={"title": title("label-noise error that is undone"), "tickformat": ".0%"}
        | _room(result["curve"]),
    )
    now, best = result["eta_pool"]["value"], result["optimal_eta_pool"]
    is_clear = has_interval(best) and best["high"] - best["low"] < VAGUE
    drawn["shapes"], drawn["annotations"] = [], []
    # One label on top and one at the bottom cannot meet.
    for value, words, y in (
        (now, "now", 1),
        (best["value"] if is_clear else None, "optimum", 0.12),
    ):
        if value is not None:
            drawn["shapes"].append(line("x", value, "paper"))
            left = value <= 0.7
            drawn["annotations"].append(note(value, f"{words} {percent(value, 0)}", y, left=left))
    where = (
        f"the prediction is best at {percent(best['value'], 0)} ({format_interval(best)})"
        if is_clear
        else "the best share is not determined by these data"
    )
    caption = (
        "Part of the squared error by noise in the teacher's labels that a linear student is "
        "predicted to undo, which is no accuracy: outside the group, inside it and both alike. The "
        f"group now is {percent(now, 0)} of the pool; {where}. The band is the "
        f"{percent(result['level'], 0)} interval."
    )
    at = [result["curve"][i]["average"]["value"] for i in (0, -1)]
    alt = (
        f"Label-noise error undone over the share of {result['group']} in the pool: "
        f"{percent(at[0], 0)} at 0%, {percent(at[1], 0)} at 100%. {caption}"
    )
    heading = f"Label-noise error undone, by the share of {result['group']}"
    return Figure("eta", heading, data, with_legend(drawn), caption, alt)


def _both_known(row: Mapping[str, Any]) -> bool:
    return None not in (row["eta_pool"]["value"], row["eta_labelled"]["value"])


def _room(points: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a range of at least ten points, so that a flat curve looks flat."""
    values = [
        point[part][side] for point in points for part, *_ in PARTS
        for side in ("value", "low", "high") if point[part][side] is not None
    ]  # fmt: skip
    low, high = min(values, default=0.0), max(values, default=0.0)
    # Ten points at least, or noise of a flat prediction would look like a curve.
    missing = max(0.0, 0.1 - (high - low)) / 2
    return {"range": [low - missing - 0.02, high + missing + 0.02]}


def densities(
    sources: Mapping[str, Any], overlap: Mapping[str, Any], sureness: str
) -> Figure | None:
    """Draw overlap density, filled, and share of confident points, hollow, of each source."""
    rows = [row for row in sources["rows"] if row["density"]["value"] is not None]
    if len(rows) < 2 or overlap["density"]["value"] is None:
        return None
    rows.sort(key=lambda row: -row["density"]["value"])
    shown = rows[:SHOWN]
    axis = {"title": title("share of the source's points"), "tickformat": ".0%", "nticks": 6}
    axis |= {"range": _source_range(shown)}
    drawn = rows_layout([row["name"] for row in shown], axis, legend=True)
    drawn["shapes"] = [line("x", overlap["density"]["value"], "paper")]
    whole = percent(overlap["density"]["value"])
    caption = (
        f"With {percent(overlap['level'], 0)} intervals, sampling only; most overlap first. "
        f"The dotted line is the density of all scored points, {whole}. Hollow marks: "
        f"what a filter on the {sureness} would keep without any strong model."
    )
    caption += cut_note(len(rows), SHOWN, "sources")
    text = "; ".join(
        f"{row['name']} {describe(row['density'], 'density')} overlap, "
        f"{describe(row['confident'])} confident"
        for row in shown
    )
    heading = f"Overlap beside the {sureness} alone"
    # Grey where the split into regions is doubtful.
    series = [
        (label, key, "muted" if overlap["doubt"] and key == "density" else token, filled, shift)
        for label, key, token, filled, shift in SOURCE_SERIES
    ]
    data = mark_series(shown, series)
    return Figure("densities", heading, data, drawn, caption, f"Shares by source: {text}.")


def _source_range(rows: list[dict[str, Any]]) -> list[float]:
    """Return a range from just below 0, so that a mark at 0 is whole, to the highest limit."""
    estimates = [row[key] for row in rows for _, key, *_ in SOURCE_SERIES]
    highest = max(e[end] for e in estimates for end in ("value", "high") if e[end] is not None)
    return [-0.02 * highest, 1.04 * highest or 1.0]
