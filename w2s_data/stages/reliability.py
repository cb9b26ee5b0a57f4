"""The reliability of several teachers of a run: `reliability.json`."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.data.dataset import W2SDataset
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.posterior import ItemPosterior
from w2s_data.stages.weak_labels import WeakLabels
from w2s_data.teachers.reliability import assess_teachers


def summarize_reliability(
    dataset: W2SDataset, weak: WeakLabels, posterior: ItemPosterior, seed: int
) -> dict[str, Any] | None:
    """Return the content of `reliability.json`; None for a single teacher, which has no peers.

    Weak labels are cross-fitted on gold rows that a teacher learned from. Gold rows are
    those of the labelled split, each item once.
    """
    weak_proba = weak.proba
    if weak_proba.ndim == 2 or weak_proba.shape[1] < 2:
        return None
    labels = np.full(len(dataset), -1)
    gold = gold_rows(dataset).rows
    labels[gold] = dataset.labels[gold]
    numbered = tuple(f"teacher {m}" for m in range(weak_proba.shape[1]))  # as the posterior does
    found = assess_teachers(
        *(weak_proba, labels),
        names=weak.names or numbered,
        class_names=dataset.class_names,
        pool=dataset.rows("pool"),
        sources=dataset.sources,
        groups=dataset.groups,
        coefficients=posterior.summary.get("weights"),
        symmetric=dataset.is_paired,
        random_state=seed,
    )
    return found.to_dict()
