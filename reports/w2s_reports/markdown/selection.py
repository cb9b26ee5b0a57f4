"""What was bought from whom as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import amount, count, percent
from w2s_reports.markdown.tables import escape, plain_number, share, table


def selection(found: Mapping[str, Any]) -> list[str]:
    """Sources, stops and baselines."""
    if found["hint"]:
        return ["## Selection", found["hint"]]
    spent = f"{amount(found['spent'])} of {amount(found['budget'])} {found['budget_unit']}"
    said = f"{count(found['items'])} items in {count(found['rounds'])} rounds for {spent}."
    header = ["Source", "Items", found["reward"].capitalize(), "Likely best"]
    header += ["Buy next", "Status"]
    rows = [
        [
            escape(row["name"]),
            count(row["items"]),
            plain_number(row["reward"]),
            percent(row["probability_best"]),
            amount(row["recommended"]),
            row["status"],
        ]
        for row in found["rows"]
    ]
    parts = ["## Selection", f"{said} {escape(found['ended'])}", table(header, rows)]
    parts += [
        f"- {escape(row['name'])}, {row['status']}: {escape(row['reason'])}"
        for row in found["rows"]
        if row["reason"]
    ]
    if found["baselines"]:
        rows = [
            [
                row["strategy"],
                count(row["runs"]),
                plain_number(row["value"]),
                share(row["evaluated"]),
            ]
            for row in found["baselines"]
        ]
        parts.append(table(["Strategy", "Runs", "Objective", "Student's accuracy"], rows))
    return [*parts, *(escape(note) for note in found["notes"])]
