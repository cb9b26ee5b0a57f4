"""The overlap in each source or group."""

from __future__ import annotations

from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import name_of, plain

_ROW_NUMBERS = (
    "density",
    "density_low",
    "density_high",
    "hard_only",
    "easy_only",
    "weak_accuracy",
    "weak_accuracy_low",
    "weak_accuracy_high",
)


def slices(artefacts: Artefacts, key: str, role: str) -> dict[str, Any]:
    """The overlap in each source or group."""
    rows = [
        {
            "name": name_of(row.get("name")) or "(none)",
            "n": int(row.get("n") or 0),
            **{name: plain(row.get(name)) for name in _ROW_NUMBERS},
        }
        for row in artefacts.overlap.get(key) or []
    ]
    option = f"w2s score DATA --{role} COLUMN"
    missing = f"No {role} column was given; `{option}` compares {role}s."
    if not artefacts.is_scored:
        missing = f"`w2s score RUN` adds the overlap of each {role}."
    return {"rows": rows, "hint": None if rows else missing}
