"""Charts of the suite's results: ratios as bars, growth curves with their slopes.

    python benchmarks/speed/charts.py        # results.json -> docs/images/benchmark-*.svg

The same results give the same files, byte by byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from suite import RESULTS, collected, load

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import Row, curves, last_decade, slope

IMAGES = Path(__file__).parents[2] / "docs" / "images"
# Okabe and Ito's colours, which stay apart for people who do not see red and green.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
FASTER, SLOWER, INK, GRID = COLOURS[0], COLOURS[4], "#222222", "#dddddd"
MARKERS = "osD^vPX"
STYLE = {
    "svg.fonttype": "none",  # text stays text: sharp, searchable, and small
    "svg.hashsalt": "w2s-data",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def ratios(rows: Sequence[Row], path: Path) -> None:
    """Bars of times faster, on a logarithmic axis around 1."""
    from matplotlib.figure import Figure

    shown = sorted((row for row in rows if row.ratio), key=lambda row: row.ratio or 0)
    figure = Figure(figsize=(9, 0.8 + 0.27 * len(shown)), layout="constrained")
    axes = figure.subplots()
    values = [row.ratio or 1.0 for row in shown]
    colours = [FASTER if value >= 1 else SLOWER for value in values]
    widths = [value - 1 for value in values]
    axes.barh(range(len(shown)), widths, left=1, color=colours, height=0.7, zorder=2)
    axes.set_xscale("log")
    axes.set_xlim(min(0.2, 0.7 * min(values)), 2.5 * max(values))
    axes.set_yticks(range(len(shown)), [f"{row.what}  |  {row.other}" for row in shown], fontsize=8)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.axvline(1, color=INK, linewidth=1, zorder=3)
    axes.grid(axis="x", color=GRID, zorder=0)
    for y, value in enumerate(values):
        text = f"{value:,.0f}" if value >= 20 else f"{value:.2g}"
        right = value >= 1
        axes.annotate(
            text,
            (value, y),
            xytext=(3 if right else -3, 0),
            textcoords="offset points",
            va="center",
            ha="left" if right else "right",
            fontsize=8,
        )
    axes.set_xlabel("times faster than what stands behind the bar (logarithmic; 1 = as fast)")
    save(figure, path)


def growth(rows: Sequence[Row], path: Path) -> None:
    """Time and memory over N on log-log axes, with the slope over the last decade."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, label in zip(panels, ("seconds", "peak memory, MB"), strict=True):
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("items N")
        panel.set_ylabel(label)
        panel.grid(color=GRID, which="major")
    for number, (name, found) in enumerate(curves(rows).items()):
        style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        for panel, attribute in zip(panels, ("seconds", "memory_mb"), strict=True):
            points = [row for row in found if getattr(row, attribute)]
            if len(points) < 2:
                continue
            last = last_decade(points)
            power = slope([row.size or 1 for row in last], [getattr(r, attribute) for r in last])
            panel.plot(
                [row.size for row in points],
                [getattr(row, attribute) for row in points],
                label=f"{name}: slope {power:.2f}",
                markersize=4,
                **style,
            )
    for panel in panels:
        if panel.get_legend_handles_labels()[0]:
            below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
            panel.legend(fontsize=8, frameon=False, **below)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write an SVG without the date, on white."""
    figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None})
    print(path)


def main() -> None:
    """Draw both charts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=IMAGES)
    given = parser.parse_args()
    rows = collected(load(given.results))
    if not rows:
        raise SystemExit(f"{given.results} holds no rows: run benchmarks/speed/suite.py first")
    with mpl.rc_context(STYLE):
        ratios(rows, given.folder / "benchmark-ratios.svg")
        growth(rows, given.folder / "benchmark-growth.svg")


if __name__ == "__main__":
    main()
