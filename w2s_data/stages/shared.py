"""Features of the shared part of pairs: those of their prompts, or the mean of both items.

The difference, by which pairs are scored, holds nothing of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.prompts import embedded_prompts
from w2s_data.errors import NotApplicableError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.features.store import FeatureStore
from w2s_data.run import Run
from w2s_data.stages.embedding import ROLES, Role, load_features, manifest_of
from w2s_data.stages.graph import EMBED


def group_features(run: Run, compute: Compute) -> dict[Role, FeatureMatrix]:
    """Return the features by which rows are grouped: of pairs, those of what both items share.

    Raise NotApplicableError for pairs of which only the differences are known.
    """
    features, dataset = load_features(run, compute), run.dataset()
    if not dataset.is_paired:
        return features
    recorded = run.manifest["stages"][EMBED.name]["settings"]
    check_shared(dataset, "file" in recorded.get("strong", {}))
    return {
        role: FeatureView(
            _shared(dataset, FeatureStore.open(run.file(manifest_of(role)).parent)),
            name=f"{role} features",
            limit=compute.memory,
        )
        for role in ROLES
        if role in recorded and "file" not in recorded[role]
    }


def check_shared(dataset: W2SDataset, from_file: bool = False) -> None:
    """Raise for pairs of vectors, and of features from a file, which are differences."""
    if dataset.is_paired and (dataset.kind == "features" or from_file):
        raise NotApplicableError(
            "groups of pairs are found by what their two items share, and these features are "
            "differences, which hold nothing of it: pass texts as chosen and rejected, and an "
            "encoder as strong"
        )


def forget_orders(record: dict[str, Any]) -> None:
    """Make the numbers of a group unknown that compare the orders of its pairs, which are drawn."""
    for name in ("purity", "largest_class_share"):
        record[name] = record[name] | dict.fromkeys(("value", "low", "high"))
    record |= {"largest_class": None, "class_balance": None}
    reasons = [record["unknown"], "shares of classes and purity: the order of a pair is drawn"]
    record["unknown"] = "; ".join(filter(None, reasons))


def shared_notes(dataset: W2SDataset) -> list[str]:
    """Say by what pairs are grouped and compared."""
    if not dataset.is_paired:
        return []
    if embedded_prompts(dataset.table) is not None:
        return ["pairs are grouped by their prompts: near-duplicates are pairs of like prompts"]
    return ["pairs are grouped by the mean of their two items, since not all of them have a prompt"]


def _shared(dataset: W2SDataset, store: FeatureStore) -> FeatureMatrix:
    prompts = embedded_prompts(dataset.table)
    if prompts is not None:
        return store.select(prompts)
    first, second = dataset.pairs
    halves = np.full(len(dataset), 0.5, dtype=np.float32)
    return FeatureView(store.select(first), plus=store.select(second), signs=halves)
