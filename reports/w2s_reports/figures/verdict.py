"""Figure on teacher, student and ceiling: the forecast beside the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.forecast.options import WORDS
from w2s_reports.figures.base import Figure, describe, is_known, mark_series, rows_layout, title
from w2s_reports.formats import percent

Row = Mapping[str, Any]  # name, forecast, measured


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
        "Teacher, student and ceiling",
        data,
        rows_layout([row["name"] for row in rows], axis, legend=both),
        caption,
        f"Accuracies with intervals. {'; '.join(text)}.",
    )


def _rows(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> Sequence[Row]:
    """Pair forecasts with measurements; the forecast student is the plainly trained one."""
    if gain["hint"] or not gain["methods"]:
        expected = _options(forecast) | {"ceiling": forecast.get("ceiling")}
        return [{"name": n, "forecast": value, "measured": None} for n, value in expected.items()]
    best = gain["methods"][0]
    check = gain["forecast"] or {}
    plain = next((m for m in gain["methods"] if m["name"] == check.get("student")), None)
    rows = [("teacher", forecast.get("teacher"), gain["teacher"])]
    if plain is None and not forecast["hint"]:
        rows.append(("student", forecast.get("student"), None))
    elif plain is not None:
        rows.append((f"student, {plain['name']}", forecast.get("student"), plain["accuracy"]))
    # The best method is often the plain one: it would be drawn twice.
    if plain is not best:
        rows.append((f"student, {best['name']} (the best)", None, best["accuracy"]))
    alone = _options(forecast).get(WORDS["gold"])
    rows.append(("labelled items only", alone, gain["labelled_only"]))
    rows.append(("ceiling", forecast.get("ceiling"), gain["ceiling"]))
    known = [row for row in rows if is_known(row[1]) or is_known(row[2])]
    return [dict(zip(("name", "forecast", "measured"), row, strict=True)) for row in known]


def _options(forecast: Mapping[str, Any]) -> dict[str, Any]:
    return {option["words"]: option["accuracy"] for option in forecast.get("options", ())}


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
    text.append("The ceiling is the same student trained on gold labels of the pool.")
    return " ".join(text)
