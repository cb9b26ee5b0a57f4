"""Sweeps of values: variance and error of four models in every regime, one row of panels each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.figures.base import (
    Figure,
    Spec,
    axis,
    band,
    curve,
    is_known,
    layout,
    plot_text,
    title,
    with_legend,
)
from w2s_reports.formats import count, has_interval

TOKENS = {"teacher": "hard", "student": "accent", "gold alone": "easy", "ceiling": "muted"}
THEORY = " by the theory"
UNITS = ("variance", "error")
PANEL, GAP, TOP = 190, 0.09, 60  # pixels of a panel, share of the gap below it, room above


def regimes(own: Mapping[str, Any]) -> Figure:
    """Draw a row of panels for each regime, variance on the left and error on the right."""
    panels, lines = own["panels"], own["lines"]
    data: list[Spec] = []
    drawn = layout()
    notes = []
    for row, panel in enumerate(panels):
        for column, unit in enumerate(UNITS):
            number = 2 * row + column + 1
            place = "" if number == 1 else str(number)
            chosen = [x for x in lines if (x["panel"], x["unit"]) == (panel["name"], unit)]
            data += _lines(chosen, place, legend=number == 1)
            last = row == len(panels) - 1
            sides = _axes(row, column, len(panels), place)
            drawn[f"xaxis{place}"] = sides[0] | _sizes(chosen)
            drawn[f"yaxis{place}"] = sides[1]
            if last:
                drawn[f"xaxis{place}"]["title"] = title(own["axis"])
            said = unit if column else panel["title"]
            notes.append(_note(said, f"y{place}", right=column == 1))
    drawn["annotations"] = notes
    drawn["height"] = PANEL * len(panels) + TOP
    heading = f"{own['title']}: variance and error by the shared dimensions"
    caption = (
        "On the left the variance, on the right the error beyond what no linear model of both "
        "features can tell, as shares of the variance of the gold values. Solid lines are means "
        f"of {own['n_seeds']} draws, areas their intervals; dashed lines are what theory expects "
        "of ridgeless regression on these features, with no number fitted to the curves."
    )
    return Figure(
        f"sweep-{own['over']}-panels",
        heading,
        data,
        with_legend(drawn),
        caption,
        f"{heading}. {own['reading']}",
    )


def _axes(row: int, column: int, rows: int, place: str) -> tuple[Spec, Spec]:
    """Return both axes of a panel, with the part of the figure that it takes."""
    height = 1 / rows
    top = 1 - row * height
    left = column * 0.54
    x = axis() | {"showgrid": False, "domain": [left, left + 0.46], "anchor": f"y{place}"}
    y = axis() | {
        "domain": [top - height + GAP * height * 2, top - GAP * height * 2],
        "anchor": f"x{place}",
        "type": "log",
        "tickformat": "~g",
        "dtick": 1,
    }
    if row:  # one scale for all regimes
        y["matches"] = "y" if column == 0 else "y2"
    return x, y


def _sizes(lines: Sequence[Mapping[str, Any]]) -> Spec:
    sizes = sorted({p["x"] for line in lines for p in line["points"]})
    return {"type": "log", "tickvals": sizes, "ticktext": [count(round(size)) for size in sizes]}


def _note(text: str, y: str, *, right: bool) -> Spec:
    """Write above a panel, from the outer side inwards: one line has room for both on a phone."""
    return {
        "text": plot_text(text),
        "xref": "paper",
        "yref": f"{y} domain",
        "x": int(right),
        "y": 1,
        "xanchor": "right" if right else "left",
        "yanchor": "bottom",
        "yshift": 2,
        "showarrow": False,
        "font": {"color": "--ink", "size": 13},
    }


def _lines(lines: Sequence[Mapping[str, Any]], place: str, *, legend: bool) -> list[Spec]:
    """Draw measured lines with their intervals, and predicted ones dashed in the same colour."""
    data: list[Spec] = []
    at = {"xaxis": f"x{place}", "yaxis": f"y{place}"}
    for line in lines:
        name = line["model"].removesuffix(THEORY)
        # A logarithmic axis has no place for errors that chance took below 0.
        points = [p for p in line["points"] if is_known(p["value"]) and p["value"]["value"] > 0]
        if not points:
            continue
        measured = line["kind"] == "measured"
        x, values = [p["x"] for p in points], [p["value"] for p in points]
        y = [value["value"] for value in values]
        if measured and all(has_interval(v) and v["low"] > 0 for v in values):
            low, high = [v["low"] for v in values], [v["high"] for v in values]
            data.append(band(x, low, high, TOKENS[name]) | at)
        drawn = curve(plot_text(line["model"]), x, y, TOKENS[name], "solid" if measured else "dash")
        hover = f"{plot_text(line['model'])}, %{{x}}: %{{y:.3g}}<extra></extra>"
        shown = {"hovertemplate": hover, "showlegend": legend and measured}
        data.append(drawn | shown | at)
    return data
