"""Read data sets of the Hugging Face hub, and those that its library has in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.content import table_bytes, too_large
from w2s_data.data.readers.parts import join_splits
from w2s_data.data.readers.table import RawTable, frame_of
from w2s_data.errors import FileFormatError, InputError, first_line, require


def read_hub(name: str, limit: MemoryLimit) -> RawTable:
    """Read every split of a Hugging Face data set, `OWNER/NAME` or `OWNER/NAME:CONFIG`.

    The hub's test and validation rows stay in those splits if they have labels; rows of the
    training split are assigned again.
    """
    datasets = require("datasets", "hub")
    repository, _, config = name.partition(":")
    try:
        loaded = datasets.load_dataset(repository, config or None)
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"there is no file or folder {name!r}, and the hub has no data set of that name: "
            f"{first_line(error)}"
        ) from error
    return read_splits(loaded, name, limit)


def read_splits(loaded: Mapping[str, Any], name: str, limit: MemoryLimit) -> RawTable:
    """Read every split of a data set that the `datasets` library holds."""
    for part in loaded.values():
        _check_whole(part)
    if sum(part.data.nbytes for part in loaded.values()) > table_bytes(limit):
        raise FileFormatError(f"cannot read {name!r}: {too_large(limit)}")
    parts = {split: read_one(part, name, limit) for split, part in loaded.items()}
    class_names = next(iter(parts.values())).class_names
    return join_splits({split: part.frame for split, part in parts.items()}, name, class_names)


def read_one(part: Any, name: str, limit: MemoryLimit) -> RawTable:
    """Read a data set without splits that the `datasets` library holds."""
    _check_whole(part)
    # As Arrow, so that images stay encoded bytes and labels stay codes.
    table = part.with_format("arrow")[:]
    if table.nbytes > table_bytes(limit):
        raise FileFormatError(f"cannot read {name!r}: {too_large(limit)}")
    class_names = {
        column: tuple(feature.names)
        for column, feature in part.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    return RawTable(frame_of(table), name=name, class_names=class_names)


def _check_whole(part: Any) -> None:
    if not hasattr(part, "num_rows"):  # an IterableDataset
        raise InputError(
            "data streams its rows, which cannot be split: load them without streaming=True, or "
            "pass datasets.Dataset.from_list(list(data))"
        )
