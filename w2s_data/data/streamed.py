"""Write a table block by block, in the format that the name of its file asks for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from w2s_data.data.tables import check_table_name
from w2s_data.utils.io import atomic_path


def write_blocks(path: Path, blocks: Iterable[pd.DataFrame]) -> None:
    """Write a table whose blocks are made one after another, whole or not at all.

    >>> import tempfile
    >>> blocks = (pd.DataFrame({"id": [name], "label": ["yes"]}) for name in "ab")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_blocks(Path(folder, "t.csv"), blocks)
    ...     Path(folder, "t.csv").read_text("utf-8")
    'id,label\\na,yes\\nb,yes\\n'
    """
    check_table_name(path)
    kind = path.suffix.lower()
    with atomic_path(path) as partial:
        if kind == ".parquet":
            _write_parquet(partial, blocks)
            return
        with partial.open("w", encoding="utf-8", newline="") as file:
            for number, frame in enumerate(blocks):
                if kind == ".jsonl":
                    frame.to_json(file, orient="records", lines=True, force_ascii=False)
                else:
                    separator = "\t" if kind == ".tsv" else ","
                    frame.to_csv(file, index=False, header=number == 0, sep=separator)


def _write_parquet(path: Path, blocks: Iterable[pd.DataFrame]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    try:
        for frame in blocks:
            table = pa.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                # A dictionary pays for names that recur; of numbers it would only cost time.
                names = [f.name for f in table.schema if pa.types.is_dictionary(f.type)]
                writer = pq.ParquetWriter(path, table.schema, use_dictionary=names)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
