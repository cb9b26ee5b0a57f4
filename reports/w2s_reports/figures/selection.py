"""The selection, round by round: who was asked, and what was believed of each source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_reports.figures.base import Figure, Spec, axis, layout, plot_text, rows_layout, thin, title
from w2s_reports.formats import count, name_of, number, number_interval

SHOWN = 12
BANDS = 6
BAND_HEIGHT = 130
KINDS = (("answer", "accent", "square"), ("timeout", "warn-edge", "x"), ("failure", "ink", "x"))


def rounds(selection: Mapping[str, Any], trace: pd.DataFrame | None) -> Figure | None:
    """A mark in the row of the source that was asked in each round."""
    if selection["hint"] or trace is None or not len(trace):
        return None
    sources = _largest(selection)[:SHOWN]
    trace = trace.assign(name=trace["source"].map(name_of))
    height = {row["name"]: len(sources) - 1 - k for k, row in enumerate(sources)}
    data = []
    for kind, token, symbol in KINDS:
        part = trace[(trace["kind"] == kind) & trace["name"].isin(list(height))]
        if len(part):
            data.append(_asked(part, height, kind, token, symbol))
    if not data:
        return None
    named = [f"{row['name']} · {count(row['items'])} items" for row in sources]
    whole = {"title": title("round"), "range": [0.2, len(trace) + 0.8], "nticks": 8}
    drawn = rows_layout(named, whole, legend=len(data) > 1)
    caption = (
        f"{count(selection['items'])} items in {count(selection['rounds'])} rounds; a mark is a "
        "round in which the source was asked."
    )
    if len(selection["rows"]) > SHOWN:
        caption += f" The {SHOWN} largest of {len(selection['rows'])} sources."
    said = ", ".join(f"{row['name']} {count(row['items'])}" for row in sources)
    alt = f"Rounds in which each source was asked; items kept: {said}."
    return Figure("rounds", "Who was asked, round by round", data, drawn, caption, alt)


def _largest(selection: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return sorted(selection["rows"], key=lambda row: -(row["items"] or 0))


def _asked(
    part: pd.DataFrame, height: Mapping[str, int], kind: str, token: str, symbol: str
) -> Spec:
    part = part.iloc[thin(len(part), 0)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "x": (part["round"] + 1).tolist(),
        "y": [height[name] - 0.06 for name in part["name"]],
        "text": [
            f"round {r + 1}: {k} items" for r, k in zip(part["round"], part["kept"], strict=True)
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"symbol": symbol, "size": 9, "color": f"--{token}", "line": {"width": 0}},
    }


def posteriors(selection: Mapping[str, Any], trace: pd.DataFrame | None) -> Figure | None:
    """What was believed of each source after its rounds: one panel a source, one scale."""
    if selection["hint"] or trace is None:
        return None
    last = len(trace)
    trace = trace.assign(name=trace["source"].map(name_of)).dropna(subset=["reward"])
    shown = [row for row in _largest(selection) if (trace["name"] == row["name"]).sum() >= 2]
    shown = shown[:BANDS]
    if not shown:
        return None
    data: list[Spec] = []
    drawn = layout(xaxis={"title": title("round"), "range": [0.2, last + 0.8], "nticks": 8})
    drawn["annotations"] = []
    n, seen = len(shown), trace[trace["name"].isin([row["name"] for row in shown])]
    columns = seen[["low", "reward", "high"]].to_numpy(dtype=np.float64)
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
    said = ", ".join(
        f"{row['name']} {number(row['reward']['value'], 2)}"
        f" ({number_interval(row['reward']['low'], row['reward']['high'], 2)})"
        for row in shown
    )
    caption = (
        f"{selection['reward'].capitalize()} of each source with its interval, as it was believed "
        "after each of its own rounds; all panels share one scale."
    )
    if len(selection["rows"]) > len(shown):
        caption += (
            f" {len(shown)} of {len(selection['rows'])} sources, the largest of those that were "
            "asked more than once."
        )
    alt = f"In the end, {selection['reward']}: {said}."
    return Figure("posteriors", "What was believed of each source", data, drawn, caption, alt)


def _band(part: pd.DataFrame, axis_name: str) -> list[Spec]:
    part = part.iloc[thin(len(part), 0)]
    x = (part["round"] + 1).tolist()
    sure = part.dropna(subset=["low", "high"])
    around = (sure["round"] + 1).tolist()
    middle = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": [float(f"{value:.5g}") for value in part["reward"]],
        "line": {"color": "--accent", "width": 2},
        "marker": {"size": 5, "color": "--accent"},
        "hovertemplate": "after round %{x}: %{y:.3f}<extra></extra>",
        "yaxis": axis_name,
    }
    outer = {
        "type": "scatter",
        "mode": "lines",
        "x": [*around, *reversed(around)],
        "y": [*sure["low"].tolist(), *sure["high"].tolist()[::-1]],
        "fill": "toself",
        "fillcolor": "--accent-soft",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "yaxis": axis_name,
    }
    return [outer, middle] if around else [middle]
