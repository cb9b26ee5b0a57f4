"""Gold rows of the labelled split: which are of equal items, and which contradict each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import listing
from w2s_data.utils.typing import BoolArray, IntArray


@dataclass(frozen=True)
class GoldRows:
    """Gold rows of a data set, each item once, and the other rows of these items."""

    rows: IntArray  # ascending
    repeats: IntArray  # further rows of these items with the same label
    contradicting: IntArray  # of items with several classes, none of which can be trusted
    units: IntArray  # (N,), equal for equal labelled items; -1 elsewhere
    turned: BoolArray  # (N,), pairs of labelled items in the other order

    @property
    def consistent(self) -> IntArray:
        """All rows but the contradicting ones, ascending."""
        return np.union1d(self.rows, self.repeats)

    def labels(self, dataset: W2SDataset) -> IntArray:
        """Return the class codes (N,) of all rows, -1 for contradicting ones as for unknown."""
        codes = dataset.labels.copy()
        codes[self.contradicting] = -1
        return codes

    def notes(self, dataset: W2SDataset, learner: str) -> list[str]:
        """Say which rows a learner leaves out, if any."""
        wrong = self.contradicting
        if not len(wrong):
            return []
        return [
            f"{len(wrong):,} gold rows contradict equal items (ids "
            f"{listing(dataset.ids[wrong], limit=4)}): {learner} leaves them out"
        ]


def gold_rows(dataset: W2SDataset) -> GoldRows:
    """Return the rows of the labelled split that have a gold label, by what equal items say."""
    units, turned = np.full(len(dataset), -1), np.zeros(len(dataset), dtype=bool)
    rows = dataset.rows("labelled")
    rows = rows[dataset.is_labelled[rows]]
    if not len(rows):
        return GoldRows(rows, rows, rows, units, turned)
    labelled = dataset.subset(rows)
    units[rows], turned[rows] = labelled.units, labelled.turned
    if dataset.is_regression:  # equal items may have different values, each with its noise
        repeated = pd.Series(units[rows]).duplicated().to_numpy()
        return GoldRows(rows[~repeated], rows[repeated], rows[:0], units, turned)
    labels = dataset.labels[rows]
    # The same preference has the other label where the pair is in the other order.
    labels = np.where(turned[rows], 1 - labels, labels)
    by_item = pd.Series(labels).groupby(units[rows])
    contradicts = (by_item.transform("nunique") > 1).to_numpy()
    # A second row of an item would show its held-out label to the models of the views.
    repeats = ~contradicts & (by_item.cumcount() > 0).to_numpy()
    return GoldRows(rows[~contradicts & ~repeats], rows[repeats], rows[contradicts], units, turned)
