"""Items to look at: the most typical of each region, disagreements, and likely duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_reports.artefacts import Artefacts
from w2s_reports.items import describe_items
from w2s_reports.summary.disagreements import find_disagreements
from w2s_reports.summary.duplicates import find_duplicates

# Two rows of three cards.
EXAMPLES_PER_REGION = 6
# The most typical items of a region are those furthest from the threshold that made them so.
_TELLING = {
    "overlap": ("alignment", False, "highest alignment first"),
    "easy-only": ("alignment", True, "lowest alignment first"),
    "hard-only": ("confidence", True, "lowest confidence first"),
}


def example_rows(scored: pd.DataFrame) -> dict[str, list[int]]:
    """Select the most typical items of each region, by their label in `scored`'s index."""
    chosen = {}
    for key, (column, ascending, _) in _TELLING.items():
        members = scored.loc[scored["region"] == key, column].dropna()
        order = members.sort_values(ascending=ascending, kind="stable")
        chosen[key] = [int(row) for row in order.index[:EXAMPLES_PER_REGION]]
    return chosen


def examples(artefacts: Artefacts) -> dict[str, Any]:
    """Collect typical items by region, disagreements by kind, pairs of duplicates."""
    chosen = example_rows(artefacts.scored())
    result: dict[str, Any] = {
        "regions": [
            {"region": key, "order": _TELLING[key][2], "items": [{"row": row} for row in rows]}
            for key, rows in chosen.items()
        ],
        "disagreements": find_disagreements(artefacts),
        "duplicates": find_duplicates(artefacts),
    }
    described = describe_items(artefacts, shown_rows(result))
    for part in (*result["regions"], *result["disagreements"].get("kinds", ())):
        part["items"] = [described[item["row"]] | item for item in part["items"]]
    for pair in result["duplicates"].get("pairs", ()):
        pair |= {side: described[pair[side]] for side in ("a", "b")}
    return result


def shown_rows(result: Mapping[str, Any]) -> list[int]:
    """List the rows of all items shown, the most important first."""
    parts = (*result["regions"], *result["disagreements"].get("kinds", ()))
    rows = [item["row"] for part in parts for item in part["items"]]
    for pair in result["duplicates"].get("pairs", ()):
        rows += [item if isinstance(item, int) else item["row"] for item in (pair["a"], pair["b"])]
    # An item may be in several lists; its picture is made once.
    return list(dict.fromkeys(rows))
