"""Teachers of values: slope, offset and error of each on rows with a gold value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.data.weak import values_of
from w2s_data.stages.graph import SCORE
from w2s_data.utils.intervals import LEVEL, mean_interval
from w2s_data.utils.stage import WEAK_VALUES
from w2s_data.utils.typing import FloatArray
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, format_estimate, name_of, significant
from w2s_reports.summary.parts import estimate, named
from w2s_reports.summary.values.fit import FEWEST, slope_of

ADVICE = f"`{SCORE.with_options(recalibrate='')}` puts them on that of the gold values."


def summarize_teachers(artefacts: Artefacts) -> dict[str, Any] | None:
    """Compare each teacher with the gold values of the labelled rows; None without any."""
    table = artefacts.overlap.get(Path(WEAK_VALUES).stem)
    scores = artefacts.scores
    if table is None or "target" not in scores or not len(table):
        return None
    known = (scores["split"] == "labelled") & scores["target"].notna()
    if int(known.sum()) < FEWEST:
        return None
    target = scores.loc[known, "target"].to_numpy(dtype=np.float64)
    values, _, names = values_of(table[known.to_numpy()])
    scales = {str(scale["name"]): scale for scale in artefacts.overlap.get("scales") or ()}
    rows = [
        _teacher(name, column, target) | {"applied": bool(scales.get(name, {}).get("applied"))}
        for name, column in zip(names, values.T, strict=True)
    ]
    return {
        "rows": rows,
        "n_gold": len(target),
        "level": LEVEL,
        "reading": _reading(rows),
    }


def _teacher(name: str, values: FloatArray, target: FloatArray) -> dict[str, Any]:
    told = np.isfinite(values)
    record: dict[str, Any] = {
        "name": name_of(name),
        "coverage": float(told.mean()),
        "n": int(told.sum()),
    }
    if told.sum() < FEWEST:
        nothing = {key: estimate(None) for key in ("slope", "offset")}
        return record | nothing | {"rmse": None, "r2": None}
    predicted, gold = values[told], target[told]
    residuals = gold - predicted
    spread = float(((gold - gold.mean()) ** 2).mean())
    mean_square = float((residuals**2).mean())
    return record | {
        "slope": slope_of(predicted, gold),
        "offset": _offset(residuals),
        "rmse": float(np.sqrt(mean_square)),
        "r2": 1 - mean_square / spread if spread > 0 else None,
    }


def _offset(residuals: FloatArray) -> dict[str, Any]:
    mean, low, high = mean_interval(residuals)
    return estimate({"value": float(mean), "low": float(low), "high": float(high)}, LEVEL)


def _reading(rows: list[dict[str, Any]]) -> list[str]:
    """Say which teachers are on another scale, and which is nearest to the gold values."""
    other = [
        row
        for row in rows
        if row["slope"]["low"] is not None and not row["slope"]["low"] <= 1 <= row["slope"]["high"]
    ]
    text = []
    applied = any(row["applied"] for row in rows)
    if other:
        spelled = named(
            other, lambda row: f"{row['name']} (slope {format_estimate(row['slope'], 'number', 2)})"
        )
        text.append(
            f"On another scale than the gold values: {spelled}. "
            + ("Scores, students and forecast use them recalibrated." if applied else ADVICE)
        )
    known = [row for row in rows if row["rmse"] is not None]
    if len(known) > 1:
        best = min(known, key=lambda row: row["rmse"])
        text.append(
            f"Nearest to the gold values is {best['name']}, off by {significant(best['rmse'])} "
            f"(root mean square) on {count(best['n'])} labelled items."
        )
    return text
