"""The overlap: two sorted curves with their change points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from w2s_data.overlap.changepoint import UNIFORM_EXPLAINED
from w2s_data.utils.typing import FloatArray
from w2s_reports.artefacts import Artefacts
from w2s_reports.figures.base import Figure, Spec, curve, layout, line, note, thin, title
from w2s_reports.formats import count, format_estimate, has_interval, number, percent

MEANINGS = {
    "margin": " The margin is the highest class probability minus the second.",
    "confidence": " The confidence of a weak value is the share of the targets' variance that its "
    "standard error leaves explained.",
}


def confidence_curve(artefacts: Artefacts, overlap: Mapping[str, Any]) -> Figure | None:
    """Draw the sorted margins; below the change point lie the hard-only points."""
    scored = artefacts.scored()
    values = np.sort(scored["confidence"].to_numpy(dtype=np.float64))
    below = int((scored["region"] == "hard-only").sum())
    sides = (("hard", "hard-only"), ("muted", "overlap or easy-only"))
    if overlap["regions_by"] == "mixture":  # which starts from the threshold, and moves points
        below = _below(values, overlap["confidence_threshold"])
        sides = (("hard", "less confident"), ("muted", "more confident"))
    return _sorted_curve(
        "confidence",
        artefacts.sureness,
        f"{artefacts.sureness.capitalize()} of the weak labels, sorted",
        values,
        below,
        overlap["confidence_threshold"],
        sides=sides,
        among="points",
    )


def alignment_curve(artefacts: Artefacts, overlap: Mapping[str, Any]) -> Figure | None:
    """Draw the sorted alignment of the confident points; overlap lies above the change point."""
    scored = artefacts.scored()
    values = scored["alignment"].to_numpy(dtype=np.float64, na_value=np.nan)
    values = np.sort(values[np.isfinite(values)])
    below = int((scored["region"] == "easy-only").sum())
    sides = (("easy", "easy-only"), ("overlap", "overlap"))
    if overlap["regions_by"] == "mixture":
        below = _below(values, overlap["alignment_threshold"])
        sides = (("easy", "less aligned"), ("overlap", "more aligned"))
    return _sorted_curve(
        "alignment",
        "alignment",
        "Alignment with the hard-only points, sorted",
        values,
        below,
        overlap["alignment_threshold"],
        sides=sides,
        among="confident points",
    )


def _below(values: FloatArray, threshold: Mapping[str, float | None]) -> int:
    """Count sorted values below a change point; all where there is none."""
    at = threshold["value"]
    return len(values) if at is None else int(np.searchsorted(values, at, side="right"))


def _sorted_curve(
    figure: str,
    name: str,
    heading: str,
    values: FloatArray,
    below: int,
    threshold: Mapping[str, float | None],
    *,
    sides: tuple[tuple[str, str], tuple[str, str]],
    among: str,
) -> Figure | None:
    n = len(values)
    if n < 2:
        return None
    # Both sides of the change point stay, so that the two areas meet there.
    kept = thin(n, below)
    x, y = 100 * (kept + 0.5) / n, values[kept]
    cut = int(np.searchsorted(kept, below))
    data = []
    for (token, label), part in zip(sides, (slice(0, cut), slice(cut, None)), strict=True):
        if len(x[part]):
            data.append(_area(x[part], y[part], token, f"{label}: {name} %{{y:.3f}}"))
    value = threshold["value"]
    drawn = layout(
        xaxis={"title": title(f"{among}, lowest {name} first"), "range": [0, 100]}
        | {"tickvals": [0, 25, 50, 75, 100], "ticktext": ["0%", "25%", "50%", "75%", "100%"]},
        yaxis={"title": title(name), "range": _range(values)},
    )
    shares = (
        f"{percent(below / n)} of the {count(n)} {among} lie below it ({sides[0][1]}), "
        f"{percent(1 - below / n)} above ({sides[1][1]})"
    )
    if value is None:
        where = f"No change point was found among the {count(n)} {among}."
    else:
        at = 100 * below / n
        drawn["shapes"] = _change_point(at, threshold)
        drawn["annotations"] = [note(at, f"change point {number(value)}", left=at < 60)]
        where = f"Change point at {name} {format_estimate(threshold, 'number')}; "
        where += f"{shares}.{_clearness(threshold['explained'])}"
    where += MEANINGS.get(name, "")
    alt = f"{heading}: a curve from {number(values[0])} to {number(values[-1])}. {where}"
    return Figure(figure, heading, data, drawn, where, alt)


def _clearness(explained: float | None) -> str:
    """State how clearly the values fall into two groups, compared with evenly spread values."""
    if explained is None:
        return ""
    return (
        f" The split explains {percent(explained, 0)} of the variance; "
        f"values spread evenly would give {percent(UNIFORM_EXPLAINED, 0)}."
    )


def _area(x: FloatArray, y: FloatArray, token: str, hover: str) -> Spec:
    # Four digits are finer than a pixel.
    at, heights = ([float(f"{v:.4g}") for v in values] for values in (x, y))
    fill = {"fill": "tozeroy", "fillcolor": f"--{token}-soft"}
    return curve("", at, heights, token) | fill | {"hovertemplate": f"{hover}<extra></extra>"}


def _range(values: FloatArray) -> list[float]:
    low, high = float(values[0]), float(values[-1])
    margin = 0.06 * (high - low) or 0.05
    # Short of zero the axis starts at zero, unless the values sit in a narrow band far from it.
    start = min(0.0, low) if low <= 0.5 * high else low - margin
    return [start, high + margin]


def _change_point(x: float, threshold: Mapping[str, float | None]) -> list[Spec]:
    shapes = [line("x", x, "paper"), line("y", threshold["value"], "y")]
    if has_interval(threshold):
        band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y"}
        band |= {"y0": threshold["low"], "y1": threshold["high"], "layer": "below"}
        shapes.append(band | {"fillcolor": "--ink-soft", "line": {"width": 0}})
    return shapes
