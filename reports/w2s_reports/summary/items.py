"""Descriptions of single items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import id_of, name_of, plain
from w2s_reports.item_texts import item_texts

# About four lines of a card.
TEXT_BYTES = 280
NAMES = ("region", "label", "weak_label", "source", "group", "split")


def describe_items(artefacts: Artefacts, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Describe some rows of the scores by text, region and names."""
    wanted = sorted(set(rows))
    texts, rejected = item_texts(artefacts, wanted, TEXT_BYTES)
    records = artefacts.scores.loc[wanted].to_dict("records")
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
    }
    if is_paired:  # first and second were drawn by chance
        item |= {"label": None, "weak_label": preferred(item["weak_correct"])}
    return item


def preferred(correct: bool | None) -> str | None:
    """Return which text of a pair a model prefers, by whether it is right."""
    return None if correct is None else "chosen" if correct else "rejected"
