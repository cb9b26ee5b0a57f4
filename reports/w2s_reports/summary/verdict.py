"""Verdict on which of four options to take: a headline, a table and a few sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from w2s_data.forecast.options import ADVICE, TOLERANCES, WITH
from w2s_data.forecast.result import WITHHELD
from w2s_data.stages.graph import FORECAST, GAIN, NEXT
from w2s_reports.formats import count, format_interval, format_value, percent, signed
from w2s_reports.summary.brief import brief
from w2s_reports.summary.options import capitalized, difference, differs, evidence, option, rival
from w2s_reports.summary.parts import estimate

# The forecast is named first, as it needs no training.
HINT = (
    f"Not known yet: `{FORECAST.command}` says what training is expected to gain, "
    f"`{GAIN.command}` trains and measures it."
)
LABEL_FIRST = (
    "Not known yet: the labelled split has too few gold labels for a forecast or a training. "
    f"`{NEXT.command}` chooses rows to label."
)


def give_verdict(
    result: Mapping[str, Any], outdated: Mapping[str, str] | None = None, path: Path = Path("RUN")
) -> dict[str, Any]:
    """Derive headline, options, sentences, risks and steps from the other sections."""
    gain, forecast = result["gain"], result["forecast"]
    measured = not gain["hint"] and bool(gain["methods"])
    headline = _measured(gain, result["data"]["warnings"]) if measured else _expected(forecast)
    worth = estimate(None)
    if headline and headline["advised"]:
        worth = difference(gain if measured else forecast, headline["advised"], "teacher")
    return {
        "hint": hint_of(result),
        "headline": headline,
        "options": _options(forecast, gain if measured else None),
        "tolerance": TOLERANCES["measured" if measured else "expected"],
        "sentences": [
            *(_gain_sentences(gain) if measured else ()),
            *_forecast_sentences(forecast, gain if measured else None),
        ],
        "add": missing_stages(gain, forecast),
        **brief(result, headline, worth, outdated=outdated or {}, path=path),
    }


def missing_stages(gain: Mapping[str, Any], forecast: Mapping[str, Any]) -> list[str]:
    """Return the hint of the one of both stages that was not run; none if neither was."""
    return [
        stage["hint"]
        for stage in (forecast, gain)
        if stage["hint"] and not (gain["hint"] and forecast["hint"])
    ]


def hint_of(result: Mapping[str, Any]) -> str | None:
    """Return the commands to run first where there is neither a forecast nor a gain."""
    if not (result["gain"]["hint"] and result["forecast"]["hint"]):
        return None
    # A forecast needs the features of both models, and gold labels.
    if result["reading"].get("missing_features"):
        return f"Not known yet: {result['reading']['hint']}"
    return LABEL_FIRST if "few_gold" in result["data"] else HINT


def _measured(
    gain: Mapping[str, Any], data_warnings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Advise the option that was measured to be best, or a cheaper one that is as good."""
    # However large, a lead on a handful of items is not a result.
    if any(GAIN.name in warning["withholds"] for warning in data_warnings):
        return _headline(gain, "measured", "Undecided", f"only {count(gain['n_test'])} test items")
    return _headline(gain, "measured")


def _expected(forecast: Mapping[str, Any]) -> dict[str, Any] | None:
    if forecast["hint"]:
        return None
    if not forecast["advised"]:
        nothing = forecast["lead"]
        found = {"words": capitalized(WITHHELD), "kind": "expected", "advised": None}
        return found | {"evidence": forecast["reading"], "why": None, "lead": nothing}
    if forecast["verdict"] == WITHHELD:
        return _headline(forecast, "expected", capitalized(WITHHELD), "too little to advise from")
    return _headline(forecast, "expected")


def _headline(
    stage: Mapping[str, Any], kind: str, words: str = "", why: str = ""
) -> dict[str, Any]:
    """Build the headline; `words` replace the advice where it is withheld, and `why` says why."""
    advice = ADVICE[stage["advised"]]
    about = _about(stage["splits"]) if "splits" in stage else ""
    text = f"{kind} on {about}: {evidence(stage)}" if about else f"{kind} {evidence(stage)}"
    other = rival(stage)
    return {
        "words": words or capitalized(advice),
        "kind": kind,
        "advised": None if words else stage["advised"],
        "evidence": f"{why}; the best guess is to {advice}, {text}" if words else text,
        "why": why or None,
        "lead": difference(stage, stage["advised"], other) if other else stage["lead"],
    }


def _options(forecast: Mapping[str, Any], gain: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Put accuracies of the options side by side, with the lead of the advised one over each."""
    stage = forecast if gain is None else gain
    if stage["hint"]:
        return []
    expected = {row["name"]: row["accuracy"] for row in forecast.get("options", ())}
    return [
        {
            **row,
            "advised": row["name"] == stage["advised"],
            "behind": difference(stage, stage["advised"], row["name"]),
            "forecast": None if gain is None else expected.get(row["name"]),
        }
        for row in stage["options"]
    ]


def _with_level(estimate: Mapping[str, Any], unit: str = "share", digits: int | None = None) -> str:
    """Format an estimate with its interval and the interval's level."""
    value = format_value(estimate["value"], unit, digits)
    value += " points" if unit == "points" else ""
    limits = format_interval(estimate, unit, digits)
    return f"{value} ({percent(estimate['level'], 0)} interval {limits})" if limits else value


def _reason(stage: Mapping[str, Any], kind: str) -> str:
    """Say why the advised option is advised, and how sure that is."""
    best, advised, other = stage["best"], stage["advised"], rival(stage)
    if other is None:
        return f"Nothing else than to {ADVICE[advised]} has a result."
    if advised != best:
        return (
            f"{capitalized(WITH[best])} it would be more by "
            f"{_with_level(difference(stage, best, advised), 'points')}: neither significant nor "
            f"above {signed(TOLERANCES[kind])[1:]} points, so that the cheaper option is as good."
        )
    if differs(difference(stage, advised, other)):
        return "The lead is more than chance explains: its interval leaves out 0."
    return "The lead may be chance, as its interval holds 0: this is the best guess there is."


def _gain_sentences(gain: Mapping[str, Any]) -> list[str]:
    best, teacher = gain["methods"][0], gain["teacher"]
    which = f"the best of {len(gain['methods'])} methods, {best['name']},"
    if len(gain["methods"]) == 1:
        which = f"the student ({best['name']})"
    where = f" of {about}" if (about := _about(gain["splits"])) else ""
    sentences = [
        _reason(gain, "measured"),
        f"On {count(gain['n_test'])} test items{where} the teacher is right on "
        f"{percent(teacher['value'])} and {which} on {percent(best['accuracy']['value'])}: "
        f"{_with_level(best['gain'], 'points')}, {_clearly(best['gain'])}.",
    ]
    if (gain["vote_lead"]["low"] or 0) > 0:
        sentences.append(_vote(gain))
    worth = difference(gain, "both", "gold")
    if worth["value"] is not None:
        sentences.append(
            f"The weak labels of the pool are worth {_with_level(worth, 'points')} on top of the "
            f"{count(gain['n_labelled'])} labelled items, {_clearly(worth)}."
        )
    if gain["ceiling"]["value"] is not None:
        sentences.append(_ceiling(gain, best))
    known = [group for group in gain["groups"] if group["gain"]["value"] is not None]
    if len(known) > 1:
        least = min(known, key=lambda group: group["gain"]["value"])
        sentences.append(
            f"By group, {best['name']} gains least in {least['name']}: "
            f"{_with_level(least['gain'], 'points')}."
        )
    return [*sentences, *gain["splits"]["findings"]]


def _vote(gain: Mapping[str, Any]) -> str:
    """Say how much better teacher and models are together, and how to have that answer."""
    text = (
        f"Teacher and models asked together (the vote) are right on "
        f"{percent(gain['vote']['value'])}, {_with_level(gain['vote_lead'], 'points')} above the "
        "advised option"
    )
    if gain["tuning"] != "head":  # no vote of new items: their features are not computed
        return f"{text}."
    return f"{text}: where the teacher can see new items, w2s apply gives it as a column."


def _about(splits: Mapping[str, Any]) -> str:
    """Name the test rows that the figures are about, where there are several test splits."""
    if splits["about"]:
        return f"test split {splits['about']}"
    return f"{splits['n']} test splits together" if splits["n"] > 1 else ""


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


def _forecast_sentences(forecast: Mapping[str, Any], gain: Mapping[str, Any] | None) -> list[str]:
    if forecast["hint"]:
        return []
    if not forecast["advised"]:  # the reading says why, and is the headline of a mere forecast
        return [forecast["reading"]] if gain is not None else []
    if gain is not None:
        return [_options_check(forecast, gain), _gain_check(forecast, gain)]
    return [
        _reason(forecast, "expected"),
        f"Expected from {count(forecast['n'])} labelled and {count(forecast['N'])} pool items; the "
        f"chance that weak labels alone beat the teacher is {percent(forecast['chance'], 0)}.",
        f"Trained on gold labels of the pool, a student would reach about "
        f"{_with_level(forecast['ceiling'])}.",
    ]


def _options_check(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    """Compare the forecast of the options with their measurement."""
    same = forecast["advised"] == gain["advised"]
    pairs = [
        (option(forecast, row["name"])["accuracy"], row["accuracy"]["value"])
        for row in gain["options"]
        if row["accuracy"]["value"] is not None
    ]
    inside = [e["low"] <= value <= e["high"] for e, value in pairs if e["low"] is not None]
    return (
        f"The forecast had advised {'the same' if same else 'to ' + ADVICE[forecast['advised']]}; "
        f"{sum(inside)} of its {len(inside)} intervals hold what was measured."
    )


def _gain_check(forecast: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    """Compare the forecast gain of weak labels alone with that of the plain student."""
    check = gain["forecast"]
    expected = check or forecast["gain"]
    text = f"It had expected {_with_level(expected, 'points')} over the teacher from weak labels"
    if check is None or check["student"] is None or check["measured"] is None:
        return f"{text}; no plain student was trained to compare it with."
    where = "inside that interval"
    if not check["inside"]:
        where = "outside that interval: believe the measurement"
    gained = f"the plain student ({check['student']}) gained {signed(check['measured'])}"
    return f"{text}; {gained}, {where}."
