"""Tables from files, image folders and the Hugging Face hub, before their columns have roles."""

from __future__ import annotations

import csv
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
from w2s_data.errors import FileFormatError, InputError, first_line, listing, require, unknown
from w2s_data.utils.storage import is_url, local_copies
from w2s_data.utils.typing import AnyArray

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)
_JSON_ROWS_A_CHUNK = 50_000
# What a damaged file raises, by format; ValueError covers pandas' and Arrow's parser errors.
_READ_ERRORS = (ValueError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


@dataclass(frozen=True)
class RawTable:
    """A table as it was read, with what its format already says about the columns.

    Attributes
    ----------
    roles : mapping from role to column
        Roles that the format settles, e.g. the class folder of an image is its label.
    class_names : mapping from column to names
        Names behind columns of class codes (the hub's `ClassLabel`).
    folder : Path or None
        Where relative item paths start.
    fixed_splits : object array (N,) or None
        Splits that came with the data; None where a row is to be dealt.
    """

    frame: pd.DataFrame
    name: str = "data"
    roles: Mapping[str, str] = field(default_factory=dict)
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folder: Path | None = None
    fixed_splits: AnyArray | None = None
    notes: tuple[str, ...] = ()


def read_raw(data: str | Path | pd.DataFrame) -> RawTable:
    """Read a table file or URL, a folder of images, a DataFrame or, failing these, a hub data set.

    Raises
    ------
    FileFormatError
        If nothing of that name exists, or the file is not what its name promises.
    MissingExtraError
        If the name can only be a hub data set and `datasets` is not installed.
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
    is_file_name = isinstance(data, Path) or format_of(path) is not None
    if is_file_name or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+)?", name):
        raise FileFormatError(_no_such_file(path))
    return read_hub(name)


def read_url(url: str) -> RawTable:
    """Read a table file at a URL, or all Parquet files of a folder there, by name.

    The files are fetched one after the other; image paths in them are of this machine.

    Raises
    ------
    MissingExtraError
        If fsspec needs a package for such URLs (s3fs, gcsfs ...).
    FileFormatError
        If there is no such file, or it is not what its name promises.
    """
    with local_copies(url, ".parquet") as copies:
        tables = [read_table(copy, shown=url) for copy in copies]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    name = tables[0].name if len(tables) == 1 else url.rstrip("/").rpartition("/")[2]
    return RawTable(frame, name=name, class_names=tables[0].class_names)


def read_table(path: Path, shown: str | None = None) -> RawTable:
    """Read CSV, TSV, JSON lines (these may be gzipped), Parquet or Arrow by the file's suffix.

    Cells of CSV and TSV stay strings, so that class names such as "01" and texts such as "null"
    survive; an empty cell is a missing value. A CSV file whose header has semicolons and no comma
    is separated by semicolons, as spreadsheets write it in many countries.
    """
    kind = format_of(path)
    shown = shown or str(path)
    if kind is None:
        raise FileFormatError(
            f"cannot tell the format of {shown!r} from its suffix; valid: {listing(_FORMATS)} "
            "(the first four also with .gz)"
        )
    class_names: dict[str, tuple[str, ...]] = {}
    try:
        if kind in (".csv", ".tsv"):
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


_FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".arrow", ".feather", ".ipc")


def format_of(path: Path) -> str | None:
    """The suffix by which a file is read, of a table that may be packed; None of any other name."""
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    suffix = Path(plain).suffix
    if suffix not in _FORMATS or (name != plain and _FORMATS.index(suffix) > 4):
        return None
    return suffix


def _separator(path: Path) -> str:
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
        return f"there is no file {str(path)!r}: folder {str(path.parent)!r} does not exist"
    return f"in {str(path.parent)!r} " + unknown(
        "file", path.name, sorted(p.name for p in path.parent.iterdir())
    )


def _read_json(path: Path) -> pd.DataFrame:
    """JSON lines, read in chunks; a file that starts with a bracket is one JSON array."""
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
    """An Arrow IPC file (Feather) or, where its opening magic is missing, a stream."""
    with pa.memory_map(str(path)) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        return reader.read_all()


def _class_names_in(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Class names that the `datasets` library left in a file's metadata."""
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
    """List the images of a folder: id and path, and the first subfolder's name as label.

    Deeper subfolders are searched too and count to the first one. Images beside the class folders
    have no label.
    """
    found = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not found:
        tables = sorted(path.name for path in folder.iterdir() if format_of(path))
        hint = f"; to read a table give its path, e.g. {tables[0]!r}" if tables else ""
        raise FileFormatError(f"folder {str(folder)!r} holds no images{hint}")
    labels = [path.parts[0] if len(path.parts) > 1 else None for path in found]
    frame = pd.DataFrame(
        {
            "id": [path.as_posix() for path in found],
            "image": [str(folder / path) for path in found],
            "label": pd.Series(labels, dtype=object),
        }
    )
    classes = {label for label in labels if label is not None}
    notes = []
    if classes and all(name.lower() in {*SPLITS, *SPLIT_ALIASES} for name in classes):
        notes.append(
            f"the class folders are named {listing(sorted(classes))}: if these are splits, give a "
            "table with a path, a label and a split column instead"
        )
    roles = {"id": "id", "item": "image", "label": "label"}
    return RawTable(frame, name=folder.resolve().name, roles=roles, notes=tuple(notes))


def read_hub(name: str) -> RawTable:
    """Read every split of a Hugging Face data set, `OWNER/NAME` or `OWNER/NAME:CONFIG`.

    The hub's test and validation rows stay in those splits if they have labels; all other rows are
    dealt anew. Ids are the hub's split and the row's number in it.
    """
    datasets = require("datasets", "hub")
    repository, _, config = name.partition(":")
    try:
        loaded = datasets.load_dataset(repository, config or None)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FileFormatError(
            f"there is no file or folder {name!r}, and the hub cannot give a data set of that "
            f"name: {reason}"
        ) from error
    features = next(iter(loaded.values())).features
    class_names = {
        column: tuple(feature.names)
        for column, feature in features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    frames = [part.with_format("arrow")[:].to_pandas() for part in loaded.values()]
    origin = np.repeat(np.array(list(loaded), dtype=object), [len(frame) for frame in frames])
    frame = pd.concat(frames, ignore_index=True)
    roles = {"label": next(iter(class_names))} if len(class_names) == 1 else {}
    if "id" not in frame.columns:
        numbers = np.concatenate([np.arange(len(part)) for part in frames])
        frame["id"] = [f"{split}-{n}" for split, n in zip(origin, numbers, strict=True)]
        roles["id"] = "id"
    counts = ", ".join(f"{split} {len(part)}" for split, part in zip(loaded, frames, strict=True))
    return RawTable(
        frame,
        name=name,
        roles=roles,
        class_names=class_names,
        fixed_splits=_settled_on_hub(origin),
        notes=(f"splits on the hub: {counts}",),
    )


def _settled_on_hub(origin: AnyArray) -> AnyArray:
    """Test and validation rows keep their split; the others are None, to be dealt."""
    names = {split: SPLIT_ALIASES.get(split, split) for split in set(origin)}
    kept = {s: n if n in ("validation", "test") else None for s, n in names.items()}
    return np.array([kept[split] for split in origin], dtype=object)
