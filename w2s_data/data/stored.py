"""A data set as the files of a run directory."""

from __future__ import annotations

from typing import Any

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.weak import proba_of, values_of
from w2s_data.utils.files import RunFiles
from w2s_data.utils.io import jsonable, load_npy
from w2s_data.utils.manifest import owner
from w2s_data.utils.stage import ITEMS, ITEMS_TABLE, VECTORS, WEAK_PROBA, WEAK_VALUES


def describe_dataset(dataset: W2SDataset, source: str | None) -> dict[str, Any]:
    """Describe a data set for the manifest of its run."""
    return {
        "name": dataset.name,
        "source": source if source is not None else dataset.name,
        "kind": dataset.kind,
        "fingerprint": dataset.fingerprint,
        "n_items": len(dataset),
        "task": dataset.task,
        "class_names": dataset.class_names,
        "weak_names": dataset.weak_names,
        "notes": dataset.notes,
        "columns": jsonable(dataset.columns),
    }


def read_stored(files: RunFiles) -> W2SDataset:
    """Return the data set of a run as it was stored; feature vectors stay on disk until read.

    Raise InputError if the files do not fit the manifest.
    """
    data = files.manifest["data"]
    names, weak_names = tuple(data["class_names"]), tuple(data["weak_names"])
    is_given = owner(files.manifest, WEAK_PROBA) == ITEMS.name
    proba = proba_of(files.read_table(WEAK_PROBA), names) if is_given else None
    if proba is not None and not weak_names:  # one unnamed weak model
        proba = proba[:, 0]
    values, errors = None, None
    if owner(files.manifest, WEAK_VALUES) == ITEMS.name:
        values, errors, _ = values_of(files.read_table(WEAK_VALUES))
    return W2SDataset(
        table=files.read_table(ITEMS_TABLE, per_item=True),
        kind=data["kind"],
        class_names=names,
        weak_proba=proba,
        features=load_npy(files.file(VECTORS)) if data["kind"] == "features" else None,
        weak_names=weak_names,
        name=data["name"],
        notes=tuple(data["notes"]),
        columns=data.get("columns", {}),
        task=data.get("task", "classification"),
        weak_values=values,
        weak_errors=errors,
    )
