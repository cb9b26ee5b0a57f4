"""What `w2s select` bought, from whom, and what else the budget would have bought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import name_of, plain
from w2s_reports.summary.parts import from_columns, sentence, texts

HINT = "`w2s select RUN --budget N` adds which sources the next items should come from."
WHOLE = ("objective", "reward", "policy", "budget_unit")
NUMBERS = ("budget", "spent", "rounds", "items")
SOURCE_NUMBERS = ("cost", "items", "spent", "probability_best", "recommended")


def summarize_selection(artefacts: Artefacts) -> dict[str, Any]:
    """Sources, stops and baselines, or the command that selects."""
    found = artefacts.later.get("selection.json")
    if found is None:
        return {"hint": HINT}
    return {
        "hint": None,
        **{name: str(found[name]) for name in WHOLE},
        **{name: plain(found[name]) for name in NUMBERS},
        "ended": sentence(str(found["ended"])),
        "rows": [_source(row) for row in found["sources"]],
        "baselines": [
            {
                "strategy": str(row["strategy"]).replace("_", " "),
                "runs": plain(row["runs"]),
                "value": from_columns(row, "value"),
                "evaluated": from_columns(row, "evaluated"),
            }
            for row in found["baselines"] or ()
        ],
        "regret": {
            "kind": str(found["regret"]["kind"]),
            **{name: plain(found["regret"][name]) for name in ("cumulative", "simple", "bound")},
            "reason": str(found["regret"]["reason"]),
        },
        "notes": [sentence(note) for note in texts(found["notes"])],
    }


def _source(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name_of(row["source"]) or "(none)",
        **{name: plain(row[name]) for name in SOURCE_NUMBERS},
        "reward": {
            "value": plain(row["reward"]),
            "low": plain(row["low"]),
            "high": plain(row["high"]),
        },
        "status": str(row["status"]),
        "reason": str(row["reason"]),
    }
