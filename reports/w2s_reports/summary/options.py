"""The four options of a forecast or a measurement: accuracies, differences, and the advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.forecast.options import ADVICE, WITH
from w2s_reports.formats import format_interval, name_of, percent, signed
from w2s_reports.summary.parts import estimate

Stage = Mapping[str, Any]  # what `summarize_options` returns, among the numbers of its stage


def summarize_options(result: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize options and paired differences of `forecast.json` or `gain.json`."""
    return {
        "options": [
            {
                "name": str(option["name"]),
                "words": capitalized(ADVICE[option["name"]]),
                "student": name_of(option.get("student") or None),
                "accuracy": estimate(option["accuracy"]),
                "reason": str(option["accuracy"].get("reason", "")),
            }
            for option in result["options"]
        ],
        "differences": [
            {name: str(pair[name]) for name in ("name", "other")}
            | {"difference": estimate(pair["difference"])}
            for pair in result["differences"]
        ],
        **{name: str(result[name]) for name in ("best", "advised")},
        "lead": estimate(result["lead"]),
    }


def option(stage: Stage, name: str) -> Mapping[str, Any]:
    """Return an option of a stage by its name."""
    return next(row for row in stage["options"] if row["name"] == name)


def difference(stage: Stage, name: str, other: str) -> dict[str, Any]:
    """Return the accuracy of an option minus that of another, compared on the same rows."""
    for pair in stage["differences"]:
        if (pair["name"], pair["other"]) == (name, other):
            return dict(pair["difference"])
        if (pair["name"], pair["other"]) == (other, name):
            value, low, high = (pair["difference"][side] for side in ("value", "low", "high"))
            turned = [None if number is None else -number for number in (value, high, low)]
            sides = dict(zip(("value", "low", "high"), turned, strict=True))
            return estimate(sides, pair["difference"]["level"])
    return estimate(None)


def rival(stage: Stage) -> str | None:
    """Return the most accurate option besides the advised one."""
    others = [
        row
        for row in stage["options"]
        if row["name"] != stage["advised"] and row["accuracy"]["value"] is not None
    ]
    return max(others, key=lambda row: row["accuracy"]["value"])["name"] if others else None


def evidence(stage: Stage) -> str:
    """Compare the advised option with its rival: accuracies, and the paired difference."""
    own = percent(option(stage, stage["advised"])["accuracy"]["value"])
    other = rival(stage)
    if other is None:
        return f"{own}, and no other option to compare it with"
    lead = difference(stage, stage["advised"], other)
    limits = format_interval(lead, "points")
    text = f"{own} against {percent(option(stage, other)['accuracy']['value'])} {WITH[other]}"
    text += f", {signed(lead['value'])} points"
    return f"{text} ({percent(lead['level'], 0)} interval {limits})" if limits else text


def differs(estimate: Mapping[str, Any]) -> bool:
    """Return whether the interval of a difference leaves out 0."""
    if estimate["low"] is None or estimate["high"] is None:
        return False
    return bool(estimate["low"] > 0 or estimate["high"] < 0)


def capitalized(text: str) -> str:
    """Return a text with a capital at its start, and the rest unchanged."""
    return text[:1].upper() + text[1:]
