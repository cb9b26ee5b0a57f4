"""Two runs side by side as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count, spelled, spelled_interval
from w2s_reports.markdown.tables import escape, table


def comparison(found: Mapping[str, Any] | None) -> list[str]:
    """Both runs' numbers, their differences, and what is set differently."""
    if found is None:
        return []
    said = f"Beside the baseline {escape(found['name'])}, {count(found['n_items'])} items."
    parts = ["## Comparison", *(escape(text) for text in found["sentences"]), said]
    for section in found["sections"]:
        header = [section["title"], "This run", "Baseline", "Difference", "Told apart?"]
        rows = [
            [
                escape(row["name"]),
                _estimate(row["value"], row["unit"]),
                _estimate(row["other"], row["unit"]),
                _estimate(row["difference"], _between(row["unit"])),
                row["told"],
            ]
            for row in section["rows"]
        ]
        parts.append(table(header, rows))
    parts += [escape(text) for text in found["lacking"]]
    if found["settings"]:
        rows = [
            [escape(row["name"]), *(escape(row[key] or "–") for key in ("value", "other"))]
            for row in found["settings"]
        ]
        parts.append(table(["Set differently", "This run", "Baseline"], rows))
    return [*parts, "\n".join(f"- {escape(note)}" for note in found["notes"])]


def _between(unit: str) -> str:
    return "points" if unit == "share" else unit


def _estimate(found: Mapping[str, Any], unit: str) -> str:
    limits = spelled_interval(found["low"], found["high"], unit)
    return spelled(found["value"], unit) + (f" ({limits})" if limits else "")
