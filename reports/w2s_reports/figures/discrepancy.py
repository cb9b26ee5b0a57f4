"""Figures on the features: spectra, canonical correlations and the predicted recovery."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from w2s_reports.figures.base import Figure, band, curve, layout, line, note, title, with_legend
from w2s_reports.formats import count, format_estimate, has_interval, number, percent

RISKS = (
    ("teacher", "muted", "dash"),
    ("student", "accent", "solid"),
    ("ceiling", "ink", "dot"),
)
PGR_RANGE = (-0.5, 1.5)  # of the drawing at most; the caption tells of values beyond
WIDE = 2.0  # decades from which a tick at each power of ten is enough


def spectra(discrepancy: Mapping[str, Any]) -> Figure | None:
    """Draw the share of the variance in each direction, both axes logarithmic."""
    if discrepancy["hint"]:
        return None
    data, text = [], []
    for side, token, dash in (("weak", "muted", "dash"), ("strong", "accent", "solid")):
        spectrum = discrepancy["spectra"][side]
        # The axis is logarithmic: directions without variance cannot be drawn.
        values = [v / spectrum["total"] for v in spectrum["leading"] if v > 0]
        if len(values) < 2:
            continue
        trace = curve(f"{side} features", list(range(1, len(values) + 1)), values, token, dash)
        hover = f"{side}, direction %{{x}}: %{{y:.2%}}<extra></extra>"
        data.append(trace | {"hovertemplate": hover})
        half = int(np.searchsorted(np.cumsum(values), 0.5)) + 1
        text.append(
            f"{side} features: {count(spectrum['n_values'])} directions, "
            + (
                f"{half} of them hold half of the variance"
                if half <= len(values)
                else "none of them large"
            )
        )
    if not data:
        return None
    drawn = layout(
        xaxis={"title": title("direction"), "type": "log", "dtick": 1},
        yaxis={"title": title("share of variance"), "type": "log", "dtick": 1}
        | {"tickformat": "~%"},
    )
    caption = f"{'; '.join(text).capitalize()}."
    alt = f"Spectra, falling from left to right. {caption}"
    return Figure("spectra", "Spectra", data, with_legend(drawn), caption, alt)


def correlations(discrepancy: Mapping[str, Any]) -> Figure | None:
    """Draw the canonical correlations of weak and strong features, from the largest."""
    values = [] if discrepancy["hint"] else discrepancy["canonical_correlations"]
    if len(values) < 2:
        return None
    trace = curve("correlation", list(range(1, len(values) + 1)), values, "accent")
    trace |= {"fill": "tozeroy", "fillcolor": "--accent-soft"}
    trace |= {"hovertemplate": "direction %{x}: %{y:.3f}<extra></extra>"}
    drawn = layout(
        xaxis={"title": title("direction")},
        yaxis={"title": title("canonical correlation"), "range": [0, 1.05]},
    )
    caption = (
        f"1 means that the strong features contain the weak direction whole. Together they share "
        f"{format_estimate(discrepancy['shared'], 'number', 1)} of "
        f"{number(discrepancy['d_w'], 0)} weak directions; what is shared, the student inherits."
    )
    alt = (
        f"Canonical correlations, from {number(values[0])} down to {number(values[-1])}. {caption}"
    )
    return Figure("correlations", "Canonical correlations", [trace], drawn, caption, alt)


def risks(discrepancy: Mapping[str, Any]) -> Figure | None:
    """Draw the predicted errors of teacher, student and ceiling over the size of the pool."""
    points = [] if discrepancy["hint"] else discrepancy["curve"]
    if len(points) < 2:
        return None
    x = [point["N"] for point in points]
    data, text = [], []
    for name, token, dash in RISKS:
        trace = curve(name, x, [point[name] for point in points], token, dash)
        data.append(trace | {"hovertemplate": f"{name}, %{{x:,}} items: %{{y:.3f}}<extra></extra>"})
        text.append(f"{name} {number(points[0][name])} to {number(points[-1][name])}")
    known = [v for p in points for v in (p["teacher"], p["student"], p["ceiling"]) if v]
    if not known:
        return None
    # The student's risk may be far larger in a small pool; it would flatten the rest.
    top = 2 * max(point[name] or 0.0 for point in points for name in ("teacher", "ceiling"))
    drawn = layout(
        xaxis=_pool_axis(x),
        yaxis={"title": title("excess error"), "type": "log", "dtick": 1, "tickformat": "~g"}
        | {"range": [math.log10(min(known) / 1.3), math.log10(max(top, min(known) * 2))]},
    )
    _mark_pool(drawn, discrepancy["N"], x)
    caption = (
        "Errors by label noise alone, in units of that noise: a teacher trained on "
        f"{count(discrepancy['n'])} labels, its student, and the ceiling that learns from as many "
        "gold labels as the pool has items. Training pays where the student lies below the teacher."
    )
    alt = f"From {count(x[0])} to {count(x[-1])} pool items: {', '.join(text)}. {caption}"
    return Figure("risks", "Predicted error over the pool", data, with_legend(drawn), caption, alt)


def _pool_axis(sizes: list[float]) -> dict[str, Any]:
    """Return a logarithmic axis of pool items, from the smallest to the largest."""
    low, high = (math.log10(sizes[i]) for i in (0, -1))
    steps = (1,) if high - low > WIDE else (1, 2, 5)
    ticks = [k * 10**e for e in range(math.floor(low), math.ceil(high) + 1) for k in steps]
    return {
        "title": title("pool items"),
        "type": "log",
        "tickvals": ticks,
        "ticktext": [count(tick) for tick in ticks],
        "range": [low, high],
    }


def _mark_pool(drawn: dict[str, Any], pool: int | None, sizes: list[float]) -> None:
    """Draw a line at the size of this pool, if the figure reaches there."""
    if pool and sizes[0] <= pool <= sizes[-1]:
        drawn["shapes"] = [line("x", pool, "paper")]
        left = math.log10(pool / sizes[0]) < 0.6 * math.log10(sizes[-1] / sizes[0])
        drawn["annotations"] = [note(math.log10(pool), f"this pool, {count(pool)}", 0.1, left=left)]


def recovery(discrepancy: Mapping[str, Any]) -> Figure | None:
    """Draw the predicted performance gap recovered over the size of the pool."""
    points = [] if discrepancy["hint"] else discrepancy["curve"]
    known = [point for point in points if point["pgr"]["value"] is not None]
    if len(known) < 2 or not any(point["pgr"]["value"] for point in known):
        return None  # undefined, or nothing to recover: the errors themselves say that
    x = [point["N"] for point in known]
    values = [point["pgr"]["value"] for point in known]
    trace = curve("recovered", x, values, "accent")
    data = [trace | {"hovertemplate": "%{x:,} pool items: %{y:.0%}<extra></extra>"}]
    sure = [point for point in known if has_interval(point["pgr"])]
    if sure:
        below, above = ([point["pgr"][side] for point in sure] for side in ("low", "high"))
        data.insert(0, band([point["N"] for point in sure], below, above, "accent"))
    pool = discrepancy["N"]
    sizes = [min(x[0], pool or x[0]), x[-1]]
    low = max(PGR_RANGE[0], min(0.0, *values) - 0.05)
    high = min(PGR_RANGE[1], max(1.0, *values) + 0.08)
    drawn = layout(
        xaxis=_pool_axis(sizes),
        yaxis={"title": title("gap recovered"), "tickformat": ".0%", "range": [low, high]},
    )
    _mark_pool(drawn, pool, sizes)
    caption = _recovery_caption(discrepancy, known)
    alt = (
        f"Predicted share of the gap recovered: {percent(values[0], 0)} with "
        f"{count(x[0])} pool items, {percent(values[-1], 0)} with {count(x[-1])}. {caption}"
    )
    return Figure("recovery", "Predicted recovery over the pool", data, drawn, caption, alt)


def _recovery_caption(discrepancy: Mapping[str, Any], known: list[Mapping[str, Any]]) -> str:
    first = count(known[0]["N"])
    text = [
        "Share of the gap between teacher and ceiling in label-noise variance alone, which the "
        f"student closes; undefined below {first} pool items, where the ceiling is no better than "
        "the teacher."
        if len(known) < len(discrepancy["curve"])
        else "Share of the gap between teacher and ceiling in label-noise variance alone, which "
        "the student closes."
    ]
    if max(point["pgr"]["value"] for point in known) > PGR_RANGE[1]:
        text.append("Cut at the top: with a pool so small the ceiling is hardly above the teacher.")
    return " ".join(text)
