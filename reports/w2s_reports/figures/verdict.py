"""Figure on teacher, student and ceiling: the forecast beside the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_reports.figures.base import Estimate, Figure, describe, marks, rows_layout, title
from w2s_reports.formats import percent

Row = tuple[str, Estimate | None, Estimate | None]  # name, forecast, measured


def accuracies(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> Figure | None:
    """Draw accuracies with intervals; the forecast hollow, the measurement filled."""
    rows = _rows(forecast, gain)
    expected = _placed(rows, 1)
    measured = _placed(rows, 2)
    if not expected and not measured:
        return None
    both = bool(expected) and bool(measured)
    data, text = [], []
    for kind, result, filled, shift in (
        ("forecast", expected, False, 0.03),
        ("measured", measured, True, -0.22),
    ):
        if result:
            heights = [height + (shift if both else 0) for height, _, _ in result]
            texts = [f"{name}: {describe(estimate)} {kind}" for _, name, estimate in result]
            data.append(marks(kind, [e for *_, e in result], heights, texts, filled=filled))
            text += texts
    axis = {"title": title("accuracy"), "tickformat": ".0%", "nticks": 6}
    caption = _caption(forecast, gain, bool(expected), bool(measured))
    return Figure(
        "accuracies",
        "Teacher, student and ceiling",
        data,
        rows_layout([name for name, *_ in rows], axis, legend=both),
        caption,
        f"Accuracies with intervals. {'; '.join(text)}.",
    )


def _rows(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> Sequence[Row]:
    """Pair forecasts with measurements; the forecast student is the plainly trained one."""
    if gain["hint"] or not gain["methods"]:
        names = ("teacher", "student", "ceiling")
        return [(name, forecast.get(name), None) for name in names]
    best = gain["methods"][0]
    check = gain["forecast"] or {}
    plain = next((m for m in gain["methods"] if m["name"] == check.get("student")), None)
    rows: list[Row] = [("teacher", forecast.get("teacher"), gain["teacher"])]
    if plain is None and not forecast["hint"]:
        rows.append(("student", forecast.get("student"), None))
    elif plain is not None:
        rows.append((f"student, {plain['name']}", forecast.get("student"), plain["accuracy"]))
    # The best method is often the plain one: it would be drawn twice.
    if plain is not best:
        rows.append((f"student, {best['name']} (the best)", None, best["accuracy"]))
    rows.append(("labelled items only", None, gain["labelled_only"]))
    rows.append(("ceiling", forecast.get("ceiling"), gain["ceiling"]))
    return [row for row in rows if _known(row[1]) or _known(row[2])]


def _placed(rows: Sequence[Row], column: int) -> list[tuple[int, str, Estimate]]:
    """List height, name and estimate of the rows that have one in this column."""
    top = len(rows) - 1
    placed = []
    for k, row in enumerate(rows):
        result = row[1] if column == 1 else row[2]
        if result is not None and result["value"] is not None:
            placed.append((top - k, row[0], result))
    return placed


def _known(result: Estimate | None) -> bool:
    return result is not None and result["value"] is not None


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
