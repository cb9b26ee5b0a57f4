"""Figures where labels are values: errors of the options and methods, and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.forecast.options import ADVICE
from w2s_data.utils.intervals import LEVEL
from w2s_reports.artefacts import Artefacts
from w2s_reports.figures.base import (
    Figure,
    Spec,
    curve,
    cut_note,
    describe,
    dots,
    is_known,
    layout,
    line,
    mark_series,
    marks,
    rows_layout,
    title,
    with_legend,
)
from w2s_reports.figures.gain import SHOWN
from w2s_reports.formats import count, percent, significant
from w2s_reports.summary.values.fit import STUDENT, TEACHER, compared_rows, read_predictions
from w2s_reports.summary.values.gain import reference

APART = 1.2  # ratio of stated errors from which a figure shows more than one mark
MAX_POINTS = 1_500  # of a scatter plot; more hide each other
TOKENS = {TEACHER: "muted", STUDENT: "accent"}
SYMBOLS = {TEACHER: "circle-open", STUDENT: "circle"}


def value_figures(artefacts: Artefacts, summary: Mapping[str, Any]) -> list[Figure | None]:
    """Build the figures that are about values, in the order of the page."""
    return [
        errors(summary["forecast"], summary["gain"]),
        ranking(summary["gain"]),
        scatter(artefacts, summary["fit"]),
        residuals(summary["fit"]),
        stated_errors(summary["posterior"]),
    ]


def errors(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> Figure | None:
    """Draw the mean squared error of the options; the forecast hollow, the measurement filled."""
    rows = _option_rows(forecast, gain)
    kinds = [k for k in ("forecast", "measured") if any(is_known(row[k]) for row in rows)]
    if not kinds:
        return None
    both = len(kinds) == 2
    series = [
        ("forecast", "forecast", "accent", False, 0.03 * both),
        ("measured", "measured", "accent", True, -0.22 * both),
    ]
    text = [
        f"{row['name']}: {describe(row[kind], 'value')} {kind}"
        for kind in kinds
        for row in rows
        if is_known(row[kind])
    ]
    axis = {"title": title("mean squared error"), "nticks": 6, "rangemode": "tozero"}
    caption = []
    if "forecast" in kinds:
        mark = "Hollow: the forecast" if both else "The forecast"
        caption.append(f"{mark}, with {percent(forecast['level'], 0)} intervals.")
    if "measured" in kinds:
        mark = "Filled: measured" if both else "Measured"
        level = percent(gain["level"], 0)
        caption.append(f"{mark} on {count(gain['n_test'])} test items, with {level} intervals.")
    caption.append("The further left the better.")
    return Figure(
        "errors",
        "Error of the four options",
        mark_series(rows, series, "value"),
        rows_layout([row["name"] for row in rows], axis, legend=both),
        " ".join(caption),
        f"Mean squared errors with intervals. {'; '.join(text)}.",
    )


def _option_rows(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Pair forecasts with measurements of the options; the ceiling comes last."""
    expected, found = (
        {row["name"]: row for row in stage.get("options", ())} for stage in (forecast, gain)
    )
    rows: list[dict[str, Any]] = []
    for name, words in ADVICE.items():
        student = found.get(name, {}).get("student")
        rows.append(
            {
                "name": f"{words} ({student})" if student else words,
                "forecast": expected.get(name, {}).get("mse"),
                "measured": found.get(name, {}).get("mse"),
            }
        )
    ceiling = None if gain["hint"] else reference(gain, "ceiling")["mse"]
    rows.append({"name": "ceiling", "forecast": None, "measured": ceiling})
    return [row for row in rows if is_known(row["forecast"]) or is_known(row["measured"])]


def ranking(gain: Mapping[str, Any]) -> Figure | None:
    """Draw by how much each method's error is below the teacher's."""
    methods = [] if gain["hint"] else [m for m in gain["methods"] if is_known(m["gain"])]
    if not methods:
        return None
    shown = methods[:SHOWN]
    series = [("gain", "gain", "accent", True, 0.0)]
    axis = {"title": title("teacher's MSE minus the method's"), "nticks": 7}
    drawn = rows_layout([m["name"] for m in shown], axis)
    drawn["shapes"] = [line("x", 0, "paper")]
    words = "; ".join(f"{m['name']} {describe(m['gain'], 'change')}" for m in shown)
    return Figure(
        "methods",
        "Gain over the teacher, by method",
        mark_series(shown, series, "change"),
        drawn,
        f"With {percent(gain['level'], 0)} intervals, paired by item, each for that method alone; "
        f"the dotted line is the teacher.{cut_note(len(methods), SHOWN, 'methods')}",
        f"Methods by gain over the teacher: {words}.",
    )


def scatter(artefacts: Artefacts, fit: Mapping[str, Any]) -> Figure | None:
    """Draw predictions over gold values, of teacher and student."""
    if fit["hint"]:
        return None
    predictions, method = read_predictions(artefacts)
    rows = compared_rows(predictions, method)
    drawn = rows.sort_values("target", kind="stable")
    if len(drawn) > MAX_POINTS:  # evenly over the targets, without chance
        drawn = drawn.iloc[np.linspace(0, len(drawn) - 1, MAX_POINTS).round().astype(int)]
    data = [_cloud(model, drawn) for model in fit["models"]]
    columns = ["target", *(model["key"] for model in fit["models"])]
    low, high = float(drawn[columns].min().min()), float(drawn[columns].max().max())
    exact = curve("as predicted", [low, high], [low, high], "ink", "dot")
    data.append(exact | {"hoverinfo": "skip"})
    axes = {"zeroline": False, "nticks": 6}
    spec = layout(
        xaxis=axes | {"title": title("gold value")}, yaxis=axes | {"title": title("predicted")}
    )
    spec["height"] = 420
    some = "" if len(drawn) == len(rows) else f"{count(len(drawn))} of "
    words = "; ".join(f"{m['name']} off by {significant(m['rmse'])}" for m in fit["models"])
    return Figure(
        "predicted",
        "Predicted and gold values",
        data,
        with_legend(spec),
        f"{some}{fit['about'][:1].upper()}{fit['about'][1:]}; on the dotted line both are equal. "
        "Predictions of a good model still scatter less than gold values, which hold noise.",
        f"Scatter plot of predicted over gold values (root mean square error: {words}).",
    )


def _cloud(model: Mapping[str, Any], rows: pd.DataFrame) -> Spec:
    key = model["key"]
    texts = [
        f"gold {significant(gold)}, {model['name']} {significant(value)}"
        for gold, value in zip(rows["target"], rows[key], strict=True)
    ]
    token = f"--{TOKENS[key]}"
    x, y = _short(rows["target"]), _short(rows[key])
    return dots(model["name"], x, y, texts, size=6, color=token, opacity=0.6, symbol=SYMBOLS[key])


def _short(values: pd.Series[Any]) -> list[float]:
    # Five digits are more than a figure shows, and a third of the bytes.
    return [float(f"{value:.5g}") for value in values]


def residuals(fit: Mapping[str, Any]) -> Figure | None:
    """Draw the mean residual by the size of the prediction, of teacher and student."""
    models = [] if fit["hint"] else [m for m in fit["models"] if len(m["bins"]) > 1]
    if not models:
        return None
    data = []
    for model in models:
        bins = model["bins"]
        texts = [
            f"{model['name']} predicts {significant(b['from'])} to {significant(b['to'])}: gold "
            f"minus predicted {describe(b['bias'], 'change')}, {count(b['n'])} items"
            for b in bins
        ]
        drawn = marks(
            model["name"],
            [b["bias"] for b in bins],
            [b["prediction"] for b in bins],
            texts,
            token=TOKENS[model["key"]],
            filled=model["key"] == STUDENT,
        )
        # Marks lie in rows; here the prediction is the horizontal axis.
        drawn["x"], drawn["y"], drawn["error_y"] = drawn["y"], drawn["x"], drawn.pop("error_x")
        data.append(drawn)
    spec = layout(
        xaxis={"title": title("predicted"), "nticks": 6},
        yaxis={"title": title("gold minus predicted"), "nticks": 6},
    )
    spec["shapes"] = [line("y", 0, "y")]
    words = "; ".join(
        f"{m['name']} {', '.join(significant(b['bias']['value'], 3) for b in m['bins'])}"
        for m in models
    )
    return Figure(
        "residuals",
        "Is a prediction right on average?",
        data,
        with_legend(spec),
        f"Mean of gold minus predicted value in bins of equal size by the prediction, with "
        f"{percent(fit['level'], 0)} intervals: above the dotted line the predictions are too low. "
        "Binned by the prediction, which is all that is known of a new item; by gold value every "
        "model looks too low at the top.",
        f"Mean residuals from the lowest to the highest predictions: {words}.",
    )


def stated_errors(posterior: Mapping[str, Any]) -> Figure | None:
    """Draw observed over stated errors of the posterior, by bins."""
    bins = [] if posterior["hint"] else posterior["bins"]
    stated = [row["stated"] for row in bins]
    if len(bins) < 2 or max(stated) < APART * min(stated):  # nothing to tell apart
        return None
    observed = [row["observed"] for row in bins]
    words = [
        f"stated {significant(row['stated'])}: off by {describe(row['observed'], 'value')} on "
        f"{count(row['n'])} gold values"
        for row in bins
    ]
    drawn = marks("gold values", observed, stated, words, token="overlap")
    drawn["x"], drawn["y"], drawn["error_y"] = drawn["y"], drawn["x"], drawn.pop("error_x")
    ends = [min(stated), max(stated)]
    data = [curve("as large as stated", ends, ends, "muted", "dot") | {"hoverinfo": "skip"}, drawn]
    axes = {"rangemode": "tozero", "nticks": 6}
    spec = layout(
        xaxis=axes | {"title": title("error stated by the posterior")},
        yaxis=axes | {"title": title("error on gold values")},
    )
    heading = "Is the posterior as exact as it says?"
    return Figure(
        "stated",
        heading,
        data,
        spec,
        f"Labelled items in {count(len(bins))} bins of equal size by the error that the posterior "
        f"states; root mean squares, with {percent(LEVEL, 0)} intervals. On the dotted line both "
        "are equal.",
        f"{heading} {'; '.join(words)}.",
    )
