"""Figures on the selection: the queries round by round, and the estimate of each source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_reports.figures.base import (
    Figure,
    Spec,
    axis,
    band,
    curve,
    dots,
    layout,
    plot_text,
    rows_layout,
    thin,
    title,
    with_legend,
    without_markup,
)
from w2s_reports.formats import amount, count, format_estimate, has_interval, name_of, reward_title

# Sources of a figure of one row each.
SHOWN = 12
# Panels share one x-axis: more than six do not fit a screen.
BANDS = 6
BAND_HEIGHT = 130
# Two bars and a gap per row.
BAR_WIDTH = 0.24
STRATEGIES = (
    ("chosen", "chosen", "accent", "solid"),
    ("random", "random", "muted", "dash"),
    ("round_robin", "round robin", "ink", "dot"),
)
KINDS = (("answer", "accent", "square"), ("timeout", "warn-edge", "x"), ("failure", "ink", "x"))


def rounds(selection: Mapping[str, Any], trace: pd.DataFrame | None) -> Figure | None:
    """Mark in each round the source that was queried."""
    if selection["hint"] or trace is None or not len(trace):
        return None
    sources = _largest(selection)[:SHOWN]
    # The summary names sources by their cut names.
    trace = trace.assign(name=trace["source"].map(name_of))
    height = {row["name"]: len(sources) - 1 - k for k, row in enumerate(sources)}
    data = []
    for kind, token, symbol in KINDS:
        part = trace[(trace["kind"] == kind) & trace["name"].isin(list(height))]
        if len(part):
            data.append(_asked(part, height, kind, token, symbol))
    if not data:
        return None
    named = [
        f"{row['name']} · {count(row['items'])} items{' set aside' if row['set_aside'] else ''}"
        for row in sources
    ]
    drawn = rows_layout(named, _round_axis(len(trace)), legend=len(data) > 1)
    caption = (
        f"{count(selection['items'])} items in {count(selection['rounds'])} rounds"
        f"{_aside(selection)}; a mark is a round in which the source was asked."
    )
    if len(selection["rows"]) > SHOWN:
        caption += f" The {SHOWN} largest of {len(selection['rows'])} sources."
    sentences = ", ".join(f"{row['name']} {count(row['items'])}" for row in sources)
    alt = f"Rounds in which each source was asked; items kept: {sentences}."
    return Figure("rounds", "Who was asked, round by round", data, drawn, caption, alt)


def _round_axis(last: int) -> Spec:
    """Return an axis of rounds; no tick lies between two of them."""
    ticks = {"dtick": 1} if last <= 10 else {"nticks": 8}
    return {"title": title("round"), "range": [0.2, last + 0.8], **ticks}


def _aside(selection: Mapping[str, Any]) -> str:
    n = selection["set_aside"]
    return f", and {count(n)} of stopped sources that are set aside" if n else ""


def _largest(selection: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(selection["rows"], key=lambda row: -(row["items"] or 0))


def _asked(
    part: pd.DataFrame, height: Mapping[str, int], kind: str, token: str, symbol: str
) -> Spec:
    part = part.iloc[thin(len(part), 0)]
    at = [height[name] - 0.06 for name in part["name"]]
    texts = [f"round {r + 1}: {k} items" for r, k in zip(part["round"], part["kept"], strict=True)]
    look: Spec = {"symbol": symbol, "size": 9, "color": f"--{token}", "line": {"width": 0}}
    return dots(kind, (part["round"] + 1).tolist(), at, texts, **look)


def posteriors(selection: Mapping[str, Any], trace: pd.DataFrame | None) -> Figure | None:
    """Draw the estimate of each source after its rounds: one panel per source, one scale."""
    if selection["hint"] or trace is None:
        return None
    last = len(trace)
    trace = trace.assign(name=trace["source"].map(name_of)).dropna(subset=["reward"])
    shown = [row for row in _largest(selection) if (trace["name"] == row["name"]).sum() >= 2]
    shown = shown[:BANDS]
    if not shown:
        return None
    data: list[Spec] = []
    drawn = layout(xaxis=_round_axis(last))
    drawn["annotations"] = []
    n, seen = len(shown), trace[trace["name"].isin([row["name"] for row in shown])]
    columns = seen[["reward_low", "reward", "reward_high"]].to_numpy(dtype=np.float64)
    low, high = float(np.nanmin(columns)), float(np.nanmax(columns))
    room = 0.08 * (high - low) or 0.05
    for k, row in enumerate(shown):
        name = "y" if k == n - 1 else f"y{n - k}"  # the last panel carries the shared x-axis
        top = 1 - k / n
        panel = axis() | {"domain": [top - 1 / n + 0.02, top - 0.16 / n - 0.02], "nticks": 4}
        drawn[name.replace("y", "yaxis")] = panel | {"range": [low - room, high + room]}
        data += _band(trace[trace["name"] == row["name"]], name)
        label = {"text": plot_text(row["name"]), "x": 0, "xref": "paper", "xanchor": "left"}
        label |= {"y": top - 0.01, "yref": "paper", "yanchor": "top", "showarrow": False}
        drawn["annotations"].append(label | {"font": {"color": "--ink", "size": 13}})
    drawn["height"] = BAND_HEIGHT * n + 60
    sentences = ", ".join(
        f"{row['name']} {format_estimate(row['reward'], 'number', 2)}" for row in shown
    )
    reward = reward_title(selection["reward"])
    caption = (
        f"{reward.capitalize()}, of each source with its interval, as it was believed after each "
        "of its own rounds; all panels share one scale."
    )
    if len(selection["rows"]) > len(shown):
        caption += (
            f" {len(shown)} of {len(selection['rows'])} sources, the largest of those that were "
            "asked more than once."
        )
    alt = f"In the end, {reward}: {sentences}."
    return Figure("posteriors", "What was believed of each source", data, drawn, caption, alt)


def _band(part: pd.DataFrame, axis_name: str) -> list[Spec]:
    part = part.iloc[thin(len(part), 0)]
    x = (part["round"] + 1).tolist()
    sure = part.dropna(subset=["reward_low", "reward_high"])
    around = (sure["round"] + 1).tolist()
    middle = curve("", x, [float(f"{value:.5g}") for value in part["reward"]], "accent")
    middle |= {
        "mode": "lines+markers",
        "line": {"color": "--accent", "width": 2},
        "marker": {"size": 5, "color": "--accent"},
        "hovertemplate": "after round %{x}: %{y:.3f}<extra></extra>",
        "yaxis": axis_name,
    }
    low, high = (sure[f"reward_{side}"].tolist() for side in ("low", "high"))
    outer = band(around, low, high, "accent") | {"yaxis": axis_name}
    return [outer, middle] if around else [middle]


def allocation(selection: Mapping[str, Any]) -> Figure | None:
    """Draw the items to buy next from each source, beside those bought now.

    None where the advice is another: a plan must not stand beside advice against it.
    """
    if selection["hint"] or not selection["follows_plan"]:
        return None
    rows = [row for row in selection["rows"] if row["recommended"] is not None]
    if not any(row["recommended"] for row in rows):
        return None
    rows.sort(key=lambda row: -row["recommended"])
    shown = rows[:SHOWN]
    data = [
        _bars(name, key, shown, token, -0.06 - shift)
        for name, key, token, shift in (
            ("buy next", "recommended", "accent", 0.0),
            ("bought now", "items", "rule", BAR_WIDTH),
        )
    ]
    whole = {"title": title("items"), "rangemode": "tozero", "nticks": 6}
    drawn = rows_layout([row["name"] for row in shown], whole, legend=True)
    drawn["barmode"] = "overlay"
    caption = (
        f"Items that another budget of {_money(selection['budget'], selection)} "
        "should buy of each source, and what this one bought; a source that is gone or stopped "
        "gets nothing."
    )
    if len(rows) > SHOWN:
        caption += f" The {SHOWN} with most to buy of {len(rows)} sources; the table has all."
    sentences = ", ".join(f"{row['name']} {amount(row['recommended'])}" for row in shown)
    heading = "What the next budget should buy"
    return Figure("allocation", heading, data, drawn, caption, f"Items to buy next: {sentences}.")


def _bars(name: str, key: str, rows: list[Mapping[str, Any]], token: str, shift: float) -> Spec:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [row[key] for row in rows],
        "y": [len(rows) - 1 - k + shift for k in range(len(rows))],
        "width": BAR_WIDTH,
        "text": [without_markup(f"{row['name']}: {amount(row[key])} {name}") for row in rows],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": f"--{token}", "line": {"width": 0}},
    }


def overlap_found(selection: Mapping[str, Any]) -> Figure | None:
    """Draw the overlap points bought so far over the money spent."""
    return _progress(
        selection,
        ("overlap", "overlap-found", "Overlap points bought", "overlap points"),
        "Points that the scored pool calls overlap, among those bought so far and not set aside.",
    )


def regret(selection: Mapping[str, Any]) -> Figure | None:
    """Draw the overlap points lost against the best source over the money spent."""
    return _progress(
        selection,
        ("regret", "regret", "Estimated regret", "overlap points lost"),
        "Overlap points that the best source left would have brought more for the same money, "
        "by each source's density in the scored pool: an estimate, since no true density is known.",
    )


def _progress(
    selection: Mapping[str, Any], words: tuple[str, str, str, str], what: str
) -> Figure | None:
    """Draw one measure of every strategy, with the range of one more random run."""
    points = [] if selection["hint"] else selection["curve"]
    if len(points) < 2:
        return None
    key, name, heading, unit = words
    x = [point["spent"] for point in points]
    data, sentences = [], []
    for strategy, label, token, dash in STRATEGIES:
        if strategy not in points[0]:
            continue
        result = [point[strategy][key] for point in points]
        trace = curve(label, x, [estimate["value"] for estimate in result], token, dash)
        data.append(trace | {"hovertemplate": f"{label}: %{{y:,.0f}} for %{{x:,}}<extra></extra>"})
        sentences.append(f"{label} {count(round(result[-1]['value']))}")
        if strategy == "random" and has_interval(result[-1]):
            low, high = ([estimate[side] for estimate in result] for side in ("low", "high"))
            data.insert(0, band(x, low, high, token))
            what += " The band holds 95 of 100 random runs; a line inside it is within noise."
    drawn = layout(
        xaxis={"title": title(_spent(selection)), "rangemode": "tozero"},
        yaxis={"title": title(unit), "rangemode": "tozero"},
    )
    alt = f"{heading} for {_money(x[-1], selection)}: {', '.join(sentences)}."
    return Figure(name, heading, data, with_legend(drawn), what, alt)


def _money(value: float, selection: Mapping[str, Any]) -> str:
    """Format a part of the budget, in items or in the unit of the costs."""
    return amount(value) + (" items" if selection["budget_unit"] == "items" else "")


def _spent(selection: Mapping[str, Any]) -> str:
    return "items bought" if selection["budget_unit"] == "items" else "spent"
