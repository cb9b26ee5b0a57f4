"""The posterior of values: its views, and whether its errors are as large as it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from w2s_data.stages.graph import SCORE
from w2s_data.utils.intervals import LEVEL, wilson_interval
from w2s_data.utils.typing import FloatArray
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, name_of, percent, plain, significant
from w2s_reports.summary.parts import estimate, sentence, texts
from w2s_reports.summary.values.fit import MOST_BINS, ROWS_PER_BIN

AGAIN = f"`{SCORE.command}` joins gold and weak values."
WITHIN = 2.0  # standard errors, within which 95.4 % of normal errors lie
EXPECTED = float(2 * norm.cdf(WITHIN) - 1)


def summarize_posterior(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize views, errors and their calibration; `hint` says why there are none."""
    written = artefacts.overlap.get("posterior")
    if written is None:
        return {"hint": AGAIN, "warnings": []}
    if written.get("unknown"):
        return {"hint": f"None here: {written['unknown']}.", "warnings": []}
    error, gold_error = _checked(artefacts)
    bins = _bins(error, gold_error)
    errors = written.get("view_errors") or {}
    result: dict[str, Any] = {
        "hint": None,
        **{name: plain(written.get(name)) for name in ("n_gold", "n_pool", "n_known", "level")},
        "error": plain(written.get("error")),
        **{name: estimate(written.get(name)) for name in ("mse", "weak_mse", "lead")},
        "views": [
            {"name": name_of(name), "weight": plain(weight), "rmse": plain(errors.get(name))}
            for name, weight in (written.get("weights") or {}).items()
        ],
        "bins": bins,
        "within": _within(error, gold_error),
        "n_checked": len(error),
        "warnings": texts(written.get("warnings")),
        "notes": [sentence(note) for note in texts(written.get("notes"))],
    }
    reading = sentence(str(written.get("reading") or "")) or _reading(result)
    return result | {"reading": reading, "coverage": _say_coverage(result)}


def _checked(artefacts: Artefacts) -> tuple[FloatArray, FloatArray]:
    """Return stated errors and gold minus posterior value, of labelled rows."""
    scores = artefacts.scores
    if "posterior_error" not in scores or "target" not in scores:
        return np.empty(0), np.empty(0)
    columns = scores[scores["split"] == "labelled"][
        ["posterior_error", "posterior_value", "target"]
    ]
    error, value, target = columns.dropna().to_numpy(dtype=np.float64).T
    sound = error > 0
    return error[sound], (target - value)[sound]


def _within(error: FloatArray, gold_error: FloatArray) -> dict[str, Any]:
    if not len(error):
        return estimate(None)
    inside = int((np.abs(gold_error) <= WITHIN * error).sum())
    low, high = wilson_interval(inside, len(error), LEVEL)
    return estimate({"value": inside / len(error), "low": low, "high": high}, LEVEL)


def _bins(error: FloatArray, gold_error: FloatArray) -> list[dict[str, Any]]:
    """Return stated and observed errors in bins of equal size by the stated one."""
    if len(error) < 2 * ROWS_PER_BIN or np.ptp(error) <= 1e-9 * error.max():
        return []
    n_bins = min(MOST_BINS, len(error) // ROWS_PER_BIN)
    found = []
    for own in np.array_split(np.argsort(error, kind="stable"), n_bins):
        observed = _rms_interval(gold_error[own])
        stated = float(np.sqrt((error[own] ** 2).mean()))
        found.append({"n": len(own), "stated": stated, "observed": observed})
    return found


def _rms_interval(errors: FloatArray) -> dict[str, Any]:
    """Return the root mean square with an interval by the spread of the squares, on a log scale."""
    squares = errors**2
    mean = float(squares.mean())
    if mean <= 0:
        return estimate({"value": 0.0})
    half = float(norm.ppf((1 + LEVEL) / 2) * squares.std(ddof=1) / np.sqrt(len(squares)) / mean)
    root, factor = np.sqrt(mean), np.exp(half / 2)
    return estimate({"value": root, "low": root / factor, "high": root * factor}, LEVEL)


def _reading(result: dict[str, Any]) -> str:
    text = "Gold and weak values joined are"
    if (mean_square := result["mse"]["value"]) is None:
        error = significant(result["error"])
        return f"{text} off by {error} (root mean square) on labelled items held out."
    text += f" off by {significant(float(np.sqrt(mean_square)))} (root mean square)"
    if (weak := result["weak_mse"]["value"]) is not None:
        text += f", the weak values by {significant(float(np.sqrt(weak)))}"
    return f"{text}, on {count(result['n_known'])} pool items with a gold value."


def _say_coverage(result: dict[str, Any]) -> str:
    """Say how many gold values lie within two stated errors, and how many should."""
    inside = result["within"]
    if inside["value"] is None:
        return ""
    text = (
        f"{percent(inside['value'])} of {count(result['n_checked'])} gold values lie within "
        f"{WITHIN:g} stated errors of the posterior, {percent(EXPECTED)} of normal errors would"
    )
    if inside["high"] < EXPECTED:
        return f"{text}: the stated errors are too small."
    if inside["low"] > EXPECTED:
        return f"{text}: the stated errors are too large."
    return f"{text}."
