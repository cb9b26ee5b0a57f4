"""Read a table from whatever names it: a file, a folder, a URL, the hub."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pandas as pd

from w2s_data.data.readers.files import read_table
from w2s_data.data.readers.folders import read_image_folder
from w2s_data.data.readers.formats import format_of
from w2s_data.data.readers.hub import read_hub
from w2s_data.data.readers.table import RawTable
from w2s_data.errors import FileFormatError, InputError
from w2s_data.utils.storage import is_url, local_copies


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


def _no_such_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f"file {str(path)!r} not found: folder {str(path.parent)!r} does not exist"
    tables = sorted(p.name for p in path.parent.iterdir() if p.is_file() and format_of(p))
    close = difflib.get_close_matches(path.name, tables, n=1, cutoff=0.5)
    return f"file {str(path)!r} not found" + (f"; did you mean {close[0]!r}?" if close else "")
