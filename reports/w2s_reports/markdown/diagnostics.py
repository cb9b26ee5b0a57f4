"""What training did, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.formats import percent
from w2s_reports.markdown.tables import escape, share, table


def diagnostics(found: Mapping[str, Any]) -> list[str]:
    """Weights of teachers at the end, assignments by stage, shares kept."""
    parts = []
    for told in found["weights"]:
        rows = [
            [
                escape(t["name"]),
                f"{percent(t['weight']['value'])} "
                f"({percent(t['weight']['low'])} to {percent(t['weight']['high'])})",
                share(t["accuracy"]),
            ]
            for t in told["teachers"]
        ]
        header = ["Teacher", "Weight at the end (range over seeds)", "Right"]
        parts += [f"### Whom {escape(told['method'])} trusts", escape(told["reading"])]
        parts.append(table(header, rows))
    for told in found["assignments"]:
        parts.append(f"### Who teaches whom: {escape(told['method'])}")
        for number, stage in enumerate(told["stages"], start=2):
            kept = f"{percent(stage['kept'], 0)} of the items were kept for training."
            parts.append(f"Stage {number}. {escape(stage['reading'])} {kept}")
            header = ["Class" if stage["classes_from"] == "gold" else "Weak label"]
            header += [escape(teacher) for teacher in stage["teachers"]]
            rows = [
                [escape(row["class"]), *(percent(cell["share"], 0) for cell in row["cells"])]
                for row in stage["rows"]
            ]
            parts.append(table(header, rows))
    said = [f"- {escape(told['method'])}: {escape(told['reading'])}" for told in found["kept"]]
    said += [
        f"- {escape(told['method'])}: {escape(told['reading'])}" for told in found["own_weight"]
    ]
    if said:
        parts += ["### What was trained on", "\n".join(said)]
    for key, title in (
        ("by_label", "Weak label"),
        ("by_gold", "Gold label"),
        ("by_group", "Group"),
    ):
        parts += _kept(found["kept"], key, title)
    return parts


def _kept(methods: Sequence[Mapping[str, Any]], key: str, title: str) -> list[str]:
    if not methods or not methods[0][key]:
        return []
    header = [f"Kept by {title.lower()}", *(escape(told["method"]) for told in methods)]
    rows = [
        [escape(row["name"]), *(percent(told[key][i]["share"], 0) for told in methods)]
        for i, row in enumerate(methods[0][key])
    ]
    return [table(header, rows)]
