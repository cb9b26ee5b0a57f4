"""Risks to the advice: whatever could make it wrong, ranked by what that would change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from w2s_reports.formats import count, format_estimate, has_interval, percent
from w2s_reports.summary.parts import average

Row = Mapping[str, Any]

# Kinds of risk, the worst first, and what the page says of each.
LEVELS = {
    "overturns": "may turn the advice around",
    "misleads": "may make the accuracies wrong",
    "blurs": "leaves the advice uncertain",
    "part": "concerns a part of the items",
    "aside": "concerns another number on this page, not the advice",
}
RULE = (
    "Risks that may turn the advice around come first, then those that make its accuracies wrong, "
    "those that leave it uncertain, those of some items, and those of other numbers."
)
# Warnings of data, by their code; those that withhold advice overturn it, and all others blur it.
BY_CODE = {
    "unseen_class": "overturns",
    "constant_weak_labels": "overturns",
    "weak_below_chance": "overturns",
    "note": "misleads",
}
# Leaking items of this share of all can raise an accuracy by a point.
MUCH_LEAKING = 0.01
# Sections with warnings of their own, that the first screen only points to.
IN_SECTIONS = {"group_analysis": "Groups", "discrepancy": "Discrepancy"}


def rank_risks(
    result: Row, outdated: Mapping[str, str], headline: Row | None
) -> tuple[list[dict[str, str]], list[str]]:
    """Return the risks, the worst first, and titles of the sections that hold more warnings."""
    measured = headline is not None and headline["kind"] == "measured"
    found = [
        *_of_data(result, outdated),
        *_of_shift(result["shift"]),
        *_of_groups(result["group_analysis"], measured),
        *_of_chance(headline),
        *_of_density(result),
        *_of_stages(result, measured),
    ]
    order = list(LEVELS)
    found.sort(key=lambda risk: order.index(risk["level"]))
    return found, [title for key, title in IN_SECTIONS.items() if result[key].get("warnings")]


def _risk(level: str, about: str, text: str) -> dict[str, str]:
    return {"level": level, "about": about, "text": text}


def _of_data(result: Row, outdated: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield results that are out of date, and warnings of the data."""
    for stage, command in outdated.items():
        text = f"the inputs have changed since; run `{command}` again"
        yield _risk("overturns", stage, text)
    for warning in result["data"]["warnings"]:
        level = "overturns" if warning["withholds"] else BY_CODE.get(warning["code"], "blurs")
        yield _risk(level, "data", warning["text"])


def _of_shift(shift: Row) -> Iterator[dict[str, str]]:
    """Yield an alarm of shift: that of the pool is about every number, that of a split is not."""
    if shift["alarm"]:
        level = "overturns" if shift["pool_alarm"] else "misleads"
        yield _risk(level, "shift", f"{shift['reading']} {shift['consequence']}")


def _of_stages(result: Row, measured: bool) -> Iterator[dict[str, str]]:
    """Yield warnings of gain, forecast and scores; a measurement does not rest on a forecast."""
    levels = {"gain": "misleads", "forecast": "aside" if measured else "misleads"}
    for name, level in levels.items():
        yield from _each(level, name, result[name].get("warnings"))
    yield from _each("aside", "overlap", result["reading"].get("warnings"))


def _each(level: str, about: str, texts: Iterable[str] | None) -> Iterator[dict[str, str]]:
    for text in texts or ():
        yield _risk(level, about, text)


def _of_chance(headline: Row | None) -> Iterator[dict[str, str]]:
    """Yield that the lead of the advised option may be chance."""
    if headline is None or not headline["advised"] or not has_interval(headline["lead"]):
        return
    if headline["lead"]["low"] <= 0 <= headline["lead"]["high"]:
        yield _risk(
            "blurs",
            "chance",
            "the lead over the next option may be chance (its interval holds 0), so that fresh "
            "items may put another option first",
        )


def _of_groups(groups: Row, measured: bool) -> Iterator[dict[str, str]]:
    """Yield the group in which the student is least right, and near-duplicates across splits."""
    if groups["hint"]:
        return
    if measured and groups.get("student"):
        yield from _weak_spot(groups["rows"])
    leaking = sum(row["n_leaking"] or 0 for row in groups["rows"])
    if not leaking:
        return
    total = max(leaking, sum(row["n"] or 0 for row in groups["rows"]))
    share = f"{count(leaking)} {{}} ({percent(leaking / total)})"
    if "of_prompts" in groups:
        text = (
            f"{share.format('pairs')} share a prompt with a pair of another split: accuracies may "
            "be higher than on prompts that are new"
        )
        yield _risk("part", "prompts", text)
        return
    text = (
        f"{share.format('items')} leak: each is nearly the same as an item of another split, so "
        "that accuracies may come out too high"
    )
    if leaking == total:
        text += "; see first whether the strong features are the same for all items"
    yield _risk("misleads" if leaking >= MUCH_LEAKING * total else "part", "leak", text)


def _weak_spot(groups: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Yield the group in which the student is clearly less right than over the same rows of all."""
    rows = [row for row in groups if has_interval(row.get("student_accuracy"))]  # none of values
    whole = average(rows, "student_accuracy", "n_gold")
    if whole is None:
        return
    worse = [row for row in rows if row["student_accuracy"]["high"] < whole]
    if worse:
        row = min(worse, key=lambda row: row["student_accuracy"]["high"])
        text = (
            f"in {row['name']} the student is right on "
            f"{format_estimate(row['student_accuracy'])}, over all groups on {percent(whole)}"
        )
        yield _risk("part", "groups", text)


def _of_density(result: Row) -> Iterator[dict[str, str]]:
    if result["overlap"]["doubt"]:
        text = "the overlap density is doubtful: rank sources by it, and do not quote the number"
        yield _risk("aside", "overlap", text)
