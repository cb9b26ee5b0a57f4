"""Write a table as a file, in the format that its name asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import pandas as pd

from w2s_data.errors import InputError, listing
from w2s_data.utils.io import atomic_path, remove_partial_files_of

WRITTEN = (".csv", ".tsv", ".jsonl", ".parquet")


def check_table_name(path: Path) -> None:
    """Raise InputError unless the name ends in a format that `write_table` writes."""
    if path.suffix.lower() not in WRITTEN:
        raise InputError(
            f"{str(path)!r} must end in one of {listing(WRITTEN, quoted=False)}, which is its "
            "format"
        )
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; name a file in it")


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(pd.DataFrame({"id": ["a"], "label": [None]}), Path(folder, "t.csv"))
    ...     Path(folder, "t.csv").read_text("utf-8-sig")
    'id,label\\na,\\n'
    """
    write_blocks([frame], path)


def write_blocks(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    """Write a table whose blocks are made one after another, whole or not at all.

    >>> import tempfile
    >>> blocks = (pd.DataFrame({"id": [name], "label": ["yes"]}) for name in "ab")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(blocks, Path(folder, "t.csv"))
    ...     Path(folder, "t.csv").read_text("utf-8-sig")
    'id,label\\na,yes\\nb,yes\\n'
    """
    check_table_name(path)
    kind = path.suffix.lower()
    # A table can lie anywhere, and a large one was killed half-way before.
    remove_partial_files_of(path)
    with atomic_path(path) as partial:
        if kind == ".parquet":
            _write_parquet(blocks, partial)
            return
        # With a byte order mark, without which spreadsheets take UTF-8 for another encoding.
        encoding = "utf-8" if kind == ".jsonl" else "utf-8-sig"
        with partial.open("w", encoding=encoding, newline="") as file:
            for number, frame in enumerate(blocks):
                _write_text(frame, file, kind, header=number == 0)


def _write_text(frame: pd.DataFrame, file: IO[str], kind: str, *, header: bool) -> None:
    if kind == ".jsonl":
        frame.to_json(file, orient="records", lines=True, force_ascii=False)
    else:
        frame.to_csv(file, index=False, header=header, sep="\t" if kind == ".tsv" else ",")


def _write_parquet(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    try:
        for frame in blocks:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                # A dictionary pays for names that recur; of numbers it would only cost time.
                kinds = pa.types.is_dictionary, pa.types.is_string, pa.types.is_large_string
                names = [f.name for f in table.schema if any(is_kind(f.type) for is_kind in kinds)]
                writer = pq.ParquetWriter(path, table.schema, use_dictionary=names)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
