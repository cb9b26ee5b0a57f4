"""The most telling items of each region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import excerpt, id_of, name_of, plain

EXAMPLES_PER_REGION = 6
EXAMPLE_BYTES = 320
# The most telling items of a region are those furthest from the threshold that made them so.
_TELLING = {
    "overlap": ("alignment", False, "highest alignment first"),
    "easy-only": ("alignment", True, "lowest alignment first"),
    "hard-only": ("confidence", True, "lowest confidence first"),
}


def example_rows(scored: pd.DataFrame) -> dict[str, list[int]]:
    """Rows of the most telling items of each region, by their label in `scored`'s index."""
    chosen = {}
    for key, (column, ascending, _) in _TELLING.items():
        members = scored.loc[scored["region"] == key, column].dropna()
        order = members.sort_values(ascending=ascending, kind="stable")
        chosen[key] = [int(row) for row in order.index[:EXAMPLES_PER_REGION]]
    return chosen


def examples(artefacts: Artefacts) -> list[dict[str, Any]]:
    """The most telling items of each region."""
    scored = artefacts.scored()
    chosen = example_rows(scored)
    is_text = artefacts.kind == "text"
    wanted = [row for rows in chosen.values() for row in rows] if is_text else []
    texts = {
        row: excerpt(str(item), EXAMPLE_BYTES)
        for row, item in artefacts.items(wanted)
        if item is not None
    }
    return [
        {
            "region": key,
            "order": _TELLING[key][2],
            "items": [
                _item(score, row, texts.get(row))
                for row, score in zip(rows, scored.loc[rows].to_dict("records"), strict=True)
            ],
        }
        for key, rows in chosen.items()
    ]


def _item(score: Mapping[Any, Any], row: int, text: str | None) -> dict[str, Any]:
    correct = plain(score.get("weak_correct"))
    return {
        "row": row,
        "id": id_of(score["id"]),
        "text": text,
        "region": str(score["region"]),
        **{name: name_of(score.get(name)) for name in ("label", "weak_label", "source", "group")},
        "weak_correct": None if correct is None else bool(correct),
        "confidence": plain(score["confidence"]),
        "alignment": plain(score["alignment"]),
    }
