"""Items to look at as Markdown: telling ones, disagreements, duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import count, number, percent
from w2s_reports.markdown.tables import escape, table


def examples(found: Mapping[str, Any], limit: int = 3) -> list[str]:
    """The most telling items of each region, then whom student and teacher contradict."""
    parts = []
    for region in found["regions"]:
        if region["items"]:
            rows = [
                [
                    _item(item),
                    escape(item["label"] or "–"),
                    escape(item["weak_label"] or "–"),
                    number(item["confidence"]),
                    number(item["alignment"]),
                ]
                for item in region["items"][:limit]
            ]
            header = ["Item", "Label", "Weak label", "Confidence", "Alignment"]
            parts += [f"### {region['region']}, {region['order']}", table(header, rows)]
    parts += _disagreements(found["disagreements"], limit)
    parts += _duplicates(found["duplicates"], limit)
    return ["## Examples", *parts]


def _item(item: Mapping[str, Any]) -> str:
    text = escape((item["text"] or item["id"])[:80])
    return text if item["rejected"] is None else f"{text} / {escape(item['rejected'][:80])}"


def _disagreements(found: Mapping[str, Any], limit: int) -> list[str]:
    parts = ["### Disagreements of student and teacher"]
    if found["hint"]:
        return [*parts, found["hint"]]
    parts.append(escape(found["reading"]))
    kinds = [kind for kind in found["kinds"] if kind["n"]]
    if found["splits"]:
        header = ["Split", "Items", "Disagreements", *(kind["short"] for kind in kinds)]
        rows = [
            [
                escape(row["split"]),
                count(row["n"]),
                f"{count(row['n_disagree'])} ({percent(row['n_disagree'] / row['n'])})",
                *(count(row[kind["key"]]) for kind in kinds),
            ]
            for row in found["splits"]
        ]
        parts.append(table(header, rows))
    for kind in kinds:
        rows = [
            [
                _item(item),
                escape(item["student_label"] or "–"),
                percent(item["student_proba"], 0),
                escape(item["weak_label"] or "–"),
                escape(item["label"] or "–"),
            ]
            for item in kind["items"][:limit]
        ]
        header = ["Item", f"Student ({escape(found['method'])})", "Sure", "Weak label", "Label"]
        parts += [f"**{kind['title']}**, the surest first", table(header, rows)]
    return parts


def _duplicates(found: Mapping[str, Any], limit: int) -> list[str]:
    parts = ["### Duplicates"]
    if found["hint"]:
        return [*parts, found["hint"]]
    parts.append(escape(found["reading"]))
    rows = [
        [
            _item(pair["a"]),
            _item(pair["b"]),
            number(pair["similarity"], 4),
            "yes" if pair["leaks"] else "no",
            "yes" if pair["labels_differ"] else "no",
        ]
        for pair in found["pairs"][: 2 * limit]
    ]
    if rows:
        header = ["Item", "Nearly the same", "Cosine", "Across splits", "Labels differ"]
        parts.append(table(header, rows))
    return parts
