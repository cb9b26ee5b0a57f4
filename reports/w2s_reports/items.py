"""Descriptions of single items, and their texts: for a pair, the preferred and the rejected one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from w2s_data.data.pairs import PAIR_CLASSES
from w2s_data.stages.graph import GAIN_SUMMARY, PREDICTIONS
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import excerpt, id_of, name_of, plain
from w2s_reports.trust import trust_level

# About four lines of a card.
TEXT_BYTES = 280
COMPARED = 5  # times as many rows as are shown
NAMES = ("region", "label", "weak_label", "source", "group", "split")

Texts = dict[int, str]


def item_texts(artefacts: Artefacts, rows: Sequence[int], max_bytes: int) -> tuple[Texts, Texts]:
    """Read the starts of the texts of some rows: chosen (or only) and rejected ones, by row."""
    if artefacts.kind != "text":
        return {}, {}
    first = _texts(artefacts, rows, "item", max_bytes)
    if not artefacts.is_paired:
        return first, {}
    second = _texts(artefacts, rows, "other", max_bytes)
    labels = artefacts.scores["label"]
    # First and second of a pair are in random order; the label names the preferred one.
    turned = [row for row in second if labels[row] == PAIR_CLASSES[1] and row in first]
    return (
        first | {row: second[row] for row in turned},
        second | {row: first[row] for row in turned},
    )


def _texts(artefacts: Artefacts, rows: Sequence[int], column: str, max_bytes: int) -> Texts:
    return {
        row: excerpt(str(item), max_bytes)
        for row, item in artefacts.items(rows, column)
        if item is not None
    }


def shown_once(artefacts: Artefacts, rows: Iterable[int], most: int) -> list[dict[str, int]]:
    """Return the first different items of some rows, each with the number of rows that are alike.

    Rows are alike where their items are equal or, in a run with groups, near-duplicates. Only the
    first few times `most` rows are compared: copies have the same scores, and stand beside each
    other.
    """
    first = [int(row) for row in itertools.islice(rows, COMPARED * most)]
    content: dict[int, list[Any]] = {row: [] for row in first}
    for column in ("item", "other") if artefacts.is_paired else ("item",):
        for row, value in artefacts.items(first, column):
            if value is not None:
                content[row].append(value)
    alike = artefacts.scores.get("alike")
    same: dict[Any, list[int]] = {}
    places: dict[Any, list[int]] = {}  # by the row that near-duplicates repeat
    for row in first:
        origin = row if alike is None else int(alike[row])
        # A set, as the two of a pair are in random order; vectors are not read, and all differ.
        key = frozenset(content[row]) or origin
        copies = same.get(key) or places.get(origin) or []
        copies.append(row)
        same[key] = places[origin] = copies
    lists = {id(copies): copies for copies in same.values()}.values()
    return [{"row": copies[0], "n_same": len(copies)} for copies in lists][:most]


def describe_items(artefacts: Artefacts, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Describe some rows of the scores by text, region and names."""
    wanted = sorted(set(rows))
    texts, rejected = item_texts(artefacts, wanted, TEXT_BYTES)
    scores = artefacts.scores.loc[wanted]
    if "trust" in scores:
        scores = scores.assign(trust_level=trust_level(scores["trust"]))
    if (says := student_answers(artefacts)) is not None:
        scores = scores.assign(student_says=says.loc[wanted])
    records = scores.to_dict("records")
    return {
        row: _item(score, row, artefacts.is_paired)
        | {"text": texts.get(row), "rejected": rejected.get(row)}
        for row, score in zip(wanted, records, strict=True)
    }


def student_answers(artefacts: Artefacts) -> pd.Series[Any] | None:
    """Return the label that the best student gives each item; None where that is not known."""
    table, gain = artefacts.later.get(PREDICTIONS), artefacts.later.get(GAIN_SUMMARY)
    if table is None or gain is None or artefacts.is_regression:
        return None
    methods = [student["name"] for student in gain["students"] if not student["control_of"]]
    column = f"{methods[0]} / label" if methods else ""
    # Predictions name items by id: another order or other items would mislabel them.
    ids = artefacts.scores["id"].astype(str).reset_index(drop=True)
    if column not in table or not ids.equals(table["id"].astype(str)):
        return None
    answers: pd.Series[Any] = table[column].astype(object)
    return answers


def _item(score: Mapping[Any, Any], row: int, is_paired: bool) -> dict[str, Any]:
    correct = plain(score.get("weak_correct"))
    item = {
        "row": row,
        "id": id_of(score["id"]),
        **{name: name_of(score.get(name)) for name in NAMES},
        "weak_correct": None if correct is None else bool(correct),
        "confidence": plain(score["confidence"]),
        "alignment": plain(score["alignment"]),
        "trust": plain(score.get("trust")),
        "trust_level": name_of(score.get("trust_level")),
        "student_says": name_of(score.get("student_says")),
        "should_be": name_of(score.get("posterior_label")),
        "target": plain(score.get("target")),
        "weak_value": plain(score.get("weak_value")),
    }
    if item["should_be"] == item["weak_label"]:  # then there is nothing to correct
        item["should_be"] = None
    if is_paired:  # first and second were drawn by chance
        said, gold = item["should_be"], item["label"]
        item |= {"label": None, "weak_label": preferred(item["weak_correct"])}
        item["should_be"] = None if said is None else preferred(said == gold)
        item["student_says"] = None
    return item


def preferred(correct: bool | None) -> str | None:
    """Return which text of a pair a model prefers, by whether it is right."""
    return None if correct is None else "chosen" if correct else "rejected"
