"""Forecast of the gain, before training."""

from __future__ import annotations

from typing import Any

from w2s_data.stages.graph import FORECAST
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import plain
from w2s_reports.summary.parts import estimate, sentence, texts


def summarize_forecast(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize accuracies and gain with intervals, or name the command that adds them."""
    result = artefacts.later.get("forecast.json")
    if result is None:
        return {"hint": FORECAST.hint()}
    return {
        "hint": None,
        "reading": sentence(str(result["reading"])),
        "verdict": str(result["verdict"]),
        "level": plain(result["level"]),
        "n": plain(result["n"]),
        "N": plain(result["N"]),
        **{
            name: estimate({**result[name], "level": result["level"]})
            for name in ("teacher", "student", "ceiling", "gain")
        },
        "chance": plain(result["chance_w2s_helps"]),
        "pgr": plain(result["pgr"]),
        "pgr_reason": str(result["pgr_reason"]),
        "warnings": texts(result["warnings"]),
    }
