"""Items to look at where labels are values: typical ones, and those with the largest errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_data.stages.graph import GAIN, PREDICTIONS
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, name_of, plain, significant
from w2s_reports.items import shown_once
from w2s_reports.summary.examples import (
    TYPICAL,
    described,
    example_rows,
    find_duplicates,
    find_groups,
)
from w2s_reports.summary.shift import find_shifted
from w2s_reports.summary.values.fit import STUDENT, TEACHER, read_predictions

SHOWN = 12  # of each list: two pages of six cards


def value_examples(artefacts: Artefacts) -> dict[str, Any]:
    """Collect typical items by region, disagreements, worst items, and pairs of duplicates."""
    chosen = example_rows(artefacts)
    predictions, method = read_predictions(artefacts)
    result: dict[str, Any] = {
        "regions": [
            {
                "region": key,
                "order": TYPICAL[key][2].replace("margin", "confidence"),
                "items": items,
            }
            for key, items in chosen.items()
        ],
        "doubtful": {"items": []},
        "shifted": find_shifted(artefacts),
        "groups": find_groups(artefacts),
        "disagreements": _disagreements(artefacts, predictions, method),
        "worst": _worst(artefacts, predictions, method),
        "duplicates": find_duplicates(artefacts),
    }
    return described(artefacts, result)


def _disagreements(artefacts: Artefacts, table: pd.DataFrame, method: str) -> dict[str, Any]:
    """List the items on which student and teacher differ most, by who is nearer to gold."""
    if not method:
        return {"hint": GAIN.hint(PREDICTIONS), "kinds": []}
    asked = table.dropna(subset=[TEACHER, STUDENT])
    apart = (asked[STUDENT] - asked[TEACHER]).abs().sort_values(ascending=False, kind="stable")
    asked = asked.loc[apart.index]
    nearer = (asked["target"] - asked[STUDENT]).abs() < (asked["target"] - asked[TEACHER]).abs()
    known = asked["target"].notna()
    kinds = [
        _kind(
            artefacts, "student_right", "Student nearer to the gold value", asked[known & nearer]
        ),
        _kind(
            artefacts, "teacher_right", "Teacher nearer to the gold value", asked[known & ~nearer]
        ),
        _kind(artefacts, "unknown", "No gold value", asked[~known]),
    ]
    n, right = int(known.sum()), int((known & nearer).sum())
    typical = significant(float(apart.median())) if len(apart) else "0"
    reading = (
        f"Half of {count(len(asked))} items have student and teacher less than {typical} apart."
    )
    if n:
        reading += (
            f" On {count(right)} of {count(n)} with a gold value the student is nearer to it."
        )
    return {"hint": None, "method": name_of(method), "reading": reading, "kinds": kinds}


def _worst(artefacts: Artefacts, table: pd.DataFrame, method: str) -> dict[str, Any]:
    """List the items on which the best model is furthest from the gold value."""
    model = STUDENT if method else TEACHER
    split = "test" if method else "labelled"
    rows = table[table["split"] == split].dropna(subset=["target", model])
    error = (rows["target"] - rows[model]).abs().sort_values(ascending=False, kind="stable")
    kind = _kind(artefacts, "worst", "Furthest from the gold value", rows.loc[error.index])
    return {"hint": None if len(rows) else GAIN.hint(PREDICTIONS), "split": split, "kinds": [kind]}


def _kind(artefacts: Artefacts, key: str, title: str, rows: pd.DataFrame) -> dict[str, Any]:
    items = shown_once(artefacts, rows.index, SHOWN)
    return {
        "key": key,
        "title": title,
        "n": len(rows),
        "items": [_values(rows, item) for item in items],
    }


def _values(rows: pd.DataFrame, item: Mapping[str, int]) -> dict[str, Any]:
    names = {"student_value": STUDENT, "teacher_value": TEACHER}
    values = {
        key: plain(rows.at[item["row"], name]) if name in rows else None
        for key, name in names.items()
    }
    return {**values, **item}
