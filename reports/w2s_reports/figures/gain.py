"""Methods of training a student, ranked by what they gained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import Figure, Spec, line, marks, note, rows_layout, title
from w2s_reports.formats import percent, signed, signed_interval

SHOWN = 20


def ranking(gain: Mapping[str, Any]) -> Figure | None:
    """The gain of each method with its interval, and a dot for each seed."""
    methods = [] if gain["hint"] else [m for m in gain["methods"] if m["gain"]["value"] is not None]
    if not methods:
        return None
    shown = methods[:SHOWN]
    heights = [len(shown) - 1 - k for k in range(len(shown))]
    spoken = [
        f"{m['name']} {signed(m['gain']['value'])} points"
        f" ({signed_interval(m['gain']['low'], m['gain']['high']) or 'interval unknown'})"
        for m in shown
    ]
    data = [
        _seeds(shown, heights),
        marks("mean over seeds", [_points(m["gain"]) for m in shown], heights, spoken),
    ]
    axis = {"title": title("gain over the teacher, in points"), "nticks": 7}
    drawn = rows_layout([m["name"] for m in shown], axis, legend=True)
    drawn["shapes"] = [line("x", 0, "paper")]
    ceiling, teacher = gain["ceiling"]["value"], gain["teacher"]["value"]
    caption = (
        f"Mean over {gain['n_seeds']} seeds with {percent(gain['confidence'], 0)} intervals for "
        "fresh test items and seeds, each for that method alone; the dotted line is the teacher."
    )
    if ceiling is not None and teacher is not None:
        drawn["shapes"].append(line("x", 100 * (ceiling - teacher), "paper"))
        drawn["annotations"].append(note(100 * (ceiling - teacher), "ceiling", 0.02, left=False))
        drawn["annotations"][-1]["yanchor"] = "bottom"
        caption = caption.replace("line is the teacher", "lines are the teacher and the ceiling")
    if len(methods) > SHOWN:
        caption += f" The first {SHOWN} of {len(methods)} methods; the table has all."
    alt = f"Methods by gain over the teacher: {'; '.join(spoken)}."
    return Figure("methods", "Gain over the teacher, by method", data, drawn, caption, alt)


def _points(found: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: None if value is None else 100 * value for name, value in found.items()}


def _seeds(shown: list[Mapping[str, Any]], heights: list[int]) -> Spec:
    """Below the mean, so that many equal seeds do not hide it."""
    x, y, text = [], [], []
    for method, height in zip(shown, heights, strict=True):
        x += [100 * value for value in method["seeds"]]
        y += [height - 0.24] * len(method["seeds"])
        text += [f"one seed: {signed(value)} points" for value in method["seeds"]]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "one seed",
        "x": x,
        "y": y,
        "text": text,
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": 7, "color": "--muted", "opacity": 0.65, "line": {"width": 0}},
    }
