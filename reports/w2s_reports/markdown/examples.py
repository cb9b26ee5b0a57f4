"""The most telling items as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import number
from w2s_reports.markdown.tables import escape, table


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
