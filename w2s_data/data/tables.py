"""Write a table as a file, in the format that its name asks for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from w2s_data.errors import InputError, listing
from w2s_data.utils.io import atomic_path

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
    check_table_name(path)
    kind = path.suffix.lower()
    with atomic_path(path) as partial:
        if kind == ".parquet":
            frame.to_parquet(partial, index=False)
        elif kind == ".jsonl":
            frame.to_json(partial, orient="records", lines=True, force_ascii=False)
        else:
            # With a byte order mark, without which spreadsheets take UTF-8 for another encoding.
            separator = "\t" if kind == ".tsv" else ","
            frame.to_csv(partial, index=False, sep=separator, encoding="utf-8-sig")
