"""What was bought from whom as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import amount, count, number, number_span, percent
from w2s_reports.markdown.tables import escape, plain_number, share, table


def selection(found: Mapping[str, Any]) -> list[str]:
    """Sources, stops and baselines."""
    if found["hint"]:
        return ["## Selection", found["hint"]]
    money = found["budget_unit"] == "money"
    budget = (
        f"a budget of {amount(found['budget'])}" if money else f"{amount(found['budget'])} items"
    )
    spent = f"{amount(found['spent'])} of {budget}"
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
    parts = ["## Selection", escape(found["advice"])]
    parts += [f"{said} {escape(found['ended'])}", table(header, rows)]
    parts += [
        f"- {escape(row['name'])}, {row['status']}: {escape(row['reason'])}"
        for row in found["rows"]
        if row["reason"]
    ]
    parts += [f"- {escape(text)}" for text in found["comparison"]]
    parts += _baselines(found)
    return [*parts, *(escape(note) for note in found["notes"])]


def _baselines(found: Mapping[str, Any]) -> list[str]:
    """What the same budget brings otherwise, in the columns that are known."""
    columns = [
        (name, header, spell)
        for name, header, spell in _MEASURES
        if any(row[name]["value"] is not None for row in found["baselines"])
    ]
    if not columns:
        return []
    rows = [
        [row["strategy"], count(row["runs"]), *(spell(row[name]) for name, _, spell in columns)]
        for row in found["baselines"]
    ]
    return [table(["Strategy", "Runs", *(header for _, header, _ in columns)], rows)]


def _points(found: Mapping[str, Any]) -> str:
    limits = number_span(found["low"], found["high"], 0)
    return number(found["value"], 0) + (f" ({limits})" if limits else "")


_MEASURES = (
    ("evaluated", "Student's accuracy", share),
    ("overlap", "Overlap points", _points),
    ("regret", "Estimated regret", _points),
    ("value", "Objective", plain_number),
)
