"""The summary as Markdown, pleasant in a terminal and in a pull-request comment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count, day
from w2s_reports.markdown import (
    comparison,
    discrepancy,
    examples,
    gain,
    groups,
    overlap,
    projection,
    provenance,
    selection,
    sources,
    verdict,
)
from w2s_reports.markdown.tables import escape, table

__all__ = ["escape", "table", "to_markdown"]


def to_markdown(summary: Mapping[str, Any]) -> str:
    """Headings, the sentences, the tables."""
    parts = [
        _header(summary["data"]),
        *verdict.verdict(summary["verdict"]),
        *verdict.gate(summary["gate"]),
        *comparison.comparison(summary["comparison"]),
        *gain.gain(summary["gain"]),
        *overlap.reading(summary["reading"]),
        *overlap.overlap(summary["overlap"]),
        *projection.projection(summary["projection"]),
        *sources.sources(summary["sources"]),
        *selection.selection(summary["selection"]),
        *groups.groups(summary["group_analysis"], summary["groups"]),
        *discrepancy.discrepancy(summary["discrepancy"]),
        *examples.examples(summary["examples"]),
        *provenance.provenance(summary),
    ]
    return "\n\n".join(parts) + "\n"


def _header(data: Mapping[str, Any]) -> str:
    classes = f"{count(data['n_classes'])} classes · " if data["n_classes"] else ""
    return (
        f"# Weak-to-strong report: {escape(data['name'])}\n\n"
        f"{count(data['n_items'])} items · {count(data['n_scored']) if data['n_scored'] else 'not'}"
        f" scored"
        f" · {classes}{escape(day(data['created']))}"
    )
