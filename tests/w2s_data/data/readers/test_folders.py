"""Folders, patterns and URLs: shards, splits, partitions, and saved data sets."""

from __future__ import annotations

import json
import shutil

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from w2s_data import load_dataset
from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.readers import read_raw
from w2s_data.data.readers.content import table_bytes
from w2s_data.errors import FileFormatError

N = 60
TABLE = pd.DataFrame(
    {
        "id": [f"i{i}" for i in range(N)],
        "text": [f"text {i}" for i in range(N)],
        "label": ["a", "b"] * (N // 2),
    }
)
ROLES = {"id": "id", "item": "text", "label": "label"}
KINDS = [".csv", ".tsv.gz", ".jsonl", ".jsonl.zst", ".json", ".parquet", ".arrow", ".ipc"]


@pytest.fixture
def shards(tmp_path, write):
    """Twelve shards, whose order as texts is not that of their numbers."""

    def make(kind, folder="data"):
        (tmp_path / folder).mkdir()
        for number in range(12):
            part = TABLE.iloc[5 * number : 5 * number + 5].reset_index(drop=True)
            write(part, tmp_path / folder / f"part-{number}{kind}")
        return tmp_path / folder

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_shards_are_one_table_in_natural_order(shards, kind):
    folder = shards(kind)
    for extra in ("_SUCCESS", "_metadata.parquet", ".hidden.csv", "README.md"):
        (folder / extra).write_text("x")
    whole = load_dataset(TABLE, **ROLES)
    for place in (folder, str(folder / "part-*"), f"{folder}/p*{kind}"):
        data = load_dataset(place, **ROLES)
        assert data.ids.tolist() == TABLE["id"].tolist()
        assert data.fingerprint == whole.fingerprint
        assert data.name == "data"
    assert any("read from 12 files ('part-0" in note for note in data.notes)


def test_a_pattern_picks_some_files(shards):
    folder = shards(".csv")
    assert len(read_raw(f"{folder}/part-[0-3].csv").frame) == 20
    assert len(read_raw(f"{folder.parent}/**/part-1?.csv").frame) == 10
    with pytest.raises(FileFormatError, match="no table file matches"):
        read_raw(f"{folder}/part-*.parquet")


@pytest.mark.parametrize("kind", [".csv.gz", ".parquet", ".arrow"])
def test_a_folder_or_pattern_at_a_url(shards, kind):
    folder = shards(kind)
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/bucket/data", recursive=True)
    for url in ("memory://bucket/data", "memory://bucket/data/part-*", "memory://bucket/data/"):
        raw = read_raw(url)
        assert raw.frame["id"].tolist() == TABLE["id"].tolist()
        assert raw.name == "data"
    one = read_raw(f"memory://bucket/data/part-11{kind}")
    assert (len(one.frame), one.name) == (5, "part-11")
    memory.pipe("/bucket/t.csv?version=1", TABLE.to_csv(index=False).encode())
    raw = read_raw("memory://bucket/t.csv?version=1")
    assert (len(raw.frame), raw.name) == (N, "t")
    with pytest.raises(FileFormatError, match="no table file at"):
        read_raw("memory://bucket/nothing")
    memory.rm("/bucket", recursive=True)


def test_files_that_differ_in_their_columns_are_refused(shards):
    folder = shards(".csv")
    TABLE.rename(columns={"label": "y"}).to_csv(folder / "part-3.csv", index=False)
    message = r"'part-3.csv' lacks 'label' and adds 'y', compared with 'part-0.csv'"
    with pytest.raises(FileFormatError, match=message):
        read_raw(folder)
    TABLE[["label", "text", "id"]].head(5).to_csv(folder / "part-3.csv", index=False)
    assert read_raw(folder).frame["id"][15] == "i0"  # the order of columns does not matter


def test_mixed_folders_are_refused(shards, write):
    folder = shards(".csv")
    write(TABLE, folder / "all.parquet")
    with pytest.raises(FileFormatError, match=r"several formats \('\.csv', '\.parquet'\)"):
        read_raw(folder)
    (folder / "all.parquet").unlink()
    write(TABLE, folder / "part-1.csv.gz")
    with pytest.raises(FileFormatError, match=r"holds 'part-1' twice, packed and unpacked"):
        read_raw(folder)
    (folder / "image.png").write_bytes(b"x")
    with pytest.raises(FileFormatError, match="holds 1 images and tables"):
        read_raw(folder)


def test_a_missing_shard_is_noticed(tmp_path, write):
    for number in (0, 2):
        write(TABLE, tmp_path / f"train-0000{number}-of-00003.parquet")
    with pytest.raises(FileFormatError, match=r"'train' has 3 files by .* number 1 is missing"):
        read_raw(tmp_path)
    raw = read_raw(tmp_path / "train-00002-of-00003.parquet")
    assert "warning: 'train-00002-of-00003.parquet' is one of 3 files" in raw.notes[0]


@pytest.mark.slow
def test_shards_together_keep_to_the_memory_limit(tmp_path, write):
    limit = MemoryLimit.parse("600MB")
    part = pd.DataFrame({"text": ["x" * 1_000_000] * int(table_bytes(limit) / 2.5e6)})
    for number in range(3):
        write(part, tmp_path / f"part-{number}.csv")
    assert len(read_raw(tmp_path / "part-1.csv", limit).frame) == len(part)
    with pytest.raises(FileFormatError, match=r"cannot read all of 3 files.* more than the"):
        read_raw(tmp_path, limit)


def test_folders_named_by_a_value_are_a_column(tmp_path, write):
    for source in ("web", "crowd"):
        (tmp_path / f"source={source}").mkdir()
        write(TABLE.assign(id=source + TABLE["id"]), tmp_path / f"source={source}" / "0.parquet")
    frame = read_raw(tmp_path).frame
    assert frame["source"].tolist() == ["crowd"] * N + ["web"] * N


@pytest.mark.parametrize(
    "names",
    [
        ("train.csv", "test.csv"),
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("train/0.jsonl", "test/0.jsonl"),
    ],
)
def test_files_named_after_splits_stay_in_them(tmp_path, write, names):
    for name, part in zip(names, (TABLE.iloc[:40], TABLE.iloc[40:]), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(part.reset_index(drop=True), tmp_path / name)
    data = load_dataset(tmp_path, **ROLES)
    assert set(data.ids[data.splits == "test"]) == {f"i{i}" for i in range(40, N)}
    assert set(data.splits) == {"labelled", "pool", "validation", "test"}
    assert "splits of the data set: test 20, train 40" in data.notes
    kept = load_dataset(tmp_path, **ROLES, split="split")
    assert set(kept.splits) == {"labelled", "test"}
    write(TABLE, tmp_path / f"more{''.join((tmp_path / names[0]).suffixes)}")
    with pytest.raises(FileFormatError, match="are named after splits, and 'more"):
        load_dataset(tmp_path, **ROLES)


def test_files_named_after_test_splits_stay_in_them_beside_others(tmp_path, write):
    parts = {"train": TABLE.iloc[:30], "test": TABLE.iloc[30:40], "test_ood": TABLE.iloc[40:]}
    for name, part in parts.items():
        write(part.reset_index(drop=True), tmp_path / f"{name}.csv")
    data = load_dataset(tmp_path, **ROLES)
    assert set(data.ids[data.test_splits == "test_ood"]) == {f"i{i}" for i in range(40, N)}
    assert len(data.rows("test")) == 30
    assert set(data.splits) == {"labelled", "pool", "validation", "test"}


def test_files_named_after_test_splits_alone_are_one_table(tmp_path, write):
    for name, part in (("test1", TABLE.iloc[:30]), ("test2", TABLE.iloc[30:])):
        write(part.reset_index(drop=True), tmp_path / f"{name}.csv")
    assert set(load_dataset(tmp_path, **ROLES).splits) == {"labelled", "pool", "validation", "test"}
    assert "split" not in read_raw(tmp_path).frame


# ----------------------------------------------------------------------------- saved by `datasets`


def save(folder, rows, n_files=1, split=None, stated=None):
    """Write a folder as `save_to_disk` of the `datasets` library does."""
    folder.mkdir(parents=True)
    features = {"label": {"names": ["b", "a"], "_type": "ClassLabel"}}
    schema = pa.schema({"text": pa.string(), "label": pa.int64()})
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    files = [f"data-{i:05d}-of-{n_files:05d}.arrow" for i in range(n_files)]
    for name, part in zip(files, np.array_split(np.arange(rows), n_files), strict=True):
        columns = {"text": [f"{split} {i}" for i in part], "label": [i % 2 for i in part]}
        table = pa.table(columns, schema=schema)
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
            out.write_table(table)
    state = {"_data_files": [{"filename": name} for name in files], "_split": split}
    (folder / "state.json").write_text(json.dumps(state))
    info = {"features": features}
    if stated is not None:
        info["splits"] = {split: {"num_examples": stated}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def test_all_files_of_a_saved_data_set_are_read(tmp_path):
    data = load_dataset(save(tmp_path / "saved", 40, 3), item="text", label="label")
    assert [text.split()[1] for text in data.items] == [str(i) for i in range(40)]
    assert data.class_names == ("b", "a")
    assert data.labels[:2].tolist() == [0, 1]
    assert data.name == "saved"


def test_one_file_of_a_saved_data_set_is_warned_about(tmp_path):
    folder = save(tmp_path / "saved", 40, 2)
    raw = read_raw(folder / "data-00000-of-00002.arrow")
    assert len(raw.frame) == 20
    assert "is one of 2 files of a data set; pass the folder 'saved'" in raw.notes[0]


def test_splits_of_a_saved_dictionary_are_those_of_the_hub(tmp_path):
    for split, rows in (("train", 50), ("validation", 10), ("test", 20)):
        save(tmp_path / split, rows, 2, split)
    splits = {"splits": ["train", "validation", "test"]}
    (tmp_path / "dataset_dict.json").write_text(json.dumps(splits))
    data = load_dataset(tmp_path)
    assert data.class_names == ("b", "a")
    origin = np.array([id.partition("-")[0] for id in data.ids])
    assert set(data.splits[origin == "test"]) == {"test"}
    assert set(data.splits[origin == "validation"]) == {"validation"}
    assert np.unique(data.splits[origin == "train"], return_counts=True)[1].tolist() == [10, 40]
    assert "splits of the data set: train 50, validation 10, test 20" in data.notes


def test_a_saved_data_set_with_a_file_missing_is_refused(tmp_path):
    folder = save(tmp_path / "saved", 40, 2)
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(FileFormatError, match=r"lacks 1 of its 2 files .* copy the whole folder"):
        read_raw(folder)
    (folder / "state.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"cannot read state\.json of"):
        read_raw(folder)


def test_another_number_of_rows_than_published_is_said(tmp_path):
    raw = read_raw(save(tmp_path / "saved", 40, split="train", stated=50))
    assert raw.notes == ("split 'train' held 50 rows when it was published, and holds 40 here",)


def test_a_stream_without_its_end_is_warned_about(tmp_path):
    folder = save(tmp_path / "saved", 40)
    path = folder / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:-8])
    assert "warning: the Arrow stream ends without its end mark" in read_raw(folder).notes[0]


def test_the_library_itself_writes_what_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    columns = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["b", "a"])}
    made = datasets.Dataset.from_dict(
        {"text": TABLE["text"].tolist(), "label": [0, 1] * (N // 2)}, datasets.Features(columns)
    )
    made.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "two")
    assert read_raw(tmp_path / "one").frame["text"].tolist() == TABLE["text"].tolist()
    raw = read_raw(tmp_path / "two")
    assert len(raw.frame) == 2 * N
    assert raw.class_names == {"label": ("b", "a")}
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "two"), "/saved", recursive=True)
    shutil.rmtree(tmp_path / "two")
    pd.testing.assert_frame_equal(read_raw("memory://saved").frame, raw.frame)
    memory.rm("/saved", recursive=True)
