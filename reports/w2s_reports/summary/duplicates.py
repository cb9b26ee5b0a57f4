"""Pairs of items that are nearly the same: leakage between splits, and labels that contradict."""

from __future__ import annotations

from typing import Any

import pandas as pd

from w2s_data.stages.graph import DUPLICATES, GROUPS
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, plain

# Five pages of eight pairs.
SHOWN = 40
AGAIN = f"`{GROUPS.command}` has to run again: pairs of near-duplicates are not kept of this run."
PAIRED = (
    "Preference pairs are not compared with each other: "
    f"`{GROUPS.command.removesuffix(' RUN')}` does not apply to them."
)


def find_duplicates(artefacts: Artefacts) -> dict[str, Any]:
    """List pairs by their rows, across splits first, then with unlike labels; and count them."""
    result, table = (artefacts.later.get(f) for f in ("groups.json", "duplicates.parquet"))
    if result is None:
        return {"hint": PAIRED if artefacts.is_paired else GROUPS.hint(DUPLICATES)}
    if table is None or "duplicates" not in result:
        return {"hint": AGAIN}
    counts = result["duplicates"]
    row_of = pd.Series(artefacts.scores.index, index=artefacts.scores["id"].astype(str))
    # Pairs may name items of other splits that the scores leave out.
    known = table["id_a"].astype(str).isin(row_of.index) & table["id_b"].astype(str).isin(
        row_of.index
    )
    shown = table[known].head(SHOWN)
    return {
        "hint": None,
        "threshold": plain(result["duplicate_threshold"]),
        "reading": _reading(counts, result["duplicate_threshold"]),
        "n_pairs": int(counts["n_pairs"]),
        "n_leaking": int(counts["n_leaking"]),
        "n_labels_differ": int(counts["n_labels_differ"]),
        "pairs": [
            {
                "a": int(row_of[str(pair["id_a"])]),
                "b": int(row_of[str(pair["id_b"])]),
                "similarity": plain(pair["similarity"]),
                "leaks": bool(pair["leaks"]),
                "labels_differ": bool(pair["labels_differ"]),
            }
            for pair in shown.to_dict("records")
        ],
    }


def _reading(counts: dict[str, Any], threshold: float) -> str:
    n = counts["n_pairs"]
    if not n:
        return f"No two items are nearly the same (cosine {threshold:.4g} or more)."
    text = f"{count(n)} pair{'s' if n > 1 else ''} of items are nearly the same"
    if n == 1:
        text = "1 pair of items is nearly the same"
    text += f" (cosine {threshold:.4g} or more)"
    leaking, differ = counts["n_leaking"], counts["n_labels_differ"]
    if leaking:
        text += (
            f"; {count(leaking)} of them lie{'s' if leaking == 1 else ''} across splits, so that "
            "what is measured on one has been seen in the other"
        )
    else:
        text += ", none of them across splits"
    if differ:
        text += f"; {count(differ)} have different gold labels, of which one is likely wrong"
    return f"{text}."
