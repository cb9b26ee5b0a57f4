"""Descriptions of single items, and their texts: for a pair, the preferred and the rejected one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from w2s_data.data.pairs import PAIR_CLASSES
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
    """Return the first different items of some rows, each with the number of rows that repeat it.

    Only the first few times `most` rows are compared: copies have the same scores, and stand
    beside each other.
    """
    first = [int(row) for row in itertools.islice(rows, COMPARED * most)]
    content: dict[int, list[Any]] = {row: [] for row in first}
    for column in ("item", "other") if artefacts.is_paired else ("item",):
        for row, value in artefacts.items(first, column):
            if value is not None:
                content[row].append(value)
    same: dict[Any, list[int]] = {}
    for row in first:
        # A set, as the two of a pair are in random order; vectors are not read, and all differ.
        same.setdefault(frozenset(content[row]) or row, []).append(row)
    return [{"row": copies[0], "n_same": len(copies)} for copies in same.values()][:most]


def describe_items(artefacts: Artefacts, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Describe some rows of the scores by text, region and names."""
    wanted = sorted(set(rows))
    texts, rejected = item_texts(artefacts, wanted, TEXT_BYTES)
    scores = artefacts.scores.loc[wanted]
    if "trust" in scores:
        scores = scores.assign(trust_level=trust_level(scores["trust"]))
    records = scores.to_dict("records")
    return {
        row: _item(score, row, artefacts.is_paired)
        | {"text": texts.get(row), "rejected": rejected.get(row)}
        for row, score in zip(wanted, records, strict=True)
    }


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
    return item


def preferred(correct: bool | None) -> str | None:
    """Return which text of a pair a model prefers, by whether it is right."""
    return None if correct is None else "chosen" if correct else "rejected"
