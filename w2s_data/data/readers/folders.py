"""Read a folder of images."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from w2s_data.data.readers.formats import IMAGE_SUFFIXES, format_of
from w2s_data.data.readers.table import RawTable
from w2s_data.data.splits import SPLIT_ALIASES, SPLITS
from w2s_data.errors import FileFormatError, listing


def read_image_folder(folder: Path) -> RawTable:
    """List the images of a folder, with the name of the first subfolder, if any, as label."""
    # Sorted, since the order of a file system differs between machines.
    paths = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not paths:
        tables = sorted(path.name for path in folder.iterdir() if format_of(path))
        hint = f"; to read a table give its path, e.g. {tables[0]!r}" if tables else ""
        raise FileFormatError(f"folder {str(folder)!r} holds no images{hint}")
    labels = [path.parts[0] if len(path.parts) > 1 else None for path in paths]
    frame = pd.DataFrame(
        {
            "id": [path.as_posix() for path in paths],
            "image": [str(folder / path) for path in paths],
            "label": pd.Series(labels, dtype=object),
        }
    )
    classes = {label for label in labels if label is not None}
    notes = []
    if classes and all(name.lower() in {*SPLITS, *SPLIT_ALIASES} for name in classes):
        notes.append(
            f"the class folders are named {listing(sorted(classes))}; if these are splits, give a "
            "table with a path, a label and a split column instead"
        )
    roles = {"id": "id", "item": "image", "label": "label"}
    return RawTable(frame, name=folder.resolve().name, roles=roles, notes=tuple(notes))
