"""The scored run as Markdown: overlap, slices, examples and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import count, duration, interval, number, number_interval, percent
from w2s_reports.markdown.tables import escape, table, with_interval


def reading(reading: Mapping[str, Any]) -> list[str]:
    """The overlap in a sentence, and what to check before acting on it."""
    advice = "\n".join(f"- {escape(advice)}" for advice in reading["advice"])
    return ["## Overlap", escape(reading["sentence"]), advice]


def overlap(overlap: Mapping[str, Any]) -> list[str]:
    """Density, regions and thresholds."""
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


def slices(title: str, column: str, slices: Mapping[str, Any]) -> list[str]:
    """The overlap in each source or group."""
    if not slices["rows"]:
        return [f"## {title}", slices["hint"]]
    rows = [
        [
            escape(row["name"]),
            count(row["n"]),
            with_interval(row["density"], row["density_low"], row["density_high"]),
            percent(row["easy_only"]),
            percent(row["hard_only"]),
            with_interval(
                row["weak_accuracy"], row["weak_accuracy_low"], row["weak_accuracy_high"]
            ),
        ]
        for row in slices["rows"]
    ]
    header = [column, "Points", "Overlap density", "Easy-only", "Hard-only", "Weak accuracy"]
    return [f"## {title}", table(header, rows)]


def examples(examples: Sequence[Mapping[str, Any]], limit: int = 3) -> list[str]:
    """The most telling items of each region."""
    parts = ["## Examples"]
    for region in examples:
        if region["items"]:
            rows = [
                [
                    escape((item["text"] or item["id"])[:80]),
                    escape(item["label"] or "–"),
                    escape(item["weak_label"] or "–"),
                    number(item["confidence"]),
                    number(item["alignment"]),
                ]
                for item in region["items"][:limit]
            ]
            header = ["Item", "Label", "Weak label", "Confidence", "Alignment"]
            parts += [f"### {region['region']}, {region['order']}", table(header, rows)]
    return parts if len(parts) > 1 else []


def provenance(summary: Mapping[str, Any]) -> list[str]:
    """Models, settings, timings and versions."""
    provenance = summary["provenance"]
    facts = {
        "data": summary["data"]["fingerprint"],
        **{f"{role} model": _listed(spec) for role, spec in provenance["models"].items()},
        "seed": provenance["seed"],
        "device": provenance["device"],
        "settings": _listed(provenance["settings"]),
        **{stage["name"]: duration(stage["seconds"]) for stage in provenance["stages"]},
        "w2s-data": summary["version"],
        **provenance["versions"],
    }
    rows = [f"- {escape(k)}: {escape(v)}" for k, v in facts.items() if v not in (None, "")]
    return ["## Provenance", "\n".join(rows)] if rows else []


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())
