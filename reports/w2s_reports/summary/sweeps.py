"""Sweeps: the papers' figures on this run's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.stages.graph import SWEEP, SWEEP_SUMMARY, sweep_table
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import plain
from w2s_reports.summary.parts import estimate, texts

TITLES = {
    "overlap": "Share of overlap points",
    "eta": "Share of a group in the pool",
    "gold": "Number of gold labels",
    "pool": "Number of weak labels",
    "noise": "Noise of the weak labels",
    "model": "Pairs of models",
    "rounds": "Rounds of the selection",
}
# Formats of a line's values, by their unit.
FORMATS = {"accuracy": "share", "gain": "points", "PGR": "share", "OPR": "number"}
PANELS = "panels"  # in place of units where a figure has panels
BRIEF = {("variance", "teacher"), ("variance", "student")}


def summarize_sweeps(artefacts: Artefacts) -> dict[str, Any] | None:
    """Summarize the figures that the run has, or None."""
    content = artefacts.later.get(SWEEP_SUMMARY)
    if content is None:
        return None
    sweeps = [_sweep(over, own) for over, own in content["sweeps"].items()]
    return {
        "latest": content["latest"],
        "outdated": SWEEP.name in artefacts.outdated,
        "sweeps": sweeps,
    }


def _sweep(over: str, content: Mapping[str, Any]) -> dict[str, Any]:
    lines = [_line(line) for line in content["lines"]]
    panels = list(dict.fromkeys(line["panel"] for line in lines if line["panel"]))
    # A screen holds teacher and student of each panel; the page and the table have all.
    brief = [line for line in lines if not panels or (line["unit"], line["model"]) in BRIEF]
    return {
        "over": over,
        "title": TITLES[over],
        "axis": content["axis"],
        "n_seeds": plain(content["n_seeds"]),
        "reading": str(content["reading"]),
        "notes": texts(content["notes"]),
        "lines": lines,
        "brief": brief,
        "panels": [{"name": panel, "title": _titled(panel, content["facts"])} for panel in panels],
        "units": [PANELS] if panels else list(dict.fromkeys(line["unit"] for line in lines)),
        "pairs": [_pair(row) for row in content["table"]],
        "csv": sweep_table(over),
    }


def _titled(panel: str, facts: Mapping[str, Any]) -> str:
    """Return the name of a regime with the dimensions that weak and strong features share."""
    shared, own = (facts[f"{name}, {panel}"]["value"] for name in ("d_sw", "d_w"))
    return f"{panel}, d_sw {shared:.1f} of {own:.0f}"


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    panel = str(line.get("panel", ""))
    points = [
        {"x": plain(point["x"]), "value": estimate(point["value"])} for point in line["points"]
    ]
    return {
        "name": f"{panel}: {line['name']}, {line['unit']}" if panel else str(line["name"]),
        "model": str(line["name"]),
        "panel": panel,
        "kind": str(line["kind"]),
        "unit": str(line["unit"]),
        "format": FORMATS.get(line["unit"], "number"),
        "points": points,
    }


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: estimate(cell) if isinstance(cell, Mapping) else str(cell)
        for name, cell in row.items()
    }
