"""Read data sets of the Hugging Face hub."""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.data.readers.table import RawTable
from w2s_data.data.splits import SPLIT_ALIASES
from w2s_data.errors import FileFormatError, require
from w2s_data.utils.typing import AnyArray


def read_hub(name: str) -> RawTable:
    """Read every split of a Hugging Face data set, `OWNER/NAME` or `OWNER/NAME:CONFIG`.

    The hub's test and validation rows stay in those splits if they have labels; all other rows are
    assigned again. Ids are the hub's split and the row's number in it.
    """
    datasets = require("datasets", "hub")
    repository, _, config = name.partition(":")
    try:
        loaded = datasets.load_dataset(repository, config or None)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileFormatError(
            f"there is no file or folder {name!r}, and the hub has no data set of that name: "
            f"{reason}"
        ) from error
    features = next(iter(loaded.values())).features
    class_names = {
        column: tuple(feature.names)
        for column, feature in features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    # As Arrow, so that images stay encoded bytes and labels stay codes.
    frames = [part.with_format("arrow")[:].to_pandas() for part in loaded.values()]
    origin = np.repeat(np.array(list(loaded), dtype=object), [len(frame) for frame in frames])
    frame = pd.concat(frames, ignore_index=True)
    # With several ClassLabel columns the label is ambiguous, and the caller names it.
    roles = {"label": next(iter(class_names))} if len(class_names) == 1 else {}
    if "id" not in frame.columns:  # row numbers alone would repeat between the splits
        numbers = np.concatenate([np.arange(len(part)) for part in frames])
        frame["id"] = [f"{split}-{n}" for split, n in zip(origin, numbers, strict=True)]
        roles["id"] = "id"
    counts = ", ".join(f"{split} {len(part)}" for split, part in zip(loaded, frames, strict=True))
    return RawTable(
        frame,
        name=name,
        roles=roles,
        class_names=class_names,
        fixed_splits=_kept_splits(origin),
        notes=(f"splits on the hub: {counts}",),
    )


def _kept_splits(origin: AnyArray) -> AnyArray:
    """Return the split of test and validation rows; None for the others."""
    names = {split: SPLIT_ALIASES.get(split, split) for split in set(origin)}
    kept = {s: n if n in ("validation", "test") else None for s, n in names.items()}
    return np.array([kept[split] for split in origin], dtype=object)
