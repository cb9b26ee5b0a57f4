"""Preference pairs in the columns that TRL reads: prompt, chosen and rejected."""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.pairs import SIDES
from w2s_data.data.prompts import pair_items
from w2s_data.errors import NotApplicableError

# Log-odds of a chance of .99: gold labels have chance 1, whose log-odds are infinite.
MOST_MARGIN = float(np.log(99))


def check_preferences(dataset: W2SDataset) -> None:
    """Raise unless the items are pairs of texts."""
    if not dataset.is_paired or dataset.kind != "text":
        raise NotApplicableError(
            "trl is for preference pairs of texts or messages, and these items are others: leave "
            "it out"
        )


def preference_table(relabelled: pd.DataFrame, dataset: W2SDataset) -> pd.DataFrame:
    """Return one row per pair to train on, by the labels of `relabelled.parquet`.

    `prompt`, `chosen` and `rejected` are texts, of which the last two continue the first, or chat
    messages; without any prompt that column is left out. `chance` is the probability that the
    label is right, `weight` as in the table, `margin` the log-odds of the chance, at most those of
    .99, by which TRL's RewardTrainer separates the rewards. Rows without a label are left out.
    """
    table = relabelled[relabelled["label"].notna()].reset_index(drop=True)
    rows = pd.Index(dataset.ids).get_indexer(pd.Index(table["id"]))
    second = (table["label"] == dataset.class_names[1]).to_numpy(dtype=bool)
    pairs = pair_items(dataset.table.iloc[rows])
    is_chat = bool(pairs) and not isinstance(pairs[0].first, str)
    columns: dict[str, list[object]] = {"prompt": [], **{side: [] for side in SIDES}}
    for pair, swapped in zip(pairs, second, strict=True):
        sides = (pair.second, pair.first) if swapped else (pair.first, pair.second)
        start = 0 if is_chat else len(pair.prompt)
        columns["prompt"].append(pair.prompt)
        for side, item in zip(SIDES, sides, strict=True):
            columns[side].append(item[start:])
    if not any(columns["prompt"]):
        del columns["prompt"]
    proba = table[[f"p_{name}" for name in dataset.class_names]].to_numpy()
    chance = proba[np.arange(len(table)), second.astype(int)]
    with np.errstate(divide="ignore"):
        margin = np.clip(np.log(chance) - np.log1p(-chance), 0, MOST_MARGIN)
    others = [name for name in ("source", "group", "split", "why") if name in table]
    return pd.DataFrame(
        {
            "id": table["id"],
            **columns,
            "weight": table["weight"],
            "margin": margin,
            "chance": chance,
            **{name: table[name] for name in others},
        }
    )
