"""Read columnar files: Parquet, and Arrow files and streams."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers.content import Unreadable, read_bytes, table_bytes, too_large
from w2s_data.data.readers.formats import compression_of

# A dictionary lets a small file hold a large value many times: the first rows set the size of the
# batches, so that one of them alone does not fill the memory.
_PROBED_ROWS = 64
_ROWS_A_BATCH = 4096
_BYTES_A_BATCH = 2**25
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


def read_parquet(path: Path, limit: MemoryLimit) -> pa.Table:
    """Return the table of a Parquet file; Unreadable if rows are missing, or it is too large."""
    if compression_of(path):
        source = pa.BufferReader(pa.py_buffer(read_bytes(path, limit)))
    else:
        source = pa.memory_map(str(path))
    with pyarrow.parquet.ParquetFile(source) as file:
        facts = file.metadata
        groups = [facts.row_group(i).total_byte_size for i in range(facts.num_row_groups)]
        if sum(groups) > table_bytes(limit):
            raise too_large(limit)
        schema = file.schema_arrow
        first = next(file.iter_batches(_PROBED_ROWS), None)
        row_bytes = 1 if first is None else first.nbytes // max(1, len(first)) + 1
        n_rows = min(_ROWS_A_BATCH, max(1, _BYTES_A_BATCH // row_bytes))
        table = _collected(file.iter_batches(n_rows), schema, limit)
        if table.num_rows != facts.num_rows:
            raise Unreadable(
                f"it states {facts.num_rows:,} rows and holds {table.num_rows:,}; it is damaged"
            )
    return table


def read_arrow(path: Path, limit: MemoryLimit) -> tuple[pa.Table, list[str]]:
    """Return the table of an Arrow IPC file (Feather), or of a stream, and a note on its end."""
    if compression_of(path):
        source = pa.BufferReader(pa.py_buffer(read_bytes(path, limit)))
    else:
        source = pa.memory_map(str(path))
    with source:
        reader = open_arrow(source)
        is_file = isinstance(reader, pa.ipc.RecordBatchFileReader)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
        table = _collected(batches, reader.schema, limit)
        # A stream that was cut between two batches reads like a whole one, but for its last bytes.
        source.seek(max(0, source.size() - len(_END_OF_STREAM)))
        is_whole = is_file or source.read() == _END_OF_STREAM
    note = "warning: the Arrow stream ends without its end mark; rows may be missing"
    return table, [] if is_whole else [note]


def open_arrow(source: pa.NativeFile) -> pa.ipc.RecordBatchFileReader | pa.RecordBatchReader:
    """Open an Arrow file by its first bytes, which a stream lacks."""
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    return pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)


def _collected(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, limit: MemoryLimit
) -> pa.Table:
    kept = []
    n_bytes = 0
    for batch in batches:
        # Offsets of a damaged file may lead outside of it, which ends the process without a word.
        batch.validate(full=True)
        kept.append(batch)
        n_bytes += batch.nbytes
        if n_bytes > table_bytes(limit):
            raise too_large(limit)
    return pa.Table.from_batches(kept, schema)
