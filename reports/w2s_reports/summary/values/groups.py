"""Groups where labels are values: shares, and the error of teacher and student in each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.stages.graph import GROUPS, GROUPS_SUMMARY, SPURIOUS
from w2s_reports.artefacts import Artefacts
from w2s_reports.discovered import group_names, shown_name
from w2s_reports.formats import name_of, plain
from w2s_reports.summary.groups import (
    COUNTS,
    describe_groups,
    named_by_content,
    summarize_cost,
)
from w2s_reports.summary.parts import estimate, sentence, texts

ESTIMATES = (
    *("eta_labelled", "eta_pool", "overlap_density"),
    *("weak_mse", "weak_offset", "student_mse", "student_offset"),
)


def summarize_groups(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize groups, their errors and the cost of unequal shares, or name the command."""
    results = artefacts.later.get(GROUPS_SUMMARY)
    if results is None:
        return {"hint": GROUPS.hint()}
    names = group_names(results)
    about = describe_groups(results, names)
    rows = [
        _row(row, "group", names) | {"about": about.get(shown_name(names, row["group"]), "")}
        for row in results["groups"]
    ]
    return {
        "hint": None,
        "reading": named_by_content(sentence(str(results["reading"])), names),
        "level": plain(results["level"]),
        "discovery": str(results["discovery"]),
        "student": name_of(results.get("student")),
        "rows": rows,
        "sources": [_row(row, "source", {}) for row in results["sources"] or ()],
        "about": about,
        "warnings": [*texts(results["warnings"]), *texts(results.get("notes"))],
        "prediction": summarize_cost(artefacts.later[SPURIOUS], names),
    }


def _row(row: Mapping[str, Any], key: str, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": shown_name(names, row[key]) or "(none)",
        **{name: plain(row.get(name)) for name in COUNTS},
        **{name: estimate(row.get(name)) for name in ESTIMATES},
        "unknown": str(row.get("unknown") or ""),
    }
