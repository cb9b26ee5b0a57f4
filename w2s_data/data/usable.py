"""Rows that can be used: images that can be decoded, and pairs of two different items."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.images import unreadable_images
from w2s_data.data.prompts import equal_sides
from w2s_data.errors import EmptyDataError, FileFormatError, counted, listing, rows
from w2s_data.utils.typing import IntArray

logger = logging.getLogger("w2s_data")


def decodable_rows(dataset: W2SDataset, unreadable: str) -> IntArray:
    """Return the rows whose image can be decoded; raise for others unless they are skipped."""
    reasons = unreadable_images(dataset.items)
    if reasons and unreadable == "error":
        first = next(iter(reasons))
        raise FileFormatError(
            f"{counted(len(reasons), 'image')} cannot be decoded: "
            f"{listing((_name_of(dataset, row) for row in reasons), 5)} "
            f"({reasons[first]}); repair what cannot be read, or leave it out by "
            "skip_unreadable (load_dataset: unreadable='skip')"
        )
    return np.setdiff1d(np.arange(len(dataset)), np.fromiter(reasons, dtype=np.int64))


def _name_of(dataset: W2SDataset, row: int) -> str:
    """Return the path of an image, its id where it came as bytes."""
    item = dataset.items[row]
    return item if isinstance(item, str) else str(dataset.ids[row])


def ordered_rows(dataset: W2SDataset) -> IntArray:
    """Return the rows that are no pairs of the same item twice, of which neither order is right."""
    if not dataset.is_paired:
        return np.arange(len(dataset))
    return np.flatnonzero(~equal_sides(dataset.table, dataset.features))


def only_rows(dataset: W2SDataset, kept: IntArray) -> W2SDataset:
    """Return the data set of the rows that can be used, with a note on the others."""
    if len(kept) == len(dataset):
        return dataset
    paired = dataset.is_paired
    if len(kept) == 0:
        about = (
            "pairs of {} hold the same item twice" if paired else "images of {} cannot be decoded"
        )
        raise EmptyDataError(f"all {len(dataset)} {about.format(repr(dataset.name))}")
    skipped = np.setdiff1d(np.arange(len(dataset)), kept)
    named = rows(skipped) if paired else listing(dataset.ids[skipped], 5)
    kind, fault = (
        ("pair", "of the same item twice") if paired else ("image", "that cannot be decoded")
    )
    note = f"warning: skipped {counted(len(skipped), kind)} {fault}: {named}"
    logger.warning("%s: %s", dataset.name, note)
    return replace(dataset.subset(kept), notes=(*dataset.notes, note))
