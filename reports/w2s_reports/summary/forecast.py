"""Forecast of the options before training, and discrepancy of the features behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.stages.graph import DISCREPANCY, FORECAST, FORECAST_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, percent, plain
from w2s_reports.summary.options import summarize_options
from w2s_reports.summary.parts import estimate, from_columns, sentence, texts

BELIEVE_MEASURED = (
    "Measured, the best student is better than its teacher: believe that. This section knows "
    "neither gold labels that a student may learn from, nor anything but linear models."
)
RISKS = ("teacher", "student", "ceiling")


def summarize_forecast(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize options, accuracies and gain, or name the command that adds them."""
    result = artefacts.later.get(FORECAST_SUMMARY)
    if result is None:
        return {"hint": FORECAST.hint()}
    return {
        **forecast_facts(result),
        **{
            name: estimate({**result[name], "level": result["level"]})
            for name in ("teacher", "student", "ceiling", "gain")
        },
        **summarize_options(result),
        "pgr": plain(result["pgr"]),
        "pgr_reason": str(result["pgr_reason"]),
    }


def forecast_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a forecast says of classes and of values alike."""
    return {
        "hint": None,
        "reading": sentence(str(result["reading"])),
        "verdict": str(result["verdict"]),
        "level": plain(result["level"]),
        "n": plain(result["n"]),
        "N": plain(result["N"]),
        "chance": plain(result["chance_w2s_helps"]),
        "warnings": texts(result["warnings"]),
    }


def summarize_discrepancy(artefacts: Artefacts, gain: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize dimensions, spectra and predictions, or name the command that adds them.

    `gain` is the summary of the measured gain, which may contradict what is predicted here.
    """
    result = artefacts.later.get(DISCREPANCY)
    if result is None:
        return {"hint": FORECAST.hint(DISCREPANCY)}
    shared = result.get("correlation_dimension") or {}
    prediction = result.get("prediction") or {}
    level = shared.get("level")
    measured = result.get("measured") or {}
    gains = any(row["N"] is not None for row in result.get("needed_pool") or ())
    against = "d_w" in result and not gains and _has_gained(gain)
    return {
        "hint": None,
        "reading": sentence(str(result["reading"])),
        "advice": _advice(result) if "d_w" in result and not against else "",
        "against": BELIEVE_MEASURED if against else "",
        "unknown": texts(result["unknown"]),
        "warnings": texts(result["warnings"]),
        "known": "d_w" in result,
        **{name: plain(result.get(name)) for name in ("n", "N", "d_w", "d_s")},
        "break_even": plain(result.get("break_even")) if gains else None,
        "shared": estimate(shared),
        "level": plain(shared.get("level")),
        "prediction": {name: plain(prediction.get(name)) for name in ("teacher", "ceiling")}
        | {name: estimate(prediction.get(name) or {}) for name in ("student", "pgr")},
        "needed_pool": [
            {"share": plain(row["share"]), "N": plain(row["N"]), "reason": str(row["reason"])}
            for row in result.get("needed_pool") or ()
        ],
        "sensitivity": [
            {"criterion": str(row["criterion"]).replace("_", " ")}
            | {name: plain(row.get(name)) for name in ("weak", "strong", "d_sw", *RISKS, "pgr")}
            for row in result.get("sensitivity") or ()
        ],
        "measured": str(measured.get("reading") or ""),
        "models": [
            {"model": str(row["model"]), "mse": estimate(row["mse"])}
            | {name: plain(row[name]) for name in ("noise", "variance", "rest")}
            for row in measured.get("models") or ()
        ],
        "spectra": {
            side: result.get(f"{side}_spectrum") or {"leading": [], "n_values": 0, "total": 0.0}
            for side in ("weak", "strong")
        },
        "canonical_correlations": [
            plain(value) for value in result.get("canonical_correlations") or ()
        ],
        "curve": [
            {name: plain(row.get(name)) for name in ("N", *RISKS)}
            | {"pgr": from_columns(row, "pgr", level)}
            for row in result.get("curve") or ()
        ],
    }


def _has_gained(gain: Mapping[str, Any]) -> bool:
    """Return whether a student was measured to be better than its teacher, beyond chance."""
    return any((method["gain"]["low"] or 0.0) > 0 for method in (gain.get("methods") or [])[:1])


def _advice(result: Mapping[str, Any]) -> str:
    """Advise whether more pool items would help, or another model."""
    pool = result["N"]
    needed = [(row["share"], row["N"]) for row in result["needed_pool"] if row["N"] is not None]
    if not needed:
        return (
            "More pool items would not help. Take a strong model that sees something else than the "
            "teacher (other pretraining, another layer), or a teacher with fewer directions."
        )
    reached = [share for share, n in needed if n <= pool]
    missing = [(share, n) for share, n in needed if n > pool]
    if not missing:
        return (
            f"The pool is large enough: more than {percent(reached[-1], 0)} of the attainable gain "
            "needs no further items."
        )
    share, n = missing[0]
    have = (
        f"With {count(pool)} pool items more than {percent(reached[-1], 0)} of the attainable gain "
        "is in reach"
        if reached
        else f"{count(pool)} pool items are few"
    )
    whole = "" if reached else " of the attainable gain"
    return f"{have}; {percent(share, 0)}{whole} takes about {count(round(n))}."
