"""Names of discovered groups, and of near-duplicates what they repeat, for every item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.stages.graph import GROUPS_SUMMARY, GROUPS_TABLE
from w2s_reports.formats import name_of


def group_names(results: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page calls each discovered group; empty where groups have names of their own.

    >>> group_names({"portraits": [{"group": "group 0", "name": "goal, referee"}]})
    {'group 0': 'group 0 (goal, referee)'}
    """
    return {
        str(
            name_of(portrait["group"])
        ): f"{name_of(portrait['group'])} ({name_of(portrait['name'])})"
        for portrait in results.get("portraits") or ()
        if portrait.get("name")
    }


def shown_name(names: Mapping[str, str], group: Any) -> str | None:
    """Return what the page calls a group, given the `group_names`.

    >>> shown_name({"group 0": "group 0 (goal, referee)"}, "group 0"), shown_name({}, "web")
    ('group 0 (goal, referee)', 'web')
    """
    own = name_of(group)
    return own if own is None else names.get(own, own)


def with_groups(scores: pd.DataFrame, later: Mapping[str, Any]) -> pd.DataFrame:
    """Add to the scores the discovered groups, and the row that each near-duplicate repeats.

    Without results of the groups, or with those of other items, the scores stay as they are.
    """
    results, table = later.get(GROUPS_SUMMARY), later.get(GROUPS_TABLE)
    if results is None or table is None:
        return scores
    ids = scores["id"].astype(str).reset_index(drop=True)
    if not ids.equals(table["id"].astype(str).reset_index(drop=True)):
        return scores
    added = {}
    if "duplicate_of" in table:
        repeated = table["duplicate_of"].fillna(-1).to_numpy(dtype=np.int64)
        added["alike"] = np.where(repeated < 0, np.arange(len(scores)), repeated)
    if names := group_names(results):
        added["group"] = (
            table["group"].astype(str).map(lambda name: names.get(name, name)).to_numpy()
        )
    return scores.assign(**added)
