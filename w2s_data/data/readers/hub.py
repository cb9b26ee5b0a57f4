"""Read data sets of the Hugging Face hub."""

from __future__ import annotations

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.content import table_bytes, too_large
from w2s_data.data.readers.parts import join_splits
from w2s_data.data.readers.table import RawTable, frame_of
from w2s_data.errors import FileFormatError, first_line, require


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
    # As Arrow, so that images stay encoded bytes and labels stay codes.
    tables = {split: part.with_format("arrow")[:] for split, part in loaded.items()}
    n_bytes = sum(table.nbytes for table in tables.values())
    if n_bytes > table_bytes(limit):
        raise FileFormatError(f"cannot read {name!r}: {too_large(limit)}")
    features = next(iter(loaded.values())).features
    class_names = {
        column: tuple(feature.names)
        for column, feature in features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    frames = {split: frame_of(table) for split, table in tables.items()}
    return join_splits(frames, name, class_names)
