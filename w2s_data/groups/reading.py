"""What the tables of groups mean, in sentences and as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import listing
from w2s_data.groups.association import Association

MANY = 5


def association_warnings(parts: Mapping[tuple[str, str], Association], level: float) -> list[str]:
    """A sentence for each kind of pool label whose association differs from the labelled set's.

    "Differs" is by the interval of the difference of Cramér's V, from independent tables.
    """
    labelled = parts["labelled", "gold"]
    said = []
    for kind, what in (("gold", "gold labels"), ("pseudo", "pseudo-labels")):
        pool = parts["pool", kind]
        difference = pool.replicates - labelled.replicates
        if np.isnan(pool.cramers_v) or np.isnan(labelled.cramers_v):
            continue
        low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
        if low <= 0 <= high:
            continue
        direction = "less" if high < 0 else "more"
        said.append(
            f"group and label go together {direction} in the pool ({what}: Cramér's V "
            f"{_with_interval(pool)}) than in the labelled set ({_with_interval(labelled)}): "
            "the teacher can mistake the group for the label"
        )
    return said


def _with_interval(part: Association) -> str:
    low, high = part.cramers_v_interval
    return f"{part.cramers_v:.2f} [{low:.2f}, {high:.2f}]"


def group_reading(table: pd.DataFrame, found: str, minority: list[Any], warnings: list[str]) -> str:
    """One or two sentences."""
    first = found[0].upper() + found[1:]
    if minority:
        first_few = table.loc[minority[:MANY], ["eta_labelled", "eta_pool"]].to_dict("index")
        shares = ", ".join(
            f"{str(name)!r} ({_percent(row['eta_labelled'])} of the labelled set, "
            f"{_percent(row['eta_pool'])} of the pool)"
            for name, row in first_few.items()
        )
        more = f" and {len(minority) - MANY} more" if len(minority) > MANY else ""
        first += f"; minorities: {shares}{more}"
    known = table[table["n_gold"] > 0]
    overall = (known["weak_accuracy"] * known["n_gold"]).sum() / max(1, known["n_gold"].sum())
    worse = known[known["weak_accuracy_high"] < overall]
    if len(worse):
        row = worse.sort_values("weak_accuracy").iloc[0]
        first += (
            f"; the weak model is right less often in {str(row.name)!r} "
            f"({row['weak_accuracy']:.2f} [{row['weak_accuracy_low']:.2f}, "
            f"{row['weak_accuracy_high']:.2f}]) than on the whole ({overall:.2f})"
        )
    silent = table.index[table["n_gold"] == 0].tolist()
    if silent and len(silent) < len(table):
        first += f"; without a gold label, accuracies are unknown of {listing(silent, MANY)}"
    elif silent:
        first += "; without gold labels, accuracies are unknown"
    said = [first, *warnings[:1]]
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in said) + "."


def _percent(share: float) -> str:
    return "an unknown share" if math.isnan(share) else f"{share:.1%}"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table, with its index if that has a name."""
    frame = table.reset_index() if table.index.name else table
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
