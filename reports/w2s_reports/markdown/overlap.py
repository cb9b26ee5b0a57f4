"""Density, regions, thresholds and how to read them as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count, interval, number, number_interval, percent
from w2s_reports.markdown.tables import escape, table, with_interval


def reading(reading: Mapping[str, Any]) -> list[str]:
    """The overlap in a sentence, and what to check before acting on it."""
    if reading["hint"]:
        return ["## Overlap", reading["hint"]]
    advice = "\n".join(f"- {escape(advice)}" for advice in reading["advice"])
    return ["## Overlap", escape(reading["sentence"]), advice]


def overlap(overlap: Mapping[str, Any]) -> list[str]:
    """Density, regions and thresholds."""
    if overlap["hint"]:
        return []
    density, level = overlap["density"], percent(overlap["level"], 0)
    parts = [
        f"Overlap density **{percent(density['value'])}**"
        + (f", {level} interval {s}" if (s := interval(density["low"], density["high"])) else ""),
        table(
            ["Region", "Points", "Share", f"{level} interval", "Weak label right"],
            [
                [
                    r["key"],
                    count(r["n"]),
                    percent(r["share"]),
                    interval(r["low"], r["high"]),
                    with_interval(**_bounds(r["weak_accuracy"])),
                ]
                for r in overlap["regions"]
            ],
        ),
        table(
            ["Threshold", "Value", f"{level} interval"],
            [
                [name, number(t["value"]), number_interval(t["low"], t["high"])]
                for name in ("confidence", "alignment")
                for t in (overlap[f"{name}_threshold"],)
            ],
        ),
    ]
    for key, words in (
        ("weak_accuracy", "all scored points"),
        ("confident_accuracy", "the confident points"),
    ):
        if overlap[key]:
            right = with_interval(**_bounds(overlap[key]))
            parts.append(f"Weak accuracy on {words}: {right}")
    return parts


def _bounds(estimate: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: (estimate or {}).get(name) for name in ("value", "low", "high")}
