"""Figures of sweeps: measured and predicted lines over what was varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.figures.base import (
    Figure,
    band,
    curve,
    describe,
    dots,
    in_points,
    is_known,
    layout,
    plot_text,
    title,
    with_legend,
)
from w2s_reports.figures.regimes import regimes
from w2s_reports.formats import count, has_interval

TOKENS = ("accent", "hard", "easy", "overlap")  # of measured lines; those with an area under them
LEVELS = ("muted", "category-3", "category-1", "ink", "category-4")
AXES = {
    "accuracy": "accuracy",
    "gain": "gain, points",
    "PGR": "gap recovered (PGR)",
    "OPR": "error of gold alone / error of the student (OPR)",
}
SHARES = ("overlap", "eta", "noise", "model")  # whose positions are shares


def figures(sweeps: Mapping[str, Any] | None) -> list[Figure]:
    """Draw one figure per sweep and unit, without the theory's own scale."""
    if sweeps is None:
        return []
    panelled = [regimes(own) for own in sweeps["sweeps"] if own["panels"]]
    return panelled + [
        figure
        for own in sweeps["sweeps"]
        for unit in own["units"]
        if unit in AXES and (figure := _figure(own, unit)) is not None
    ]


def _figure(own: Mapping[str, Any], unit: str) -> Figure | None:
    lines = [line for line in own["lines"] if line["unit"] == unit]
    name, heading = f"sweep-{own['over']}-{unit.lower()}", f"{own['title']}: {AXES[unit]}"
    if own["over"] == "model":
        data, told = _pairs(lines), "one mark per pair of models"
    else:
        data, told = _lines(lines, unit), "; ".join(_told(line) for line in lines)
    if not data:
        return None
    drawn = layout(
        xaxis={"title": title(own["axis"])} | _positions(own, lines),
        yaxis={"title": title(AXES[unit])}
        | ({} if unit in ("gain", "OPR") else {"tickformat": "~%"}),
    )
    caption = f"{told[:1].upper()}{told[1:]}. Mean of {own['n_seeds']} draws"
    caption += "." if own["over"] == "model" else "; areas are their intervals."
    if own["over"] != "model":
        drawn = with_legend(drawn)
    return Figure(name, heading, data, drawn, caption, f"{heading}. {own['reading']}")


def _positions(own: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings of the axis of what was varied: shares, or sizes that double."""
    if own["over"] in SHARES:
        return {"tickformat": ".0%"}
    sizes = sorted({p["x"] for line in lines for p in line["points"] if p["x"] is not None})
    return {"type": "log", "tickvals": sizes, "ticktext": [count(round(size)) for size in sizes]}


def _lines(lines: Sequence[Mapping[str, Any]], unit: str) -> list[dict[str, Any]]:
    positions = [p["x"] for line in lines for p in line["points"] if p["x"] is not None]
    if not positions:
        return []
    ends = [min(positions), max(positions)]
    measured, levels = iter(TOKENS * 2), iter(LEVELS * 2)
    data: list[dict[str, Any]] = []
    for line in lines:
        points = [p for p in line["points"] if is_known(p["value"])]
        if not points:
            continue
        values = [in_points(p["value"]) if unit == "gain" else p["value"] for p in points]
        x, y = [p["x"] for p in points], [value["value"] for value in values]
        level = x[0] is None
        if level:
            x, y = ends, [y[0], y[0]]
        is_measured = line["kind"] == "measured"
        token = next(measured) if is_measured else next(levels)
        dash = {"measured": "solid", "predicted": "dash", "reference": "dot"}[line["kind"]]
        if is_measured and len(points) > 1 and any(map(has_interval, values)):
            # Values that no draw changes have no interval: the area is a point there.
            limits = [
                [v["low"], v["high"]] if has_interval(v) else [v["value"]] * 2 for v in values
            ]
            low, high = zip(*limits, strict=True)
            data.append(band(x, low, high, token))
        drawn = curve(plot_text(line["name"]), x, y, token, dash)
        hover = f"{plot_text(line['name'])}, %{{x}}: %{{y:.3g}}<extra></extra>"
        data.append(drawn | {"hovertemplate": hover})
    return data


def _pairs(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    known = [line for line in lines if line["points"] and is_known(line["points"][0]["value"])]
    if not known:
        return []
    points = [line["points"][0] for line in known]
    names = [plot_text(line["name"]) for line in known]
    marked = dots(
        "pairs",
        [p["x"] for p in points],
        [100 * p["value"]["value"] for p in points],
        [f"{n}: {describe(p['value'], 'points')}" for n, p in zip(names, points, strict=True)],
        size=11,
        color="--accent",
    )
    return [marked | {"mode": "markers+text", "textposition": "top center", "text": names}]


def _told(line: Mapping[str, Any]) -> str:
    values = [p["value"] for p in line["points"] if is_known(p["value"])]
    if not values:
        return f"{line['name']} unknown"
    first, last = (describe(value, line["format"]) for value in (values[0], values[-1]))
    if len(values) == 1:
        return f"{line['name']} {first}"
    return f"{line['name']} from {first} to {last}"
