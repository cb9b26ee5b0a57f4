"""Verdict on whether weak-to-strong training pays: a headline and a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import FORECAST, GAIN
from w2s_reports.formats import count, format_interval, format_value, percent, signed

# The forecast is named first, as it needs no training.
HINT = (
    f"Not known yet: `{FORECAST.command}` says what training is expected to gain, "
    f"`{GAIN.command}` trains and measures it."
)
# Stages whose warnings stand at the top, and those whose stand in their own section.
AT_THE_TOP = {"reading": "overlap", "forecast": "forecast", "gain": "gain"}
IN_SECTIONS = {"group_analysis": "Groups", "discrepancy": "Discrepancy"}


def give_verdict(
    result: Mapping[str, Any],
    outdated: Sequence[str] = (),
    data_warnings: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Derive headline, sentences and warnings from the summaries of the stages."""
    gain, forecast = result["gain"], result["forecast"]
    measured = not gain["hint"] and bool(gain["methods"])
    warnings = [
        {
            "about": stage,
            "text": f"the inputs have changed since; run `w2s {stage}` again",
        }
        for stage in outdated
    ]
    warnings += [{"about": "data", "text": warning["text"]} for warning in data_warnings]
    for key, about in AT_THE_TOP.items():
        warnings += [{"about": about, "text": text} for text in result[key].get("warnings") or ()]
    return {
        "hint": _hint(result["reading"]) if gain["hint"] and forecast["hint"] else None,
        "headline": _measured(gain, data_warnings) if measured else _expected(forecast),
        "readings": [
            {"about": about, "text": stage["reading"]}
            for about, stage in (("measured", gain), ("forecast", forecast))
            if not stage["hint"]
        ],
        "sentences": [
            *(_gain_sentences(gain) if measured else ()),
            *_forecast_sentences(forecast, gain if measured else None),
        ],
        "warnings": warnings,
        "more": [title for key, title in IN_SECTIONS.items() if result[key].get("warnings")],
        "add": [
            stage["hint"]
            for stage in (forecast, gain)
            if stage["hint"] and not (gain["hint"] and forecast["hint"])
        ],
    }


def _hint(reading: Mapping[str, Any]) -> str:
    """Return the first commands to run; a forecast needs the features of both models."""
    return f"Not known yet: {reading['hint']}" if reading.get("missing_features") else HINT


def _measured(
    gain: Mapping[str, Any], data_warnings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Judge the gain: training pays if it beats the teacher and the labelled items alone."""
    too_few = any(GAIN.name in warning["withholds"] for warning in data_warnings)
    best, accuracy = (gain["methods"][0][name] for name in ("gain", "accuracy"))
    alone = gain["labelled_only"]
    if best["value"] is None:
        words = "Unknown"
    # However large, a gain on a handful of items is not a result.
    elif too_few:
        words = "Undecided"
    elif _beats(alone, accuracy) or (best["high"] is not None and best["high"] < 0):
        words = "It does not pay"
    # An interval that holds 0 decides nothing, whatever its middle.
    elif best["low"] is None or best["low"] <= 0:
        words = "Undecided"
    else:
        # Beating the teacher is not enough: the labelled items alone may do as well.
        words = "It pays" if alone["value"] is None or _beats(accuracy, alone) else "It gains"
    why = None
    if too_few:
        why = f"only {count(gain['n_test'])} test items"
    elif alone["value"] is not None and (words == "It gains" or _beats(alone, accuracy)):
        why = (
            f"accuracy {percent(accuracy['value'])}, "
            f"with the labelled items alone {percent(alone['value'])}"
        )
    return {"words": words, "kind": "measured", "level": gain["level"], "why": why, **best}


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether one interval lies above the other, which is a cautious test."""
    return None not in (one["low"], other["high"]) and bool(one["low"] > other["high"])


def _expected(forecast: Mapping[str, Any]) -> dict[str, Any] | None:
    if forecast["hint"]:
        return None
    return {
        "words": forecast["verdict"].capitalize(),
        "kind": "expected",
        "level": forecast["level"],
        "why": None,
        **forecast["gain"],
    }


def _with_level(estimate: Mapping[str, Any], unit: str = "share", digits: int | None = None) -> str:
    """Format an estimate with its interval and the interval's level."""
    value = format_value(estimate["value"], unit, digits)
    value += " points" if unit == "points" else ""
    limits = format_interval(estimate, unit, digits)
    return f"{value} ({percent(estimate['level'], 0)} interval {limits})" if limits else value


def _gain_sentences(gain: Mapping[str, Any]) -> list[str]:
    best, teacher = gain["methods"][0], gain["teacher"]
    which = f"the best of {len(gain['methods'])} methods, {best['name']},"
    if len(gain["methods"]) == 1:
        which = f"the student ({best['name']})"
    sentences = [
        f"On {count(gain['n_test'])} test items the teacher is right on "
        f"{percent(teacher['value'])} and {which} on {percent(best['accuracy']['value'])}: "
        f"{_with_level(best['gain'], 'points')}, {_clearly(best['gain'])}."
    ]
    if gain["ceiling"]["value"] is not None:
        sentences.append(_ceiling(gain, best))
    if gain["labelled_only"]["value"] is not None:
        sentences.append(_labelled_only(gain, best["accuracy"]))
    if len(gain["groups"]) > 1:
        known = [g for g in gain["groups"] if g["gain"]["value"] is not None]
        if known:
            least = min(known, key=lambda group: group["gain"]["value"])
            sentences.append(
                f"By group, {best['name']} gains least in {least['name']}: "
                f"{_with_level(least['gain'], 'points')}."
            )
    return sentences


def _ceiling(gain: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    text = (
        "The same student trained on gold labels of the pool reaches "
        f"{percent(gain['ceiling']['value'])}"
    )
    recovered = best["pgr"]
    if recovered["value"] is None:
        reason = recovered["reason"].removeprefix("pgr is not defined: ")
        return f"{text}; how much of that gap is recovered is undefined: {reason}."
    return (
        f"{text}; {best['name']} recovers {_with_level(recovered, digits=0)} of the gap between "
        "them."
    )


def _clearly(gain: Mapping[str, Any]) -> str:
    if gain["low"] is None or gain["high"] is None:
        return "its interval unknown"
    if gain["low"] > 0:
        return "more than chance explains"
    return "a loss that chance does not explain" if gain["high"] < 0 else "which may be chance"


def _labelled_only(gain: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    alone = gain["labelled_only"]
    text = (
        f"Trained on the {count(gain['n_labelled'])} labelled items alone, the student reaches "
        f"{_with_level(alone)}"
    )
    if _beats(alone, best):
        return f"{text}, clearly more than with weak labels: the labels alone are the better use."
    if _beats(best, alone):
        return f"{text}, clearly less than with weak labels: the pool adds something."
    return (
        f"{text}, not significantly different from the best with weak labels: the pool may add "
        "little."
    )


def _forecast_sentences(forecast: Mapping[str, Any], gain: Mapping[str, Any] | None) -> list[str]:
    if forecast["hint"]:
        return []
    expected = forecast["gain"]
    if gain is None:
        return [
            f"From {count(forecast['n'])} labelled and {count(forecast['N'])} pool items, a "
            f"teacher at {percent(forecast['teacher']['value'])} is expected to train a student at "
            f"{percent(forecast['student']['value'])}: {_with_level(expected, 'points')}.",
            f"The chance that the student beats its teacher is {percent(forecast['chance'], 0)}.",
            f"Trained on gold labels of the pool, it would reach about "
            f"{_with_level(forecast['ceiling'])}.",
        ]
    check = gain["forecast"]
    expected = check or expected
    text = f"The forecast had expected {_with_level(expected, 'points')} from a plain student"
    if check is None or check["student"] is None or check["measured"] is None:
        return [f"{text}; no plain student was trained to compare it with."]
    where = "inside that interval"
    if not check["inside"]:
        where = "outside that interval: believe the measurement"
    return [f"{text}; {check['student']} gained {signed(check['measured'])}, {where}."]
