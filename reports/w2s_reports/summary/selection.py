"""Selection: items bought per source, and other ways to spend the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from w2s_data.stages.graph import BASELINES, SELECT, SELECTION
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import MINUS, SAMPLING_ONLY, count, name_of, percent, plain, signed
from w2s_reports.summary.parts import estimate, named, sentence, texts
from w2s_selectors.simulation.regret import progress_curves

WHOLE = ("objective", "reward", "policy", "budget_unit")
NUMBERS = ("budget", "spent", "rounds", "items", "set_aside")
MEASURES = ("value", "evaluated", "overlap", "regret")
# Strategies that the figures draw; other baselines are only in the table.
CURVE = ("chosen", "random", "round_robin")
# Objective -> its own value in words, and the digits that it is shown with.
VALUES = {
    "screen_match": {"name": "distance to target", "digits": None},
    "overlap": {"name": f"density found, {SAMPLING_ONLY}", "digits": None},
    "trust": {"name": "right labels", "digits": 0},
}
# Reward of an objective -> what it is, for readers of the page.
REWARDS = {
    "overlap density": "share of overlap points among what a source delivers",
    "label consistency": "how far weak labels follow from strong features, from 0 to 1",
    "trust": "how many weak labels are expected to be right",
}
NO_SOURCES = "No source column was given, so that there is nothing to select from."
ROUNDING = 1e-9  # of means of runs that bought the same
SOURCE_NUMBERS = ("cost", "items", "spent", "set_aside", "probability_best", "recommended")


def summarize_selection(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize sources, stops and baselines, or name the command that selects."""
    result = artefacts.later.get(SELECTION)
    if result is None:
        alone = artefacts.is_scored and not artefacts.overlap.get("by_source")
        return {"hint": NO_SOURCES if alone else SELECT.hint()}
    baselines = [_baseline(row) for row in result["baselines"] or ()]
    rows = [_source(row) for row in result["sources"]]
    return {
        "hint": None,
        **{name: str(result[name]) for name in WHOLE},
        **{name: plain(result[name]) for name in NUMBERS},
        "ended": sentence(str(result["ended"])),
        "rows": rows,
        "reward_means": REWARDS.get(str(result["reward"]), ""),
        "value": VALUES.get(str(result["objective"]), {"name": "objective", "digits": None}),
        "aside": _aside(rows, baselines),
        "baselines": baselines,
        "comparison": _comparison(baselines, str(result["objective"])),
        "advice": _advice(baselines, result),
        # A plan that is not better than an even mixture must not stand beside advice to buy evenly.
        "follows_plan": not baselines or _standing(baselines, "evaluated") in ("above", None),
        "curve": _curve(artefacts.later.get(BASELINES)),
        "regret": {
            "kind": str(result["regret"]["kind"]),
            **{name: plain(result["regret"][name]) for name in ("cumulative", "simple", "bound")},
            "reason": str(result["regret"]["reason"]),
        },
        "notes": [sentence(note) for note in texts(result["notes"])],
    }


def _baseline(row: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize a baseline; `noise` is how far one more run of it may lie from its mean."""
    return {
        "strategy": str(row["strategy"]).replace("_", " "),
        "runs": plain(row["runs"]),
        **{
            name: estimate(row.get(name)) | {"noise": plain(row.get(f"{name}_noise"))}
            for name in MEASURES
        },
    }


def _with_and_without(
    baselines: Sequence[Mapping[str, Any]],
) -> tuple[float, float] | None:
    """Return the accuracy of a student with and without the items of stopped sources, if known."""
    accuracy = {row["strategy"]: row["evaluated"]["value"] for row in baselines}
    chosen, whole = accuracy.get("chosen"), accuracy.get("all bought")
    return None if chosen is None or whole is None else (whole, chosen)


def _aside(rows: Sequence[Mapping[str, Any]], baselines: Sequence[Mapping[str, Any]]) -> str:
    """Say how many items were set aside, and what a student would be with them."""
    aside = [row for row in rows if row["set_aside"]]
    if not aside:
        return ""
    n = sum(row["set_aside"] for row in aside)
    listed = named(aside, lambda row: f"{row['name']} {count(row['set_aside'])}")
    text = (
        f"{count(n)} items were bought before their source was stopped, and are set aside: "
        f"{listed}. They were paid for; a student is trained and compared without them."
    )
    if (accuracies := _with_and_without(baselines)) is None:
        return text
    whole, chosen = accuracies
    return f"{text} Its accuracy is {percent(chosen)}, with them it would be {percent(whole)}."


def _standing(baselines: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """Return whether the chosen run is above, below or within the noise of random choice."""
    rows = {row["strategy"]: row[name] for row in baselines}
    chosen, random = rows.get("chosen"), rows.get("random")
    if not chosen or not random or None in (chosen["value"], random["value"], random["noise"]):
        # A single run has no noise to be compared with.
        return None
    difference = chosen["value"] - random["value"]
    if abs(difference) <= random["noise"] + ROUNDING:
        return "within noise"
    return "above" if difference > 0 else "below"


def _comparison(baselines: Sequence[Mapping[str, Any]], objective: str) -> list[str]:
    """Compare accuracy, overlap and regret of the choice with both baselines, in words.

    Overlap only if it was sought: noise looks dense, so that a choice without it has less.
    """
    rows = {row["strategy"]: row for row in baselines}
    sentences = []
    for name, lead, spell, difference in _SAID:
        standing = _standing(baselines, name)
        if standing is None or (name in ("overlap", "regret") and objective != "overlap"):
            continue
        chosen, random = (rows[strategy][name] for strategy in ("chosen", "random"))
        others = f"of random choice {spell(random['value'])}"
        if "round robin" in rows:
            others += f", of round robin {spell(rows['round robin'][name]['value'])}"
        apart = difference(chosen["value"] - random["value"])
        verdict = "is within noise" if standing == "within noise" else "is beyond noise"
        sentences.append(
            f"{lead} {spell(chosen['value'])}, {others}; the difference to random of {apart} "
            f"{verdict} (single random runs lie up to {difference(random['noise'])[1:]} off)."
        )
    return sentences


def _whole(value: float) -> str:
    return count(round(value))


def _points(difference: float) -> str:
    text = f"{difference:+,.0f}".replace("-", MINUS)
    return "±0" if text in ("+0", f"{MINUS}0") else text


def _percentage_points(difference: float) -> str:
    text = signed(difference)
    return f"±{text}" if text == "0.0" else text


_SAID = (
    ("evaluated", "Accuracy of a student of what was chosen:", percent, _percentage_points),
    ("overlap", "Overlap points among it:", _whole, _points),
    ("regret", "Estimated regret in overlap points:", _whole, _points),
)


def _advice(baselines: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> str:
    """Advise whether to follow the recommendation."""
    if not result["items"] and result["set_aside"]:
        return (
            "Nothing is left to train on: every source that delivered was stopped. Read the "
            "evidence, and name in `keep` the sources that you trust all the same."
        )
    if not baselines:
        return (
            "Whether the selection of sources beats an even mixture was not measured: buy a part "
            "as it recommends and a part evenly, and compare."
        )
    standing = _standing(baselines, "evaluated")
    stopped = [row for row in result["sources"] if row["status"] == "stopped"]
    if standing is None:
        return (
            "Whether a student learns more from the selection of sources was not measured (that "
            "takes 50 test items with gold labels): overlap alone is no proof of it."
        )
    if standing == "above":
        return (
            "Buy from the sources as the selection recommends: a student learns more from its "
            "choice than from an even mixture."
        )
    if standing == "below":
        return "Do not follow the selection of sources: a student of an even mixture is better."
    whole, chosen = _with_and_without(baselines) or (0.0, 0.0)
    # Where a student is better with their items, they stay in.
    leave = stopped and whole <= chosen
    rest = ", and leave out the sources that were stopped" if leave else ""
    return (
        "The selection of sources was not clearly better than random choice: buy evenly or by "
        f"price{rest}."
    )


def _curve(progress: pd.DataFrame | None) -> list[dict[str, Any]]:
    """List overlap and regret over the money spent; limits are those of one more run."""
    if progress is None or not len(progress):
        return []
    return [
        {"spent": point["spent"]}
        | {
            strategy: {
                name: estimate(point[strategy][name].to_dict()) for name in ("overlap", "regret")
            }
            for strategy in CURVE
            if strategy in point
        }
        for point in progress_curves(progress)
    ]


def _source(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name_of(row["source"]) or "(none)",
        **{name: plain(row[name]) for name in SOURCE_NUMBERS},
        "reward": estimate(row["reward"]),
        "status": str(row["status"]),
        "reason": str(row["reason"]),
    }
