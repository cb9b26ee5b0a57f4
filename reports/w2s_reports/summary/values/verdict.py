"""Verdict where labels are values: which of four options to take, by mean squared error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_data.forecast.options import ADVICE, WITH
from w2s_data.stages.graph import GAIN
from w2s_reports.formats import count, format_interval, percent, significant
from w2s_reports.summary.brief import brief
from w2s_reports.summary.options import capitalized
from w2s_reports.summary.parts import estimate
from w2s_reports.summary.values.gain import reference
from w2s_reports.summary.values.options import (
    difference,
    evidence,
    find_option,
    format_r2,
    is_measured,
    negative,
    rival,
    say_difference,
)
from w2s_reports.summary.verdict import hint_of, missing_stages

Row = Mapping[str, Any]


def give_verdict(
    result: Row, outdated: Mapping[str, str] | None = None, path: Path = Path("RUN")
) -> dict[str, Any]:
    """Derive headline, options, sentences, risks and steps from the other sections."""
    gain, forecast = result["gain"], result["forecast"]
    measured = not gain["hint"] and any(is_measured(row) for row in gain["options"])
    stage, kind = (gain, "measured") if measured else (forecast, "expected")
    headline = _headline(stage, kind, result["data"]["warnings"])
    worth = estimate(None)
    if headline and headline["advised"]:
        # An error that falls is a gain.
        worth = negative(difference(stage, headline["advised"], "teacher"))
    return {
        "hint": hint_of(result),
        "headline": headline,
        "options": _options(stage, forecast if measured else None),
        "sentences": [
            *(_gain_sentences(gain) if measured else ()),
            *_forecast_sentences(forecast, gain if measured else None),
        ],
        "add": missing_stages(gain, forecast),
        **brief(result, headline, worth, outdated=outdated or {}, path=path, noun="values"),
    }


def _headline(stage: Row, kind: str, data_warnings: Sequence[Row]) -> dict[str, Any] | None:
    if stage["hint"]:
        return None
    advised = stage["advised"]
    if not advised:
        return {
            "words": "No advice",
            "kind": kind,
            "advised": None,
            "evidence": stage["reading"],
            "lead": None,
        }
    words, text = capitalized(ADVICE[advised]), f"{kind} {evidence(stage)}"
    # However large, a lead on a handful of items is not a result.
    withheld = [w for w in data_warnings if GAIN.name in (w.get("withholds") or ())]
    if kind == "measured" and withheld:
        words = "Undecided"
        text = (
            f"only {count(stage['n_test'])} test items; the best guess is to {ADVICE[advised]}, "
            f"{text}"
        )
        advised = None
    other = rival(stage)
    lead = difference(stage, stage["advised"], other) if other else None
    return {"words": words, "kind": kind, "advised": advised, "evidence": text, "lead": lead}


def _options(stage: Row, forecast: Row | None) -> list[dict[str, Any]]:
    """Put the options side by side, each with how far its error is above the advised one's."""
    if stage["hint"] or not stage["advised"]:
        return []
    expected = {row["name"]: row["mse"] for row in (forecast or {}).get("options") or ()}
    return [
        {
            **row,
            "advised": row["name"] == stage["advised"],
            "behind": difference(stage, row["name"], stage["advised"]),
            "forecast": expected.get(row["name"]),
        }
        for row in stage["options"]
    ]


def _reason(stage: Row) -> str:
    """Say how sure the lead of the advised option is."""
    other = rival(stage)
    if other is None:
        return f"Nothing else than to {ADVICE[stage['advised']]} has a result."
    lead = difference(stage, stage["advised"], other)
    if lead["low"] is None or lead["high"] is None:
        return f"The advised option is compared {WITH[other]}; the interval of that is unknown."
    if lead["high"] < 0:
        return "The interval of the difference leaves out 0: the lead is more than chance explains."
    if lead["value"] > 0:
        return (
            f"{capitalized(WITH[other])} the error would be a little lower, which chance may "
            "explain, so that the cheaper option is as good."
        )
    return "The interval of the difference holds 0: the lead may be chance, and is the best guess."


def _gain_sentences(gain: Row) -> list[str]:
    teacher = reference(gain, "teacher")
    sentences = [_reason(gain)] if gain["advised"] else []
    if gain["methods"]:
        sentences.append(_best(gain, teacher))
    weak = find_option(gain, "both"), find_option(gain, "gold")
    if all(is_measured(row) for row in weak) and weak[1] is not None:
        worth = say_difference(difference(gain, "both", "gold"), weak[1])
        sentences.append(
            f"With the weak values of the pool on top of the gold ones the error is {worth}."
        )
    ceiling = reference(gain, "ceiling")
    if ceiling["mse"]["value"] is not None:
        sentences.append(_ceiling(gain, ceiling))
    return sentences


def _best(gain: Row, teacher: Row) -> str:
    best, n = gain["methods"][0], len(gain["methods"])
    which = (
        f"the best of {n} methods, {best['name']}," if n > 1 else f"the student ({best['name']})"
    )
    found = best["gain"]
    sure = "its interval unknown"
    if found["low"] is not None and found["high"] is not None:
        sure = "which may be chance"
        if found["low"] > 0:
            sure = "more than chance explains"
        elif found["high"] < 0:
            sure = "a loss that chance does not explain"
    parts = [f"On {count(gain['n_test'])} test items the teacher is off by {_rmse(teacher)}"]
    parts.append(f"and {which} by {_rmse(best)}")
    limits = format_interval(found, "change")
    text = f"{' '.join(parts)} (root mean square): a gain of {significant(found['value'])} in MSE"
    if limits:
        text += f" ({percent(found['level'], 0)} interval {limits})"
    return f"{text}, {sure}."


def _rmse(row: Row) -> str:
    return significant(row["rmse"]["value"])


def _ceiling(gain: Row, ceiling: Row) -> str:
    text = (
        "The same student trained on gold values of the pool reaches an MSE of "
        f"{significant(ceiling['mse']['value'])}"
    )
    if (explained := ceiling["r2"]["value"]) is not None:
        text += f" (R² {format_r2(explained)})"
    if not gain["methods"]:
        return f"{text}."
    best = gain["methods"][0]
    if best["pgr"]["value"] is None:
        reason = best["pgr"]["reason"].removeprefix("pgr is not defined: ").rstrip(".")
        return (
            f"{text}; how much of that gap is recovered is undefined{f': {reason}' * bool(reason)}."
        )
    return f"{text}; {best['name']} recovers {percent(best['pgr']['value'], 0)} of the gap."


def _forecast_sentences(forecast: Row, gain: Row | None) -> list[str]:
    if forecast["hint"] or not forecast["advised"]:
        return []
    if gain is None:
        return [
            _reason(forecast),
            f"Expected from {count(forecast['n'])} labelled and {count(forecast['N'])} pool items; "
            "the chance that a student of weak values alone beats the teacher is "
            f"{percent(forecast['chance'], 0)}.",
        ]
    same = forecast["advised"] == gain["advised"]
    pairs = [
        (found["mse"], row["mse"]["value"])
        for row in gain["options"]
        if is_measured(row) and (found := find_option(forecast, row["name"])) is not None
    ]
    known = [(e, value) for e, value in pairs if e["low"] is not None]
    inside = sum(e["low"] <= value <= e["high"] for e, value in known)
    return [
        f"The forecast had advised {'the same' if same else 'to ' + ADVICE[forecast['advised']]}; "
        f"{inside} of its {len(known)} intervals hold what was measured."
    ]
