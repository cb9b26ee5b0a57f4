"""The next step as a command, and further steps by what they are worth."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import EXPORT, FORECAST, GAIN, NEXT, PLAN, stage_of
from w2s_reports.formats import percent
from w2s_reports.summary.options import capitalized
from w2s_reports.summary.parts import estimate

Row = Mapping[str, Any]
PLAIN = re.compile(r"[\w.,:=+-]+")  # names of methods and their parameters
APPLY = "w2s apply {} NEW.csv"  # no stage: it adds nothing to the run
TO_LABEL = "100"  # rows: a round of an hour or two


def rank_steps(
    result: Row, headline: Row | None, outdated: Sequence[str], place: str, worth: Row
) -> list[dict[str, Any]]:
    """Return the next step and then all others, by what they are worth where that is known.

    `worth` is what the advised option gains over the teacher, in the unit that it is shown in.
    """
    first = _first(result, headline, outdated, place, worth)
    others = [
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
    result: Row, headline: Row | None, outdated: Sequence[str], place: str, worth: Row
) -> dict[str, Any]:
    """Return the next step, by how much is known."""
    if outdated:
        again = stage_of(outdated[0]).with_options(place)
        return _step(f"Run {outdated[0]} again, as its inputs have changed.", again)
    if headline is None:
        if result["reading"].get("missing_features"):
            return _step("Score the run first: the next lines have the command.")
        text = "Find out what training is expected to gain; that needs no training."
        return _step(text, FORECAST.with_options(place))
    label = NEXT.with_options(place, budget=TO_LABEL)
    if headline["advised"] is None:
        if headline["kind"] == "expected":
            return _step("Label more rows first; this chooses those that help most.", label)
        return _step("Label more test rows, drawn at random, and measure again.")
    if headline["kind"] == "expected":
        text = "Train the options and measure them: a forecast is not a measurement."
        return _step(text, GAIN.with_options(place), "verdict", worth)
    for step in _closing(result["shift"], place):
        return step
    return _taken(result["gain"], headline["advised"], label, place, worth)


def _taken(gain: Row, advised: str, label: str, place: str, worth: Row) -> dict[str, Any]:
    """Return how to take the option that was measured to be best."""
    if advised == "teacher":
        text = "Keep the weak labels. To get beyond them, label the rows that would help most."
        return _step(text, label, "labels")
    student = next(row["student"] for row in gain["options"] if row["name"] == advised)
    names = [method["name"] for method in gain["methods"]]
    if not student or student in names:
        best = f"the best student ({names[0]})" if names else "the best student"
        text = f"Label new rows with {best}, which the run keeps."
        return _step(text, APPLY.format(place), "gain", worth)
    # Only methods are kept; the others are named too, as the page would lose them.
    text = f"Measure {student} as a method, too: a run keeps the best of its methods for new rows."
    methods = ",".join([student, *names])
    # A name from a damaged file must not become a command.
    is_plain = PLAIN.fullmatch(methods) is not None
    command = GAIN.with_options(place, methods=methods) if is_plain else None
    return _step(text, command, "gain", worth)


def _closing(shift: Row, place: str) -> Iterator[dict[str, Any]]:
    """Yield how to close the gap between the labelled items and a pool of other kinds."""
    if shift.get("pool_alarm"):
        text = "Label rows of the kinds that the labelled items lack."
        yield _step(text, NEXT.with_options(place, **{"for": "shift"}), "shift")


def _bought(result: Row, place: str) -> Iterator[dict[str, Any]]:
    """Yield labels to buy, with their worth where a plan knows it."""
    plan, labels = result["plan"], result["labels"]
    if not plan["hint"]:
        n = plan["split"]["gold"]
        command = NEXT.with_options(place, budget=str(n)) if n else None
        yield _step(plan["advice"], command, "plan", plan["split"]["gain"])
        return
    if not labels["hint"] and labels["next"]:
        return  # a table waits to be filled in
    if plan["hint"] == PLAN.hint():  # labels of values have no plan
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
