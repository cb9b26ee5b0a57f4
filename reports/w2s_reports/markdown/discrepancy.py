"""The discrepancy of the features as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import amount, number, number_interval, percent
from w2s_reports.markdown.tables import escape, quoted, table


def discrepancy(found: Mapping[str, Any]) -> list[str]:
    """The reading, the dimensions and the pools that are needed."""
    if found["hint"]:
        return ["## Discrepancy", found["hint"]]
    parts = ["## Discrepancy", *quoted(found["warnings"]), escape(found["reading"])]
    parts += [escape(found["advice"])] if found["advice"] else []
    parts += [f"Unknown: {escape(reason)}" for reason in found["unknown"]]
    if found["known"]:
        shared = found["shared"]
        limits = number_interval(shared["low"], shared["high"], 1)
        facts = [
            f"- Dimensions: {amount(found['d_w'])} weak, {amount(found['d_s'])} strong, "
            f"{number(shared['value'], 1)}{f' ({limits})' if limits else ''} shared",
        ]
        if found["break_even"] is not None:
            facts.append(f"- Break-even: {amount(found['break_even'])} pool items")
        facts += [
            f"- {percent(row['share'], 0)} of the attainable gain: {amount(row['N'])} pool items"
            for row in found["needed_pool"]
            if row["N"] is not None
        ]
        parts.append("\n".join(facts))
    if found["sensitivity"]:
        header = ["Criterion", "Weak", "Strong", "Shared", "Teacher", "Student", "Ceiling"]
        rows = [
            [
                escape(row["criterion"]),
                amount(row["weak"]),
                amount(row["strong"]),
                number(row["d_sw"], 1),
                *(number(row[name]) for name in ("teacher", "student", "ceiling")),
            ]
            for row in found["sensitivity"]
        ]
        parts.append(table(header, rows))
    return parts
