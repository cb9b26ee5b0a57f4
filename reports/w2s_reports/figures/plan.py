"""Figures on a plan: accuracy over spending, and over both numbers of labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import (
    Figure,
    band,
    curve,
    dots,
    layout,
    title,
    with_legend,
)
from w2s_reports.formats import count, format_interval, percent, price

# Options of spending: key, words, colour token, dash.
SPENDING = (
    ("best", "best split", "accent", "solid"),
    ("gold_only", "gold labels only", "ink", "dash"),
    ("weak_only", "weak labels only", "muted", "dot"),
)
CONTOURS = 12


def spending(plan: Mapping[str, Any]) -> Figure | None:
    """Draw the accuracy that money buys: the best split with its interval, and each label alone."""
    path = [] if plan["hint"] else plan["path"]
    if len(path) < 2:
        return None
    x = [row["spent"] for row in path]
    best = [row["best"] for row in path]
    data = [band(x, [e["low"] for e in best], [e["high"] for e in best], "accent")]
    text = []
    for key, words, token, dash in SPENDING:
        y = [row[key]["value"] for row in path]
        hover = f"{words}, %{{x:,}} spent: %{{y:.1%}}<extra></extra>"
        data.append(curve(words, x, y, token, dash) | {"hovertemplate": hover})
        text.append(f"{words} {percent(y[0])} to {percent(y[-1])}")
    drawn = layout(
        xaxis={"title": title("money spent"), "rangemode": "tozero"},
        yaxis={"title": title("expected accuracy"), "tickformat": ".0%"},
    )
    caption = (
        f"Expected accuracy of {plan['option']}, with the {percent(plan['level'], 0)} interval of "
        f"what the best split adds. Where the lines begin is less certain "
        f"({format_interval(plan['now'])})."
    )
    alt = f"Over spending from {price(x[0])} to {price(x[-1])}: {'; '.join(text)}. {caption}"
    return Figure("spending", "Accuracy over spending", data, with_legend(drawn), caption, alt)


def labels(plan: Mapping[str, Any]) -> Figure | None:
    """Draw lines of equal accuracy over gold and weak labels, and those that the budget buys."""
    if plan["hint"]:
        return None
    found, split = plan["contour"], plan["split"]
    values = [value for row in found["accuracy"] for value in row]
    low, high = min(values), max(values)
    if not high > low:
        return None
    x, y = found["n"], found["N"]
    lines = {
        "type": "contour",
        "x": x,
        "y": y,
        "z": found["accuracy"],
        "contours": {
            "coloring": "none",
            "showlabels": True,
            "labelfont": {"color": "--muted", "size": 12},
            "labelformat": ".1%",
        },
        "ncontours": CONTOURS,
        "line": {"color": "--muted", "width": 1},
        "showscale": False,
        "showlegend": False,
        "hovertemplate": "%{x:,.0f} gold, %{y:,.0f} weak: %{z:.1%}<extra></extra>",
    }
    budget = curve("all that the budget buys", found["budget_n"], found["budget_N"], "accent")
    budget |= {"hovertemplate": "%{x:,.0f} gold, %{y:,.0f} weak<extra></extra>"}
    n, n_pool = plan["n"], plan["N"]
    now = [f"now: {count(n)} gold, {count(n_pool)} weak"]
    then_n, then_pool = n + split["gold"], n_pool + split["weak"]
    then = [f"best split: {count(then_n)} gold, {count(then_pool)} weak"]
    edge = {"color": "--ink", "width": 2}
    marks = [
        dots("now", [n], [n_pool], now, size=11, color="--paper", line=edge),
        dots("best split", [then_n], [then_pool], then, size=11, color="--accent", line=edge),
    ]
    drawn = layout(
        xaxis=_sizes("gold labels", x) | {"showgrid": True}, yaxis=_sizes("weak labels", y)
    )
    drawn["height"] = 420
    caption = (
        "Lines of equal expected accuracy; both axes are logarithmic and end at eight times the "
        "present number, and beyond twice it the lines are a guess. Where they are steep, gold "
        "labels count, where they are flat, weak ones."
    )
    alt = (
        f"Expected accuracy from {percent(low)} to {percent(high)}; {now[0]}; {then[0]}. {caption}"
    )
    return Figure(
        "labels",
        "Gold against weak labels",
        [lines, budget, *marks],
        with_legend(drawn),
        caption,
        alt,
    )


def _sizes(name: str, values: list[float]) -> dict[str, Any]:
    """Return a logarithmic axis with a tick at each doubling."""
    present = values[0] * 2  # the grid begins at half of it
    ticks = [present * factor for factor in (0.5, 1, 2, 4, 8)]
    ends = [math.log10(values[0]), math.log10(values[-1]) + 0.02]  # with room for a mark
    return {
        "title": title(name),
        "type": "log",
        "range": ends,
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [count(round(tick)) for tick in ticks],
    }
