"""The overlap in each source or group."""

from __future__ import annotations

from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import name_of, plain
from w2s_reports.summary.parts import from_columns


def slices(artefacts: Artefacts, role: str) -> dict[str, Any]:
    """Summarize the overlap in each source or group."""
    overlap = artefacts.overlap
    rows = [
        {
            "name": name_of(row.get("name")) or "(none)",
            "n": int(row.get("n") or 0),
            "density": from_columns(row, "density", overlap.get("level")),
            **{name: plain(row.get(name)) for name in ("hard_only", "easy_only")},
            "weak_accuracy": from_columns(row, "weak_accuracy", overlap.get("level")),
        }
        for row in overlap.get(f"by_{role}") or []
    ]
    option = f"w2s score DATA --{role} COLUMN"
    missing = f"No {role} column was given; `{option}` compares {role}s."
    if not artefacts.is_scored:
        missing = f"`w2s score RUN` adds the overlap of each {role}."
    return {"rows": rows, "hint": None if rows else missing}
