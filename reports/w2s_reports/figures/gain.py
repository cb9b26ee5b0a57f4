"""Figures on the gain: methods, their controls, and the weights of the teachers in `raven`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import (
    Figure,
    Spec,
    band,
    curve,
    cut_note,
    describe,
    dots,
    layout,
    line,
    mark_series,
    marks,
    note,
    plot_text,
    rows_layout,
    title,
    with_legend,
)
from w2s_reports.formats import percent, signed

# The methods of the package fit; sweeps over parameters are cut.
SHOWN = 20
# Shapes, since colour alone does not separate seven controls.
SYMBOLS = ("square", "diamond", "triangle-up", "triangle-down", "pentagon", "star", "hexagon")
# Pixels of a line of the legend.
LEGEND_ROW = 22
# Nine lines that differ in colour or dash, also in grey.
LINES = tuple(
    (token, dash)
    for dashes in (("solid", "dash", "dot"), ("dash", "dot", "solid"), ("dot", "solid", "dash"))
    for token, dash in zip(("accent", "ink", "muted"), dashes, strict=True)
)


def ranking(gain: Mapping[str, Any]) -> Figure | None:
    """Draw the gain of each method with its interval, and a dot for each seed."""
    methods = [] if gain["hint"] else [m for m in gain["methods"] if m["gain"]["value"] is not None]
    if not methods:
        return None
    shown = methods[:SHOWN]
    texts = [f"{m['name']} {describe(m['gain'], 'points')}" for m in shown]
    series = [("mean over seeds", "gain", "accent", True, 0.0)]
    data = [_seeds(shown), *mark_series(shown, series, "points")]
    axis = {"title": title("gain over the teacher, in points"), "nticks": 7}
    drawn = rows_layout([m["name"] for m in shown], axis, legend=True)
    drawn["shapes"] = [line("x", 0, "paper")]
    ceiling, teacher = gain["ceiling"]["value"], gain["teacher"]["value"]
    caption = (
        f"Mean over {gain['n_seeds']} seed{'s' * (gain['n_seeds'] != 1)} with "
        f"{percent(gain['level'], 0)} intervals for "
        "fresh test items and seeds, each for that method alone; the dotted line is the teacher."
    )
    if ceiling is not None and teacher is not None:
        drawn["shapes"].append(line("x", 100 * (ceiling - teacher), "paper"))
        drawn["annotations"].append(note(100 * (ceiling - teacher), "ceiling", 0.02, left=False))
        drawn["annotations"][-1]["yanchor"] = "bottom"
        caption = caption.replace("line is the teacher", "lines are the teacher and the ceiling")
    caption += cut_note(len(methods), SHOWN, "methods")
    alt = f"Methods by gain over the teacher: {'; '.join(texts)}."
    return Figure("methods", "Gain over the teacher, by method", data, drawn, caption, alt)


def _seeds(shown: list[Mapping[str, Any]]) -> Spec:
    """Draw a dot per seed below the mean, so that many equal seeds do not hide it."""
    x, y, text = [], [], []
    for k, method in enumerate(shown):
        x += [100 * value for value in method["seeds"]]
        y += [len(shown) - 1 - k - 0.24] * len(method["seeds"])
        text += [f"one seed: {signed(value)} points" for value in method["seeds"]]
    return dots("one seed", x, y, text, size=7, color="--muted", opacity=0.65, line={"width": 0})


def controls(gain: Mapping[str, Any]) -> Figure | None:
    """Draw each method beside the simpler students that it has to beat."""
    methods = [] if gain["hint"] else [m for m in gain["methods"] if _drawable_controls(m)]
    if not methods:
        return None
    shown = methods[:SHOWN]
    heights = {m["name"]: len(shown) - 1 - k for k, m in enumerate(shown)}
    names = list(dict.fromkeys(c["name"] for m in shown for c in _drawable_controls(m)))
    data = [
        _control(name, SYMBOLS[k % len(SYMBOLS)], shown, heights) for k, name in enumerate(names)
    ]
    data += mark_series(shown, [("the method", "gain", "accent", True, -0.02)], "points")
    # Drawn last, to lie on top, but named first.
    data[-1]["legendrank"] = 1
    axis = {"title": title("gain over the teacher, in points"), "nticks": 7}
    drawn = rows_layout([m["name"] for m in shown], axis, legend=True)
    drawn["shapes"] = [line("x", 0, "paper")]
    drawn["height"] += LEGEND_ROW * ((len(names) + 1) // 2)  # two stand beside each other
    caption = (
        f"Filled, with its {percent(gain['level'], 0)} interval: the method. Hollow: its own "
        "controls, simpler students on the same seeds. A method that does not stand clearly to the "
        "right of all its hollow marks owes its gain to something simpler."
    )
    sentences = [
        f"{m['name']} {signed(m['gain']['value'])} points, its controls "
        + ", ".join(f"{c['name']} {signed(c['gain']['value'])}" for c in _drawable_controls(m))
        for m in shown
    ]
    return Figure(
        "controls",
        "Each method beside its controls",
        data,
        drawn,
        caption,
        f"Gains over the teacher: {'; '.join(sentences)}.",
    )


def _drawable_controls(method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if method["gain"]["value"] is None:
        return []
    return [c for c in method["controls"] if c["gain"]["value"] is not None]


def _control(
    name: str, symbol: str, shown: list[Mapping[str, Any]], heights: Mapping[str, int]
) -> Spec:
    """Draw one control of all methods that have it; its lead has the interval."""
    result = [(m, c) for m in shown for c in _drawable_controls(m) if c["name"] == name]
    trace = marks(
        plot_text(name),
        [{"value": 100 * c["gain"]["value"], "low": None, "high": None} for _, c in result],
        [heights[m["name"]] - 0.28 for m, _ in result],
        [
            f"{name}, control of {m['name']}: {describe(c['gain'], 'points')}; the method leads "
            f"it by {describe(c['lead'], 'points')}"
            for m, c in result
        ],
        token="ink",
        filled=False,
    )
    trace["marker"] |= {"symbol": symbol, "size": 10, "line": {"color": "--ink", "width": 1.5}}
    return trace


def weights(gain: Mapping[str, Any]) -> Figure | None:
    """Draw the weight of each teacher over the steps of the training: mean and range over seeds."""
    diagnostics = [] if gain["hint"] else gain["diagnostics"]["weights"]
    if not diagnostics:
        return None
    result = diagnostics[0]
    steps = result["steps"]
    teachers = sorted(result["teachers"], key=lambda teacher: -teacher["weight"]["value"])
    shown = teachers[: len(LINES)]
    data = []
    for teacher, (token, dash) in zip(shown, LINES, strict=False):
        if len(shown) <= len(LINES) // 3 or teacher is shown[0]:
            data.append(band(steps, teacher["low"], teacher["high"], token))
        accuracy = teacher["accuracy"]["value"]
        right = "" if accuracy is None else f" · {percent(accuracy, 0)} right"
        trace = curve(f"{plot_text(teacher['name'])}{right}", steps, teacher["mean"], token, dash)
        hover = f"{plot_text(teacher['name'])}, step %{{x}}: %{{y:.1%}}<extra></extra>"
        data.append(trace | {"hovertemplate": hover})
    drawn = layout(
        xaxis={"title": title("step of the training"), "nticks": 7},
        yaxis={"title": title("weight"), "tickformat": ".0%", "rangemode": "tozero", "nticks": 6},
    )
    drawn["height"] += LEGEND_ROW * max(0, len(shown) - 3)  # below each other on a phone
    caption = (
        f"{result['method']}: mean over seeds"
        + (f", shaded from the lowest to the highest{_of_first(shown)}" if data else "")
        + ". A weight says whose labels are easy to fit in strong features; how many test items "
        "each teacher has right stands beside its name."
    )
    if len(teachers) > len(shown):
        caption += f" The {len(shown)} largest of {len(teachers)} weights."
    if len(diagnostics) > 1:
        caption += f" The other {len(diagnostics) - 1} are in the summary (JSON)."
    sentences = ", ".join(f"{t['name']} {percent(t['weight']['value'])}" for t in teachers)
    alt = f"Weights of the teachers at the end of the training: {sentences}."
    return Figure("weights", "Whom the student trusts", data, with_legend(drawn), caption, alt)


def _of_first(shown: list[Mapping[str, Any]]) -> str:
    return "" if len(shown) <= len(LINES) // 3 else f" of {shown[0]['name']}"
