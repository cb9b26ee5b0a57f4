"""Encodings, compressions and the memory limit, over all formats."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers import read_raw
from w2s_data.data.readers.content import row_bytes
from w2s_data.errors import FileFormatError

TABLE = pd.DataFrame(
    {
        "id": [f"0{i}" for i in range(20)],
        "text": [f'né {i}, "q"; €' for i in range(20)],
        "label": ["a", "b"] * 10,
    }
)
ROLES = {"id": "id", "item": "text", "label": "label"}
FORMATS = [".csv", ".tsv", ".jsonl", ".json", ".ndjson"]
PACKINGS = ["", ".gz", ".zst", ".bz2", ".xz"]
LIMIT = MemoryLimit.parse("600MB")


@pytest.fixture(scope="module")
def expected():
    return load_dataset(TABLE, **ROLES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_each_format_in_each_encoding(tmp_path, write, expected, kind, encoding, packing):
    path = write(TABLE, tmp_path / f"t{kind}{packing}", encoding)
    assert load_dataset(path, **ROLES).fingerprint == expected.fingerprint


@pytest.mark.parametrize("kind", [*FORMATS, ".parquet", ".arrow", ".feather", ".ipc"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_each_format_in_each_packing(tmp_path, write, expected, kind, packing):
    data = load_dataset(write(TABLE, tmp_path / f"t{kind}{packing}"), **ROLES)
    assert data.fingerprint == expected.fingerprint
    assert data.name == "t"


def test_big_endian_text_and_capitals_in_the_name(tmp_path, expected):
    text = TABLE.to_csv(index=False).replace("\n", "\r\n")
    (tmp_path / "T.CSV").write_bytes(b"\xfe\xff" + text.encode("utf-16-be"))
    (tmp_path / "DATA.CSV.GZ").write_bytes(gzip.compress(text.encode()))
    for name in ("T.CSV", "DATA.CSV.GZ"):
        data = load_dataset(tmp_path / name, **ROLES)
        assert data.fingerprint == expected.fingerprint
        assert data.name == name.partition(".")[0]


def test_content_decides_on_the_packing(tmp_path, expected):
    (tmp_path / "t.csv").write_bytes(gzip.compress(TABLE.to_csv(index=False).encode()))
    assert load_dataset(tmp_path / "t.csv", **ROLES).fingerprint == expected.fingerprint
    TABLE.to_csv(tmp_path / "u.csv.gz", index=False, compression=None)
    with pytest.raises(FileFormatError, match=r"it is not packed by gzip, although .* '?\.gz"):
        load_dataset(tmp_path / "u.csv.gz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"text,label\nok,1\ncaf\xe9,1\n", r"line 3 is not UTF-8 \(byte 0xe9 after 3"),
        ("t.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', "line 2 is not UTF-8"),
        ("t.csv", "a,b\nc,d\n".encode("utf-16-le"), "line 1 holds a NUL byte"),
        ("t.csv", b"a,b\n1,2\n3,\x00\n", "line 3 holds a NUL byte"),
        ("t.csv", b"PAR1....", "it holds Parquet, not text"),
        ("t.csv", b"PK\x03\x04....", "it holds a zip archive or workbook"),
        ("t.csv", b"\xff\xfea\x00\x00\xd8", "it begins like UTF-16 and is not"),
        ("t.json", b"[" * 100_000, "nested too deeply"),
        ("t.jsonl", b'{"a": ' * 100_000, "line 1 is nested too deeply"),
        ("t.json", b'[{"a": 1}, {"a": 2}', "the array ends, or lacks a comma, after object 1"),
        ("t.json", b'[{"a": 1}] [', "text follows the end of the array"),
        ("t.json", b'[{"a": 1}, 2]', "object 1 is not a JSON object but int"),
        ("t.jsonl", b'{"a": "\\ud800"}\n', "line 1 holds half of a surrogate pair"),
        ("t.json", b'{"a": {"0": 1}, "b": {"0": 2}}', "one object of columns; write it as"),
        ("t.json", b'{"data": [{"a": 1}, {"a": 2}]}', "its rows lie under the key 'data'"),
        ("t.jsonl", b'{"a": 1, "b": 2, "a": 3}\n', "line 1 repeats the key 'a'"),
        ("t.json", b'[{"a": 1, "a": 3}]', "object 0 repeats the key 'a'"),
        ("t.csv", b"," * 100_001 + b"\n", "its header has 100,002 columns, more than 100,000"),
        ("t.jsonl", b'{"a": 1e999999}\n{"b"}\n', "line 2 is not whole JSON"),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_raw(tmp_path / name)


def test_long_integers_stay_exact(tmp_path):
    values = [2**53 + 1, None, 10**30, 7]
    lines = [json.dumps({"id": value, "text": "a \ud83d\ude00"}) for value in values]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    frame = read_raw(tmp_path / "t.jsonl").frame
    assert [v if pd.notna(v) else None for v in frame["id"]] == values
    assert frame["text"][0] == "a \N{GRINNING FACE}"
    frame = pd.DataFrame({"id": pd.array([2**53 + 1, None], dtype="Int64")})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_raw(tmp_path / "t.parquet").frame["id"][0] == 2**53 + 1


def test_long_integers_stay_exact_over_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("w2s_data.data.readers.records._ROWS_A_CHUNK", 2)
    (tmp_path / "t.jsonl").write_text(f'{{"id": {2**53 + 1}}}\n{{"id": 1}}\n{{"id": null}}\n')
    assert read_raw(tmp_path / "t.jsonl").frame["id"][0] == 2**53 + 1


def test_lists_reach_the_frame(tmp_path):
    lists = [[0.25, 0.75], [1.0, 0.0]]
    frame = pd.DataFrame({"text": ["a", "b"], "soft_label": lists})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for name in ("t.parquet", "t.jsonl"):
        assert [list(v) for v in read_raw(tmp_path / name).frame["soft_label"]] == lists


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.json"])
def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, name):
    head = b'text,label\n"' if name == "t.csv" else b'[{"text": "'
    packed = gzip.compress(head + b"x" * 60_000_000, compresslevel=1)
    (tmp_path / f"{name}.gz").write_bytes(packed)
    with pytest.raises(FileFormatError, match=r"more than the \d+ MB that memory=600 MB allows"):
        read_raw(tmp_path / f"{name}.gz", LIMIT)


def test_objects_without_a_common_key_are_refused(tmp_path):
    lines = (json.dumps({f"key {i}": 1}) for i in range(5000))
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    with pytest.raises(FileFormatError, match="5,000 objects have 5,000 keys in all: its table"):
        read_raw(tmp_path / "t.jsonl", LIMIT)


def test_one_row_larger_than_the_limit_is_refused(tmp_path):
    text = "x" * (row_bytes(LIMIT) + 1)
    (tmp_path / "t.csv").write_text(f"text,label\na,1\n{text},1\n")
    (tmp_path / "t.jsonl").write_text(json.dumps({"text": text}))
    for name in ("t.csv", "t.jsonl"):
        with pytest.raises(
            FileFormatError, match=r"begins a row of .* MB, .* allows .* MB; raise memory"
        ):
            read_raw(tmp_path / name, LIMIT)
        assert len(read_raw(tmp_path / name, MemoryLimit.parse("1GB")).frame) in (1, 2)


@pytest.mark.parametrize("kind", [".parquet", ".arrow"])
def test_a_small_file_of_a_large_table_is_refused(tmp_path, write, kind):
    frame = pd.DataFrame({"text": np.repeat("x" * 100_000, 700)})
    path = write(frame, tmp_path / f"t{kind}")
    with pytest.raises(FileFormatError, match=r"more than the \d+ MB that memory=600 MB allows"):
        read_raw(path, LIMIT)


def test_a_parquet_file_that_lost_rows_is_refused(tmp_path, write, monkeypatch):
    path = write(TABLE, tmp_path / "t.parquet")
    collected = "w2s_data.data.readers.columnar._collected"
    monkeypatch.setattr(collected, lambda batches, *_: next(iter(batches)).slice(0, 5))
    with pytest.raises(FileFormatError, match="it states 20 rows and holds 5"):
        read_raw(path)


# ------------------------------------------------------------------------------------------- index


def test_a_named_index_is_a_column(tmp_path):
    frame = TABLE.assign(id=[f"u{i}" for i in range(20)]).set_index("id")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    for data in (frame, tmp_path / "t.parquet", tmp_path / "t.feather"):
        loaded = load_dataset(data, item="text", id="id")
        assert loaded.ids.tolist() == [f"u{i}" for i in range(20)]


def test_levels_of_an_index_are_columns(tmp_path):
    frame = TABLE.set_index(["id", "label"])
    frame.to_parquet(tmp_path / "t.parquet")
    for data in (frame, tmp_path / "t.parquet"):
        assert set(read_raw(data).frame.columns) == {"id", "label", "text"}
    ranged = pd.DataFrame({"text": ["a", "b"]}, index=pd.RangeIndex(5, 7, name="uid"))
    ranged.to_parquet(tmp_path / "r.parquet")
    for data in (ranged, tmp_path / "r.parquet"):
        assert read_raw(data).frame["uid"].tolist() == [5, 6]


def test_an_index_without_a_name_is_left_out(tmp_path):
    frame = TABLE.iloc[::2]
    frame.to_parquet(tmp_path / "t.parquet")
    for data in (frame, tmp_path / "t.parquet"):
        assert list(read_raw(data).frame.columns) == ["id", "text", "label"]
    named = TABLE.set_axis([f"u{i}" for i in range(20)])
    assert "the index has no name" in read_raw(named).notes[0]


def test_names_of_columns_are_texts_and_unique(tmp_path):
    pd.DataFrame({0: ["a"], 1: ["b"]}).to_parquet(tmp_path / "t.parquet")
    assert list(read_raw(tmp_path / "t.parquet").frame.columns) == ["0", "1"]
