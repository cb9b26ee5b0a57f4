"""The next step as a command, and further steps by what they are worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from w2s_data.stages.graph import EXPORT, FORECAST, GAIN, NEXT, PLAN
from w2s_reports.formats import percent
from w2s_reports.summary.options import capitalized
from w2s_reports.summary.parts import estimate

Row = Mapping[str, Any]
APPLY = "w2s apply {} NEW_DATA"  # no stage: it adds nothing to the run
TO_LABEL = "100"  # rows: a round of an hour or two


def rank_steps(
    result: Row, headline: Row | None, outdated: Mapping[str, str], place: str, worth: Row
) -> list[dict[str, Any]]:
    """Return the next step and then all others, by what they are worth where that is known.

    `worth` is what the advised option gains over the teacher, in the unit that it is shown in.
    """
    first, *rest = _first(result, headline, outdated, place, worth)
    others = [
        *rest,
        *_closing(result["shift"], place),
        *_bought(result, place),
        *_corrected(result, headline, place),
        *_advised(result, headline),
    ]
    others.sort(key=lambda step: -(step["worth"]["value"] or 0.0))
    return [first, *(s for s in others if not s["command"] or s["command"] != first["command"])]


def _step(
    text: str, command: str | None = None, about: str = "verdict", worth: Row | None = None
) -> dict[str, Any]:
    return {
        "text": text,
        "command": command,
        "about": about,
        "worth": dict(worth or estimate(None)),
    }


def _first(
    result: Row, headline: Row | None, outdated: Mapping[str, str], place: str, worth: Row
) -> Iterator[dict[str, Any]]:
    """Yield the next step, by how much is known, and what else can be done with a measurement."""
    if outdated:
        name, command = next(iter(outdated.items()))
        yield _step(f"Run {name} again, as its inputs have changed.", command)
    elif headline is None:
        if result["reading"].get("missing_features"):
            yield _step("Score the run first: the next lines have the command.")
            return
        if "few_gold" in result["data"]:
            text = "Label some rows first: there are too few gold labels to go on."
            yield _step(text, NEXT.with_options(place, budget=TO_LABEL))
            return
        text = "Find out what training is expected to gain; that needs no training."
        yield _step(text, FORECAST.with_options(place))
    elif headline["advised"] is None:
        if headline["kind"] == "expected":
            text = "Label more rows first; this chooses those that help most."
            yield _step(text, NEXT.with_options(place, budget=TO_LABEL))
        else:
            yield _step("Label more test rows, drawn at random, and measure again.")
    elif headline["kind"] == "expected":
        text = "Train the options and measure them: a forecast is not a measurement."
        yield _step(text, GAIN.with_options(place), "verdict", worth)
    else:
        yield from _closing(result["shift"], place)
        yield from _taken(result, headline["advised"], place, worth)


def _taken(result: Row, advised: str, place: str, worth: Row) -> Iterator[dict[str, Any]]:
    """Yield how to take the option that was measured to be best, the most useful step first."""
    more = {
        "teacher": "Keep the weak labels. To get beyond them, label the rows that would help most.",
        "gold": "Label more rows: weak labels were measured to add nothing to the gold ones, and "
        "this chooses the rows that would help most.",
    }
    if advised == "teacher" or (advised == "gold" and not _waits(result["labels"])):
        yield _step(more[advised], NEXT.with_options(place, budget=TO_LABEL), "labels")
    if advised == "teacher":
        return
    if best := result["gain"]["best_student"]:
        text = f"Label new rows with the best student ({best}), which the run keeps."
        yield _step(text, APPLY.format(place), "gain", worth)
    else:
        text = "Train the students again: the run keeps none."
        yield _step(text, GAIN.with_options(place), "gain", worth)


def _waits(labels: Row) -> bool:
    """Return whether a table of rows to label waits to be filled in."""
    return not labels["hint"] and bool(labels["next"])


def _closing(shift: Row, place: str) -> Iterator[dict[str, Any]]:
    """Yield how to close the gap between the labelled items and a pool of other kinds."""
    if shift.get("pool_alarm"):
        text = "Label rows of the kinds that the labelled items lack."
        yield _step(text, NEXT.with_options(place, **{"for": "shift"}), "shift")


def _bought(result: Row, place: str) -> Iterator[dict[str, Any]]:
    """Yield labels to buy, with their worth where a plan knows it."""
    plan = result["plan"]
    if not plan["hint"]:
        n = plan["split"]["gold"] if plan["buys"] == "labels" else 0
        command = NEXT.with_options(place, budget=str(n)) if n else None
        yield _step(plan["advice"], command, "plan", plan["worth"])
        return
    if _waits(result["labels"]):
        return
    # Labels of values have no plan, and neither have too few of classes.
    if plan["hint"] == PLAN.hint() and "few_gold" not in result["data"]:
        text = "Before you buy labels, ask what they are worth, at your prices."
        yield _step(text, PLAN.with_options(place), "plan")
    text = "Choose the rows whose labels would help a student most."
    yield _step(text, NEXT.with_options(place, budget=TO_LABEL), "labels")


def _corrected(result: Row, headline: Row | None, place: str) -> Iterator[dict[str, Any]]:
    """Yield that weak labels can be corrected, unless the advised student has learned from that."""
    posterior = result["posterior"]
    if posterior.get("hint") or (headline and headline["advised"] == "both"):
        return
    lead = posterior.get("lead") or estimate(None)
    if lead["low"] is None or lead["low"] <= 0:
        return
    text = "Train a model of your own on labels of the pool that gold and weak ones give together"
    if "accuracy" in posterior:  # of classes
        text += f": they are right on {percent(posterior['accuracy']['value'])}"
    yield _step(f"{text}.", EXPORT.with_options(place), "posterior")


def _advised(result: Row, headline: Row | None) -> Iterator[dict[str, Any]]:
    """Yield what sources, groups, selection and, before a measurement, features advise."""
    for text in result["sources"].get("advice") or ():
        yield _step(text, None, "sources")
    for worst in result["group_analysis"].get("worst") or ():
        if worst["groups"]:  # all of them are clearly worse than the whole
            names = capitalized(", ".join(group["name"] for group in worst["groups"]))
            title = f"{worst['title'][:1].lower()}{worst['title'][1:]}"
            yield _step(f"{names}: {title}. {worst['advice']}", None, "groups")
    if advice := result["selection"].get("advice"):
        yield _step(advice, None, "selection")
    advice = result["discrepancy"].get("advice")
    if advice and (headline is None or headline["kind"] == "expected"):
        yield _step(advice, None, "discrepancy")
