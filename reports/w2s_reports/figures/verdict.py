"""Figure on the four options and the ceiling: the forecast beside the measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.forecast.options import ADVICE
from w2s_reports.figures.base import Figure, describe, is_known, mark_series, rows_layout, title
from w2s_reports.formats import percent


def accuracies(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> Figure | None:
    """Draw accuracies with intervals; the forecast hollow, the measurement filled."""
    rows = _rows(forecast, gain)
    kinds = [k for k in ("forecast", "measured") if any(is_known(row[k]) for row in rows)]
    if not kinds:
        return None
    both = len(kinds) == 2
    series = [
        ("forecast", "forecast", "accent", False, 0.03 * both),
        ("measured", "measured", "accent", True, -0.22 * both),
    ]
    data = mark_series(rows, series)
    text = [
        f"{row['name']}: {describe(row[kind])} {kind}"
        for kind in kinds
        for row in rows
        if is_known(row[kind])
    ]
    axis = {"title": title("accuracy"), "tickformat": ".0%", "nticks": 6}
    caption = _caption(forecast, gain, "forecast" in kinds, "measured" in kinds)
    return Figure(
        "accuracies",
        "Four options and the ceiling",
        data,
        rows_layout([row["name"] for row in rows], axis, legend=both),
        caption,
        f"Accuracies with intervals. {'; '.join(text)}.",
    )


def _rows(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pair forecasts with measurements, of the options and of what they are compared with."""
    measured = {} if gain["hint"] or not gain["methods"] else gain
    expected, found = (
        {row["name"]: row["accuracy"] for row in stage.get("options", ())}
        for stage in (forecast, measured)
    )
    students = {row["name"]: row["student"] for row in measured.get("options", ())}
    rows: list[dict[str, Any]] = [
        {
            "name": f"{words} ({students[name]})" if students.get(name) else words,
            "forecast": expected.get(name),
            "measured": found.get(name),
        }
        for name, words in ADVICE.items()
    ]
    rows.append({"name": "vote", "forecast": None, "measured": measured.get("vote")})
    ceilings = {"forecast": forecast.get("ceiling"), "measured": measured.get("ceiling")}
    rows.append({"name": "ceiling", **ceilings})
    return [row for row in rows if is_known(row["forecast"]) or is_known(row["measured"])]


def _caption(
    forecast: Mapping[str, Any], gain: Mapping[str, Any], expected: bool, measured: bool
) -> str:
    text = []
    if expected:
        mark = "Hollow: the forecast" if measured else "The forecast"
        text.append(f"{mark}, with {percent(forecast['level'], 0)} intervals.")
    if measured:
        mark = "Filled: measured" if expected else "Measured"
        text.append(
            f"{mark} on {gain['n_test']:,} test items, with {percent(gain['level'], 0)} intervals."
        )
        if is_known(gain["vote"]):
            text.append("The vote joins teacher and students whenever it is used.")
    text.append("The ceiling is the same student trained on gold labels of the pool.")
    return " ".join(text)
