"""Sentences about the tables of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import listing
from w2s_data.groups.association import Association
from w2s_data.utils.intervals import Estimate, tails

MANY = 5  # names in a sentence; the tables hold all


def association_warnings(
    parts: Mapping[tuple[str, str], Association], level: float, *, discovered: bool = False
) -> list[str]:
    """Return a sentence for each kind of pool label whose association differs significantly.

    The comparison is by the interval of the difference in Cramér's V from the labelled set, which
    is independent of the pool. Groups that were `discovered` inside the classes of pseudo-labels go
    together with these by construction: only gold labels are compared.
    """
    labelled = parts["labelled", "gold"]
    sentences = []
    kinds = {"gold": "gold labels"} | ({} if discovered else {"pseudo": "pseudo-labels"})
    for kind, name in kinds.items():
        pool = parts["pool", kind]
        if np.isnan(pool.cramers_v.value + labelled.cramers_v.value):
            continue
        low, high = np.quantile(pool.replicates - labelled.replicates, tails(level))
        if low <= 0 <= high:
            continue
        direction = "less" if high < 0 else "more"
        sentences.append(
            f"group and label go together {direction} in the pool (Cramér's V of {name} "
            f"{_with_interval(pool.cramers_v)}) than in the labelled set "
            f"({_with_interval(labelled.cramers_v)}): the teacher can mistake the group for the "
            "label"
        )
    return sentences


def _with_interval(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}, {estimate.low:.2f} to {estimate.high:.2f}"


def group_reading(
    table: pd.DataFrame, origin: str, minority: list[Any], warnings: list[str]
) -> str:
    """Summarize groups, minorities and weak spots in one or two sentences."""
    first = origin[0].upper() + origin[1:]
    if minority:
        first += f"; minorities: {listing([str(name) for name in minority], MANY)}"
    known = table[table["n_gold"] > 0]
    # Weighted by gold rows: the accuracy over all rows, not over groups.
    overall = (known["weak_accuracy"] * known["n_gold"]).sum() / max(1, known["n_gold"].sum())
    worse = known[known["weak_accuracy_high"] < overall]
    if len(worse):
        row = worse.sort_values("weak_accuracy").iloc[0]
        first += (
            f"; the weak model is right less often in {str(row.name)!r} "
            f"({row['weak_accuracy']:.1%}, interval {row['weak_accuracy_low']:.1%} to "
            f"{row['weak_accuracy_high']:.1%}) than over all groups ({overall:.1%})"
        )
    silent = table.index[table["n_gold"] == 0].tolist()
    if silent and len(silent) < len(table):
        first += f"; without gold labels, accuracies are unknown in {listing(silent, MANY)}"
    elif silent:
        first += "; without gold labels, accuracies are unknown"
    sentences = [first, *warnings[:1]]
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."
