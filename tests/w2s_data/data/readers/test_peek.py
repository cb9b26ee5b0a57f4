"""A column that is missing is found before the rows are read."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from w2s_data import load_dataset
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers import peek
from w2s_data.data.readers.peek import peek_columns
from w2s_data.errors import ColumnError

LIMIT = MemoryLimit(10**9)
TABLE = pd.DataFrame({"text": list("abcd"), "label": [0, 1, 0, 1], "shop": ["x", "y"] * 2})


def write_arrow(path, new):
    table = pa.Table.from_pandas(TABLE)
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
        writer.write_table(table)


WRITERS = {
    "a.csv": lambda path: TABLE.to_csv(path, index=False),
    "b.csv": lambda path: TABLE.to_csv(path, index=False, sep=";", encoding="utf-8-sig"),
    "c.tsv": lambda path: TABLE.to_csv(path, index=False, sep="\t"),
    "d.csv": lambda path: path.write_text("sep=|\n" + TABLE.to_csv(index=False, sep="|")),
    "e.parquet": lambda path: TABLE.to_parquet(path),
    "f.arrow": lambda path: write_arrow(path, pa.ipc.new_file),
    "g.arrow": lambda path: write_arrow(path, pa.ipc.new_stream),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_column_is_refused_before_the_rows_are_read(name, tmp_path, monkeypatch):
    monkeypatch.setattr(peek, "LONG", 0)
    path = tmp_path / name
    WRITERS[name](path)
    assert set(TABLE.columns) <= set(peek_columns(path, LIMIT))
    data = load_dataset(path, item="text", label="label", split_sizes={"labelled": 2})
    assert len(data) == 4

    def read(*_):
        raise AssertionError("the rows were read")

    monkeypatch.setattr("w2s_data.data.load.read_raw", read)
    with pytest.raises(ColumnError, match="there is no column 'lable'; did you mean 'label'"):
        load_dataset(path, item="text", label="lable")
    with pytest.raises(ColumnError, match="there is no column 'p_pos'"):
        load_dataset(path, item="text", weak_columns={"small": ["p_pos"], "large": "label"})


def test_columns_that_only_reading_makes_are_not_refused(tmp_path):
    named = TABLE.set_index(pd.Index(list("wxyz"), name="uid"))
    named.to_parquet(tmp_path / "named.parquet")
    assert load_dataset(tmp_path / "named.parquet", item="text", id="uid").ids[0] == "w"
    ranged = TABLE.rename_axis("row")
    ranged.to_parquet(tmp_path / "ranged.parquet")
    assert load_dataset(tmp_path / "ranged.parquet", item="text", id="row").ids[-1] == "3"


@pytest.mark.parametrize("name", ["rows.jsonl", "packed.csv.gz", "folder", "missing.csv"])
def test_where_only_rows_tell_nothing_is_refused_early(name, tmp_path):
    path = tmp_path / name
    if name == "rows.jsonl":
        TABLE.to_json(path, orient="records", lines=True)
    elif name == "packed.csv.gz":
        TABLE.to_csv(path, index=False)
    elif name == "folder":
        path.mkdir()
    assert peek_columns(path, LIMIT) is None


def test_a_file_that_is_not_what_its_name_says_is_left_to_the_reader(tmp_path):
    for name in ("a.csv", "b.parquet", "c.arrow"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not a table")
        assert peek_columns(tmp_path / name, LIMIT) is None
