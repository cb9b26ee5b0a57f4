"""Predictions beside gold values: slopes, and errors by the size of the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.stages.graph import GAIN, GAIN_SUMMARY, PREDICTIONS
from w2s_data.utils.intervals import LEVEL, mean_interval, student_quantile
from w2s_data.utils.typing import FloatArray
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, format_interval, name_of, significant
from w2s_reports.summary.parts import estimate

MOST_BINS, ROWS_PER_BIN = 10, 15  # with fewer rows the mean of a bin is chance
SMALL = 0.05  # difference of a slope from 1
FEWEST = 10  # items, of which a slope is worth a word
TEACHER, STUDENT = "teacher", "student"


def read_predictions(artefacts: Artefacts) -> tuple[pd.DataFrame, str]:
    """Return target, teacher and student by row, and the name of the student's method.

    With a gain both are known of the test items; else the teacher is of all, of labelled ones out
    of sample, and there is no student.
    """
    scores, table = artefacts.scores, artefacts.later.get(PREDICTIONS)
    found = pd.DataFrame(
        {
            "target": scores.get("target", np.nan),
            "split": scores.get("split", "pool"),
            TEACHER: scores["weak_value"],
        }
    )
    methods = (artefacts.later.get(GAIN_SUMMARY) or {}).get("methods") or ()
    name = str(methods[0]["name"]) if methods else ""
    columns = {TEACHER: "teacher / value", STUDENT: f"{name} / value"}
    if table is None or not set(columns.values()) <= set(table.columns):
        return found, ""
    # Predictions name items by id: another order or other items would mislabel them.
    if not scores["id"].astype(str).reset_index(drop=True).equals(table["id"].astype(str)):
        return found, ""
    for model, column in columns.items():
        found[model] = table[column].to_numpy(dtype=np.float64)
    return found, name


def compared_rows(predictions: pd.DataFrame, method: str) -> pd.DataFrame:
    """Select the rows that models are compared on: those of the test split, or labelled ones."""
    split = "test" if method else "labelled"
    known = predictions[predictions["split"] == split]
    return known.dropna(subset=["target", TEACHER, *([STUDENT] if method else [])])


def summarize_fit(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize slopes and errors of teacher and student; `hint` names what adds them."""
    predictions, method = read_predictions(artefacts)
    rows = compared_rows(predictions, method)
    if len(rows) < FEWEST:
        return {"hint": GAIN.hint(PREDICTIONS)}
    target = rows["target"].to_numpy()
    names = {TEACHER: "teacher"} | ({STUDENT: str(name_of(method))} if method else {})
    models = [
        {"key": key, "name": name, **_describe(rows[key].to_numpy(), target)}
        for key, name in names.items()
    ]
    about = f"{count(len(rows))} test items" if method else f"{count(len(rows))} labelled items"
    return {
        "hint": None,
        "n": len(rows),
        "about": about,
        "level": LEVEL,
        "models": models,
        "reading": _reading(models[-1], about),
    }


def _describe(predicted: FloatArray, target: FloatArray) -> dict[str, Any]:
    residuals = target - predicted
    mean, low, high = mean_interval(residuals)
    return {
        "offset": estimate({"value": float(mean), "low": low, "high": high}, LEVEL),
        "slope": slope_of(predicted, target),
        "rmse": float(np.sqrt((residuals**2).mean())),
        "quantiles": {
            str(share): float(np.quantile(residuals, share)) for share in (0.05, 0.25, 0.75, 0.95)
        },
        "bins": error_bins(predicted, residuals),
    }


def slope_of(predicted: FloatArray, target: FloatArray) -> dict[str, Any]:
    """Return the slope of a line through target over prediction; 1 where these are calibrated.

    >>> slope_of(np.array([0.0, 1, 2, 3]), np.array([0.0, 2, 4, 6]))["value"]
    2.0
    """
    centred = predicted - predicted.mean()
    spread = float(centred @ centred)
    if len(target) < 3 or spread <= 0:
        return estimate(None)
    slope = float(centred @ target) / spread
    left = target - target.mean() - slope * centred
    # Weighted by the spread, so that errors that grow with the prediction count (White, 1980).
    error = float(np.sqrt(((centred * left) ** 2).sum())) / spread
    half = student_quantile(len(target) - 2, LEVEL) * error
    return estimate({"value": slope, "low": slope - half, "high": slope + half}, LEVEL)


def error_bins(predicted: FloatArray, residuals: FloatArray) -> list[dict[str, Any]]:
    """Return mean and root mean square of the residuals, by quantiles of the prediction."""
    n_bins = max(1, min(MOST_BINS, len(predicted) // ROWS_PER_BIN))
    order = np.argsort(predicted, kind="stable")
    found = []
    for own in np.array_split(order, n_bins):
        mean, low, high = mean_interval(residuals[own])
        found.append(
            {
                "n": len(own),
                "prediction": float(predicted[own].mean()),
                "from": float(predicted[own].min()),
                "to": float(predicted[own].max()),
                "bias": estimate({"value": float(mean), "low": low, "high": high}, LEVEL),
                "rmse": float(np.sqrt((residuals[own] ** 2).mean())),
            }
        )
    return found


def _reading(model: Mapping[str, Any], about: str) -> str:
    """Say whether predictions are too narrow, too wide, too high or too low."""
    slope, offset = model["slope"], model["offset"]
    text = f"On {about} the {model['name'] if model['key'] == TEACHER else 'student'}"
    if slope["value"] is None:
        return f"{text} predicts one value for all."
    limits = format_interval(slope, "number")
    text += f" has a slope of {significant(slope['value'], 3)} ({limits}): "
    # A slope that differs by a few hundredths costs nothing, however certain it is.
    if slope["low"] is None or abs(slope["value"] - 1) < SMALL:
        text += "a prediction can be taken at its word"
    elif slope["low"] > 1:
        text += "its predictions are too close together, true values lie further from the mean"
    elif slope["high"] < 1:
        text += "its predictions lie too far apart, true values are nearer to the mean"
    else:
        text += "no certain sign that its predictions lie too near together or too far apart"
    high = offset["low"] is not None and offset["low"] > 0
    low = offset["high"] is not None and offset["high"] < 0
    if high or low:
        size = significant(abs(offset["value"]), 3)
        text += f". On average they are {size} too {'low' if high else 'high'}"
    return f"{text}."
