"""Tables written in every format that the readers know."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


def write_table(frame: pd.DataFrame, path: Path, encoding: str = "utf-8") -> Path:
    """Write a frame by the suffixes of a path; the encoding is that of texts."""
    packing = path.suffix if path.suffix in PACKERS else ""
    kind = Path(path.name.removesuffix(packing)).suffix
    plain = path.with_name("plain") if packing else path
    if kind in (".csv", ".tsv"):
        frame.to_csv(plain, index=False, sep="," if kind == ".csv" else "\t", encoding=encoding)
    elif kind in (".jsonl", ".ndjson", ".json"):
        text = frame.to_json(orient="records", lines=kind != ".json", force_ascii=False)
        plain.write_bytes(text.encode(encoding))
    elif kind == ".parquet":
        frame.to_parquet(plain)
    elif kind == ".ipc":
        table = pa.Table.from_pandas(frame)
        with pa.OSFile(str(plain), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    else:
        frame.to_feather(plain)
    if packing:
        path.write_bytes(PACKERS[packing](plain.read_bytes()))
        plain.unlink()
    return path


@pytest.fixture
def write():
    return write_table
