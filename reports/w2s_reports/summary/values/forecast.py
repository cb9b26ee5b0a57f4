"""Forecast of the options where labels are values."""

from __future__ import annotations

from typing import Any

from w2s_data.stages.graph import FORECAST, FORECAST_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.summary.forecast import forecast_facts
from w2s_reports.summary.parts import estimate
from w2s_reports.summary.values.options import summarize_options


def summarize_forecast(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize expected errors and gain, or name the command that adds them."""
    result = artefacts.later.get(FORECAST_SUMMARY)
    if result is None:
        return {"hint": FORECAST.hint()}
    return {
        **forecast_facts(result),
        **summarize_options(result),
        "gain": estimate(result["gain"]),
    }
