"""Read a table from one file."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from w2s_data.data.readers.formats import FORMATS, format_of
from w2s_data.data.readers.table import RawTable
from w2s_data.errors import FileFormatError, first_line, listing

_JSON_ROWS_A_CHUNK = 50_000  # data frames are several times smaller than lists of dicts
# Errors of damaged files in all formats; ValueError covers pandas' and Arrow's parser errors.
_READ_ERRORS = (ValueError, OSError, EOFError, zlib.error, csv.Error, pa.ArrowException)


def read_table(path: Path, shown: str | None = None) -> RawTable:
    """Read CSV, TSV, JSON lines (these may be gzipped), Parquet or Arrow by the file's suffix."""
    kind = format_of(path)
    shown = shown or str(path)
    if kind is None:
        raise FileFormatError(
            f"cannot tell the format of {shown!r} from its suffix; valid: {listing(FORMATS)} "
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
