"""Parts of all figures: axes, lines, marks and labels in the report's look.

Colours and fonts are written as CSS variable names (`--ink`); the page replaces them by what they
mean in the reader's theme, so that a figure follows dark mode and print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.utils.typing import IntArray
from w2s_reports.formats import excerpt, format_estimate, has_interval

# About one point per pixel of the widest figure.
MAX_CURVE_POINTS = 1_000
# About the width of a phone.
LABEL_BYTES = 60
# A name, a mark and its neighbour of the other series, without touching.
ROW_HEIGHT = 60

Spec = dict[str, Any]
Estimate = Mapping[str, Any]  # value, low, high
# Label, key of the rows, colour token, whether marks are filled, and shift of the marks.
Series = Sequence[tuple[str, str, str, bool, float]]


@dataclass(frozen=True)
class Figure:
    """A Plotly figure with the words that stand for it where it cannot be seen."""

    name: str
    title: str
    data: list[Spec]
    layout: Spec
    caption: str
    alt: str

    def spec(self) -> Spec:
        """Return the specification for the page's script."""
        return {"data": self.data, "layout": self.layout}


def cut_note(n: int, shown: int, what: str) -> str:
    """Return a sentence for a caption if only the first rows are drawn, else an empty text.

    >>> cut_note(30, 20, "groups"), cut_note(20, 20, "groups")
    (' The first 20 of 30 groups; the table has all.', '')
    """
    return f" The first {shown} of {n} {what}; the table has all." if n > shown else ""


def thin(n: int, keep: int, limit: int = MAX_CURVE_POINTS) -> IntArray:
    """Thin to at most `limit` of the indices 0 … n − 1, with both ends and both sides of `keep`."""
    if n <= limit:
        return np.arange(n)
    # Four places are kept for the ends and the sides of the change point.
    even = np.linspace(0, n - 1, limit - 4).round().astype(np.int64)
    sides = [i for i in (keep - 1, keep) if 0 <= i < n]
    return np.unique(np.concatenate([even, np.array([0, n - 1, *sides])]))


def line(side: str, value: float | None, yref: str) -> Spec:
    """Draw a dotted line across the figure, where the axis has this value."""
    ends = (
        {"xref": "x", "x0": value, "x1": value, "yref": yref, "y0": 0, "y1": 1}
        if side == "x"
        else {"xref": "paper", "x0": 0, "x1": 1, "yref": yref, "y0": value, "y1": value}
    )
    return {"type": "line", **ends, "line": {"color": "--ink", "width": 1, "dash": "dot"}}


def axis() -> Spec:
    """Return an axis without ornament."""
    return {
        "gridcolor": "--rule",
        "linecolor": "--rule",
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        # No zoom: a finger on a phone has to scroll the page, not the figure.
        "fixedrange": True,
    }


def title(text: str) -> Spec:
    """Return the title of an axis."""
    return {"text": text, "standoff": 10, "font": {"size": 13}}


def layout(xaxis: Spec | None = None, yaxis: Spec | None = None) -> Spec:
    """Return the layout of all figures, with the settings of these axes."""
    return {
        "height": 340,
        "margin": {"l": 8, "r": 20, "t": 12, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "--sans", "size": 13, "color": "--muted"},
        "hoverlabel": {
            "bgcolor": "--raised",
            "bordercolor": "--rule",
            "font": {"family": "--sans", "color": "--ink"},
        },
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "xaxis": axis() | {"showgrid": False} | (xaxis or {}),
        "yaxis": axis() | (yaxis or {}),
    }


def plot_text(name: str) -> str:
    """Escape a name from the data for Plotly: no markup, no CSS variable."""
    safe = without_markup(excerpt(name, LABEL_BYTES))
    # The page replaces values that start with "--" by colours; a name must not become one.
    return f"\u200b{safe}" if safe.startswith("--") else safe


def without_markup(text: str) -> str:
    """Escape a text so that Plotly sees neither tags nor formulas."""
    # Plotly renders a subset of HTML, and TeX between dollar signs.
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("$", "&#36;")


def marks(
    name: str,
    estimates: Sequence[Estimate],
    rows: Sequence[float],
    texts: Sequence[str],
    *,
    token: str = "accent",
    filled: bool = True,
) -> Spec:
    """Mark a point with its interval in each row; hollow for a prediction or a comparison."""
    values = [result["value"] for result in estimates]
    spans = [
        (e["value"] - e["low"], e["high"] - e["value"]) if has_interval(e) else (0, 0)
        for e in estimates
    ]
    fill, edge = f"--{token}" if filled else "--paper", {"color": f"--{token}", "width": 2}
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [above for _, above in spans],
        "arrayminus": [below for below, _ in spans],
        "color": f"--{token}",
        "thickness": 2,
        "width": 0,
    }
    texts = [without_markup(text) for text in texts]
    return dots(name, values, rows, texts, size=11, color=fill, line=edge) | {"error_x": bars}


def dots(
    name: str, x: Sequence[float], y: Sequence[float], texts: Sequence[str], **marker: Any
) -> Spec:
    """Draw a marker at each point, with a text for the pointer."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(x),
        "y": list(y),
        "text": list(texts),
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
    }


def mark_series(
    rows: Sequence[Mapping[str, Any]], series: Series, unit: str = "share"
) -> list[Spec]:
    """Mark several estimates in the row of each name, one series a little above the next."""
    data = []
    for label, key, token, filled, shift in series:
        known = [(k, row) for k, row in enumerate(rows) if is_known(row[key])]
        if known:
            estimates = [in_points(row[key]) if unit == "points" else row[key] for _, row in known]
            heights = [len(rows) - 1 - k + shift for k, _ in known]
            texts = [
                f"{row['name']}, {label}: {describe(row[key], row.get('unit', unit))}"
                for _, row in known
            ]
            data.append(marks(label, estimates, heights, texts, token=token, filled=filled))
    return data


def is_known(estimate: Estimate | None) -> bool:
    """Return whether there is an estimate with a value."""
    return estimate is not None and estimate["value"] is not None


def in_points(estimate: Estimate) -> dict[str, float | None]:
    """Scale an estimate from shares to percentage points."""
    sides = {side: estimate[side] for side in ("value", "low", "high")}
    return {side: None if value is None else 100 * value for side, value in sides.items()}


def describe(estimate: Estimate, unit: str = "share") -> str:
    """Put an estimate in words for hover texts and text alternatives."""
    value, *limits = format_estimate(estimate, unit).split(" (", 1)
    return " (".join([f"{value} points" if unit == "points" else value, *limits])


def rows_layout(names: Sequence[str], xaxis: Spec, legend: bool = False) -> Spec:
    """Lay out one row per name, the first on top; names stand above, so that they fit a phone."""
    n = len(names)
    drawn = layout(
        xaxis=xaxis | {"showgrid": True, "side": "bottom"},
        yaxis={"range": [-0.55, n - 0.3], "showticklabels": False, "showgrid": False},
    )
    drawn["annotations"] = [
        {
            "text": plot_text(name),
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": n - 1 - k,
            "yshift": 13,
            "yanchor": "bottom",
            "showarrow": False,
            "font": {"color": "--ink", "size": 13},
            "bgcolor": "--paper",
        }
        for k, name in enumerate(names)
    ]
    # The axis below and the legend above need room of their own.
    drawn["height"] = ROW_HEIGHT * n + (110 if legend else 70)
    return with_legend(drawn) if legend else drawn


def with_legend(drawn: Spec) -> Spec:
    """Add a legend above the figure; a click on it does nothing."""
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"color": "--ink"}}
    legend |= {"itemclick": False, "itemdoubleclick": False}
    return drawn | {"showlegend": True, "legend": legend}


def note(x: float, text: str, y: float = 1, *, left: bool = True) -> Spec:
    """Write a note beside a vertical line, which is on its left or its right."""
    return {
        "x": x,
        "y": y,
        "xref": "x",
        "yref": "paper",
        "text": text,
        "showarrow": False,
        "xanchor": "left" if left else "right",
        "yanchor": "top",
        "xshift": 6 if left else -6,
        "font": {"color": "--ink", "size": 13},
        "bgcolor": "--paper",
    }


def curve(
    name: str, x: Sequence[float], y: Sequence[float | None], token: str, dash: str = "solid"
) -> Spec:
    """Draw a line; None leaves a gap."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(x),
        "y": list(y),
        "line": {"color": f"--{token}", "width": 2.5, "dash": dash},
    }


def band(x: Sequence[float], low: Sequence[float], high: Sequence[float], token: str) -> Spec:
    """Fill the interval around a curve."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*low, *reversed(high)],
        "fill": "toself",
        "fillcolor": f"--{token}-soft",
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
