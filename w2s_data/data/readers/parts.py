"""Join the splits that a data set came with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from w2s_data.data.readers.table import RawTable, join_frames
from w2s_data.data.splits import read_split
from w2s_data.errors import FileFormatError, listing
from w2s_data.utils.typing import AnyArray


def join_splits(
    frames: Mapping[str, pd.DataFrame],
    name: str,
    class_names: Mapping[str, tuple[str, ...]],
    notes: tuple[str, ...] = (),
) -> RawTable:
    """Join the frames of splits; rows of the training split are to be assigned again.

    The others stay in their splits where they have labels. Ids, unless a column holds them, are
    the split and the number of the row in it; the column `split` names the split.
    """
    columns = {split: set(frame.columns) for split, frame in frames.items()}
    first, *others = columns
    for split in others:
        if differing := columns[first] ^ columns[split]:
            raise FileFormatError(
                f"splits {first!r} and {split!r} of {name!r} differ in their columns "
                f"({listing(sorted(map(str, differing)))}); give one of them"
            )
    sizes = {split: len(frame) for split, frame in frames.items()}
    origin = np.repeat(np.array(list(sizes), dtype=object), list(sizes.values()))
    frame = join_frames(list(frames.values()))
    # With several ClassLabel columns the label is ambiguous, and the caller names it.
    roles = {"label": next(iter(class_names))} if len(class_names) == 1 else {}
    if "id" not in frame.columns:  # row numbers alone would repeat between the splits
        numbers = np.concatenate([np.arange(size) for size in sizes.values()])
        frame["id"] = [f"{split}-{n}" for split, n in zip(origin, numbers, strict=True)]
        roles["id"] = "id"
    if "split" not in frame.columns:
        frame["split"] = origin
    counts = ", ".join(f"{split} {size}" for split, size in sizes.items())
    return RawTable(
        frame,
        name=name,
        roles=roles,
        class_names=class_names,
        fixed_splits=_kept(origin),
        notes=(*notes, f"splits of the data set: {counts}"),
    )


def _kept(origin: AnyArray) -> AnyArray:
    """Return the split of each row that stays in it; None for rows of a training split."""
    kept = {}
    for split in set(origin):
        # A training split is the source of all others; the rest are named for their purpose.
        kept[split] = None if split.lower() == "train" else read_split(split)
    return np.array([kept[split] for split in origin], dtype=object)
