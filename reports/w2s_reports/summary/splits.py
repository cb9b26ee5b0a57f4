"""Measured gain on several test splits, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from w2s_reports.formats import name_of, percent, plain
from w2s_reports.summary.parts import estimate, sentence

# Columns of the table: more do not fit a page.
SHOWN = 6
# Rows besides the methods: those to beat come first, those out of reach last.
FIRST = {"teacher": "teacher", "labelled_only": "gold labels alone"}
LAST = {"vote": "vote", "ceiling": "ceiling"}


def summarize_splits(result: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize teacher and students on every test split; no column where "test" is the only one.

    With many splits, those are shown in which the best method is least right, and the one that the
    other figures are about.
    """
    methods = [student for student in result["students"] if not student["control_of"]]
    best = methods[0]["name"] if methods else "teacher"
    splits = sorted(result["splits"], key=lambda split: _order(split, best, result["main_split"]))
    columns = splits[:SHOWN]
    return {
        "about": name_of(result["main_split"]) or None,
        "n": len(splits),
        "columns": [{"name": name_of(s["name"]), "n": plain(s["n"])} for s in columns],
        "rows": list(_rows(columns, result, methods)) if columns else [],
        "least": _least_gain(splits, methods[0]["name"]) if methods else estimate(None),
        "findings": [*_least(splits, best), *(sentence(text) for text in result["contrasts"])],
    }


def _order(split: Mapping[str, Any], best: str, main: str) -> tuple[bool, float]:
    return split["name"] != main, _accuracy(split, best)


def _accuracy(split: Mapping[str, Any], name: str) -> float:
    return float(_student(split, name)["accuracy"]["value"])


def _student(split: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(student for student in split["students"] if student["name"] == name)


def _rows(
    columns: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    methods: Sequence[Mapping[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Yield one row per student, with a cell for each split."""
    scores = {name: result[name]["scores"] for name in (*FIRST, *LAST)}
    scores |= {method["name"]: method["scores"] for method in methods}
    names = dict.fromkeys([*FIRST, *(method["name"] for method in methods), *LAST])
    trained = {student["name"] for student in columns[0]["students"]}
    for name in (name for name in names if name in trained):
        own = [_student(split, name) for split in columns]
        cells = [
            {key: estimate(each[key]) for key in ("accuracy", "gain", "over_labelled")}
            for each in own
        ]
        title = (FIRST | LAST).get(name) or name_of(name)
        yield {"name": title, "cells": cells, "worst": estimate(scores[name].get("worst_split"))}


def _least_gain(splits: Sequence[Mapping[str, Any]], best: str) -> dict[str, Any]:
    """Return the least gain of the best method, with the name of its split as its group."""
    gains = [(estimate(_student(s, best)["gain"]), name_of(s["name"])) for s in splits]
    least = min(gains, key=lambda gain: gain[0]["value"], default=(estimate(None), None))
    return least[0] | {"group": least[1]}


def _least(splits: Sequence[Mapping[str, Any]], best: str) -> Iterator[str]:
    """Name the split on which the best method is least right."""
    if len(splits) > 1:
        worst = min(splits, key=lambda split: _accuracy(split, best))
        own, teacher = (_accuracy(worst, name) for name in (best, "teacher"))
        beside = "" if best == "teacher" else f", its teacher {percent(teacher)}"
        yield f"{name_of(best)} is least right on test split {name_of(worst['name'])}: " + (
            f"{percent(own)}{beside}."
        )
