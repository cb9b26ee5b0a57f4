"""Texts of items: one each; for a pair, the preferred and the rejected one."""

from __future__ import annotations

from collections.abc import Sequence

from w2s_data.data.pairs import PAIR_CLASSES
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import excerpt

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
