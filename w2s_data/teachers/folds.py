"""Folds of the gold rows that all teachers share whose trainings are too dear to repeat."""

from __future__ import annotations

import numpy as np

from w2s_data.data.dataset import W2SDataset
from w2s_data.probes.linear import stratified_folds
from w2s_data.utils.typing import IntArray

FOLDS = 5
MODELS = "finetuned-"  # begins the names of the folders in which such teachers keep theirs
_STREAM = 11  # of random numbers, apart from those of other steps with the same seed


def gold_folds(dataset: W2SDataset, seed: int) -> IntArray:
    """Return the fold (N,) of each row that equals a gold row of the labelled split; -1 elsewhere.

    Equal items are in the same fold, and classes are divided evenly.
    """
    labels, units = dataset.labels, dataset.units
    gold = dataset.rows("labelled")
    gold = gold[labels[gold] >= 0]
    distinct, first = np.unique(units[gold], return_index=True)
    of_unit = dict.fromkeys(distinct.tolist(), 0)
    parts = stratified_folds(labels[gold[first]], FOLDS, np.random.default_rng([seed, _STREAM]))
    for number, (_, held_out) in enumerate(parts):
        of_unit.update(dict.fromkeys(distinct[held_out].tolist(), number))
    return np.array([of_unit.get(unit, -1) for unit in units.tolist()], dtype=np.int64)
