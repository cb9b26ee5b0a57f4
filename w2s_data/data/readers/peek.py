"""The columns of a table from its header or schema, before its rows are read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.columnar import open_arrow
from w2s_data.data.readers.content import read_content
from w2s_data.data.readers.delimited import read_names
from w2s_data.data.readers.formats import DELIMITED, JSON, compression_of, format_of
from w2s_data.data.readers.table import index_columns

# A text of fewer bytes is read within a second or two, and finding its header takes a part of that.
LONG = 2**25
# A file that is not what its name says is refused when it is read, by an error that says more.
_ERRORS = (ValueError, OSError, csv.Error, pa.ArrowException)


def peek_columns(data: Any, limit: MemoryLimit) -> list[str] | None:
    """Return all columns that a table file may have; None where only its rows tell.

    That is so of JSON, whose rows may differ, of packed files and of everything but a single file.
    Small CSV and TSV files are not looked at either.
    """
    if not isinstance(data, str | Path) or "\0" in str(data):
        return None
    path = Path(data).expanduser()
    kind = format_of(path)
    if kind is None or kind in JSON or compression_of(path):
        return None
    try:
        if not path.is_file():
            return None
        if kind in DELIMITED:
            if path.stat().st_size < LONG:
                return None
            return read_names(read_content(path, limit), kind)
        if kind == ".parquet":
            schema = pyarrow.parquet.read_schema(path)
        else:
            with pa.memory_map(str(path)) as source:
                schema = open_arrow(source).schema
        return [*schema.names, *index_columns(schema)]
    except _ERRORS:
        return None
