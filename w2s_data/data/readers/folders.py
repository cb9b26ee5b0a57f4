"""Read a folder or a pattern of files: one table in several files, splits, or images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.files import SHARD, joined, part_note, read_parts, read_table
from w2s_data.data.readers.formats import IMAGE_SUFFIXES, format_of, stem_of
from w2s_data.data.readers.parts import join_splits
from w2s_data.data.readers.saved import is_saved, read_saved
from w2s_data.data.readers.table import RawTable
from w2s_data.data.splits import SPLIT_ALIASES, SPLITS, read_split
from w2s_data.errors import FileFormatError, listing
from w2s_data.utils.text import natural_key

# Facts about a data set that the hub keeps beside its tables.
_DESCRIPTIONS = {"dataset_infos.json", "dataset_info.json", "croissant.json", "package.json"}
_KNOWN_SPLITS = {*SPLITS, *SPLIT_ALIASES}


def read_path(path: Path, limit: MemoryLimit, shown: str | None = None) -> RawTable:
    """Read a file, or a folder of tables or images."""
    if path.is_dir():
        return read_folder(path, limit, shown)
    table = read_table(path, limit, shown)
    return replace(table, notes=(*table.notes, *part_note(path)))


def read_folder(folder: Path, limit: MemoryLimit, shown: str | None = None) -> RawTable:
    """Read a folder that holds one table in several files, the splits of one, or images.

    Raise FileFormatError if it holds none of these, or more than one.
    """
    shown = shown or str(folder)
    name = folder.resolve().name
    if is_saved(folder):
        return read_saved(folder, limit, shown)
    files = visible_files(folder)
    tables = [path for path in files if format_of(path) and path.name not in _DESCRIPTIONS]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if tables and images:
        raise FileFormatError(
            f"folder {shown!r} holds {len(images):,} images and tables "
            f"({listing(_relative(tables, folder), 3)}): give the path of the table, or of a "
            "folder of images alone"
        )
    if tables:
        return read_files(tables, folder, limit, name, shown)
    if images:
        return _read_images(images, folder)
    raise FileFormatError(f"folder {shown!r} holds neither tables nor images")


def visible_files(folder: Path) -> list[Path]:
    """Return the files of a folder and its subfolders in natural order, without hidden ones.

    Names that begin with an underscore, such as _SUCCESS, are marks of the program that wrote. A
    link that leads nowhere is a file too, so that reading it says what is missing.
    """
    found = (path for path in folder.rglob("*") if path.is_file() or _is_broken(path))
    kept = (path for path in found if not _is_hidden(path.relative_to(folder)))
    return natural_order(kept)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths by the numbers in them: part-2 comes before part-10."""
    return sorted(paths, key=lambda path: natural_key(path.as_posix()))


def _is_broken(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def read_files(
    paths: Sequence[Path], root: Path, limit: MemoryLimit, name: str, shown: str
) -> RawTable:
    """Read files of one format below `root` as one table; raise FileFormatError if they differ."""
    names = _relative(paths, root)
    formats = sorted({str(format_of(path)) for path in paths})
    if len(formats) > 1:
        raise FileFormatError(
            f"{shown!r} holds files of several formats ({listing(formats)}): give the path of "
            f"one, or a pattern such as '*{formats[0]}'"
        )
    stems = [path.with_name(stem_of(path)) for path in paths]
    twice = sorted({stem.name for stem in stems if stems.count(stem) > 1})
    if twice:
        raise FileFormatError(f"{shown!r} holds {listing(twice, 3)} twice, packed and unpacked")
    tables, notes = read_parts(paths, [f"{shown.rstrip('/')}/{part}" for part in names], limit)
    below = [path.relative_to(root) for path in paths]
    tables = [_with_partitions(t, path) for t, path in zip(tables, below, strict=True)]
    splits = [_split_of(path) for path in below]
    if any(splits):  # test_1 and test_2 alone are parts of one table
        splits = [_split_of(path, tests=True) for path in below]
    if len(paths) > 1 and all(splits):
        frames = {
            split: joined([t for t, s in zip(tables, splits, strict=True) if s == split])
            for split in dict.fromkeys(map(str, splits))
        }
        return join_splits(frames, name, tables[0].class_names, notes)
    if any(splits) and not all(splits):
        odd = [part for part, split in zip(names, splits, strict=True) if not split]
        raise FileFormatError(
            f"some files of {shown!r} are named after splits, and {listing(odd, 3)} not: give a "
            "pattern that matches files of one kind"
        )
    counts = f"{len(paths)} files ({listing(names, 3)})"
    parents = {path.parent for path in paths}
    return RawTable(
        joined(tables),
        name=name,
        class_names=tables[0].class_names,
        folder=parents.pop() if len(parents) == 1 else root,
        notes=(*notes, f"read from {counts}") if len(paths) > 1 else notes,
    )


def _relative(paths: Sequence[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def _with_partitions(table: RawTable, path: Path) -> RawTable:
    """Add the columns that folders such as source=web state."""
    columns = dict(part.split("=", 1) for part in path.parts[:-1] if "=" in part)
    new = {key: value for key, value in columns.items() if key not in table.frame.columns}
    return replace(table, frame=table.frame.assign(**new)) if new else table


def _split_of(path: Path, tests: bool = False) -> str | None:
    """Return the split that a file is named after, itself or by its folder.

    With `tests`, names of further test splits count as well.
    """
    stem = SHARD.sub("", stem_of(Path(path.name)))
    names = (stem, *reversed(path.parts[:-1]))
    known = (n for n in names if n.lower() in _KNOWN_SPLITS or (tests and read_split(n)))
    return next(known, None)


def _read_images(paths: Sequence[Path], folder: Path) -> RawTable:
    """List images, with the name of the first subfolder, if any, as label."""
    # Sorted by name alone, as the ids are, since the order decides the splits.
    relative = sorted(path.relative_to(folder) for path in paths)
    labels = [path.parts[0] if len(path.parts) > 1 else None for path in relative]
    frame = pd.DataFrame(
        {
            "id": [path.as_posix() for path in relative],
            "image": [str(folder / path) for path in relative],
            "label": pd.Series(labels, dtype=object),
        }
    )
    classes = {label for label in labels if label is not None}
    notes = []
    if classes and all(name.lower() in _KNOWN_SPLITS for name in classes):
        notes.append(
            f"the class folders are named {listing(sorted(classes))}; if these are splits, give a "
            "table with a path, a label and a split column instead"
        )
    roles = {"id": "id", "item": "image", "label": "label"}
    return RawTable(frame, name=folder.resolve().name, roles=roles, notes=tuple(notes))
