"""Read tables from files, image folders, URLs and the Hugging Face hub."""

from __future__ import annotations

import csv
import difflib
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from w2s_data.data.splits import SPLIT_ALIASES, SPLITS
from w2s_data.errors import FileFormatError, InputError, first_line, listing, require
from w2s_data.utils.storage import is_url, local_copies
from w2s_data.utils.typing import AnyArray

# The first five may be gzipped; the others hold compressed data themselves.
_FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".arrow", ".feather", ".ipc")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)
_JSON_ROWS_A_CHUNK = 50_000  # data frames are several times smaller than lists of dicts
# Errors of damaged files in all formats; ValueError covers pandas' and Arrow's parser errors.
_READ_ERRORS = (ValueError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


@dataclass(frozen=True)
class RawTable:
    """A table as it was read, with the facts that its format states about the columns."""

    frame: pd.DataFrame
    name: str = "data"
    roles: Mapping[str, str] = field(default_factory=dict)  # e.g. the class folder is the label
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # behind class codes
    folder: Path | None = None  # of relative item paths
    fixed_splits: AnyArray | None = None  # that came with the data; None where a row has none
    notes: tuple[str, ...] = ()


def read_raw(data: str | Path | pd.DataFrame) -> RawTable:
    """Read a table file or URL, a folder of images, a DataFrame or, failing these, a hub data set.

    Raise FileFormatError if nothing of that name exists, or the file is not what its name promises.
    """
    if isinstance(data, pd.DataFrame):
        return RawTable(data.reset_index(drop=True))
    if not isinstance(data, str | Path):
        raise InputError(
            f"data must be a path, a name or a pandas DataFrame; got {type(data).__name__}"
        )
    if is_url(data):
        return read_url(str(data))
    path = Path(data).expanduser()
    if path.is_dir():
        return read_image_folder(path)
    if path.exists():
        return read_table(path)
    name = str(data)
    # A name with the suffix of a table is a path; the hub has NAME or OWNER/NAME, with :CONFIG.
    is_file_name = isinstance(data, Path) or format_of(path) is not None
    if is_file_name or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", name):
        raise FileFormatError(_no_such_file(path))
    return read_hub(name)


def read_url(url: str) -> RawTable:
    """Read a table file at a URL, or all Parquet files of a folder there, by name.

    Image paths in the files are paths of this machine.
    """
    # Copied to the disk, from which Arrow maps them into memory.
    with local_copies(url, ".parquet") as copies:
        tables = [read_table(copy, shown=url) for copy in copies]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    name = tables[0].name if len(tables) == 1 else url.rstrip("/").rpartition("/")[2]
    return RawTable(frame, name=name, class_names=tables[0].class_names)


def read_table(path: Path, shown: str | None = None) -> RawTable:
    """Read CSV, TSV, JSON lines (these may be gzipped), Parquet or Arrow by the file's suffix."""
    kind = format_of(path)
    shown = shown or str(path)
    if kind is None:
        raise FileFormatError(
            f"cannot tell the format of {shown!r} from its suffix; valid: {listing(_FORMATS)} "
            "(the first five also with .gz)"
        )
    class_names: dict[str, tuple[str, ...]] = {}
    try:
        if kind in (".csv", ".tsv"):
            # Cells stay strings, so that the class "01" and the text "null" survive.
            frame = pd.read_csv(
                path,
                sep=_separator(path) if kind == ".csv" else "\t",
                dtype=str,
                keep_default_na=False,
                na_values=[""],
            )
        elif kind in (".jsonl", ".json", ".ndjson"):
            frame = _read_json(path)
        else:
            table = pyarrow.parquet.read_table(path) if kind == ".parquet" else _read_arrow(path)
            class_names = _class_names_in(table.schema)
            frame = table.to_pandas().reset_index(drop=True)
    except _READ_ERRORS as error:
        raise FileFormatError(
            f"cannot read {shown!r} as {kind.lstrip('.')}: {_reason(error)}"
        ) from error
    name = path.name.removesuffix(".gz").removesuffix(kind)
    return RawTable(frame, name=name, class_names=class_names, folder=path.parent)


def format_of(path: Path) -> str | None:
    """Return the suffix of a table file, without .gz; None for any other name."""
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    suffix = Path(plain).suffix
    if suffix not in _FORMATS or (name != plain and _FORMATS.index(suffix) > 4):
        return None
    return suffix


def _separator(path: Path) -> str:
    # Spreadsheets separate by semicolons in countries with decimal commas.
    with _binary(path) as file:
        header = file.readline()
    return ";" if b";" in header and b"," not in header else ","


def _binary(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8; save it in that encoding"
    if isinstance(error, pd.errors.EmptyDataError):
        return "it is empty"
    return first_line(str(error).rpartition("C error: ")[2] or "it ends early")


def _no_such_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"file {str(path)!r} not found: folder {str(path.parent)!r} does not exist"
    tables = sorted(p.name for p in path.parent.iterdir() if p.is_file() and format_of(p))
    close = difflib.get_close_matches(path.name, tables, n=1, cutoff=0.5)
    return f"file {str(path)!r} not found" + (f"; did you mean {close[0]!r}?" if close else "")


def _read_json(path: Path) -> pd.DataFrame:
    """Read JSON lines in chunks; a file that starts with a bracket is one JSON array."""
    with _binary(path) as file:
        if file.read(64).lstrip().startswith(b"["):
            file.seek(0)
            return pd.DataFrame(json.load(file))
        file.seek(0)
        chunks = list(_json_chunks(file))
    return pd.concat(chunks, ignore_index=True) if chunks else pd.DataFrame()


def _json_chunks(file: Any) -> Iterator[pd.DataFrame]:
    records: list[Mapping[str, Any]] = []
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not whole JSON ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is not a JSON object")
        records.append(record)
        if len(records) == _JSON_ROWS_A_CHUNK:
            yield pd.DataFrame.from_records(records)
            records = []
    if records:
        yield pd.DataFrame.from_records(records)


def _read_arrow(path: Path) -> pa.Table:
    """Read an Arrow IPC file (Feather), or a stream, which lacks its first bytes."""
    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        return reader.read_all()


def _class_names_in(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names that the `datasets` library stores in a file's metadata."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return {}
    features = json.loads(stored).get("info", {}).get("features") or {}
    return {
        column: tuple(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }


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
