from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from w2s_data import load_dataset
from w2s_data.data.readers import read_raw
from w2s_data.errors import FileFormatError, InputError, MissingExtraError, SplitError

N = 40
TEXTS = [f'text {i}, with "quotes", a tab\t, a\nline and é' for i in range(N - 3)]
TABLE = pd.DataFrame(
    {
        "id": [f"00{i}" for i in range(N)],
        "text": [*TEXTS, "null", "NA", "123"],
        "label": ["01", "1"] * (N // 2),
        "domain": np.repeat(["a", "b"], N // 2),
    }
)


def write(frame: pd.DataFrame, path) -> None:
    name = path.name.removesuffix(".gz")
    if name.endswith((".csv", ".tsv")):
        frame.to_csv(path, index=False, sep="," if name.endswith(".csv") else "\t")
    elif name.endswith((".jsonl", ".ndjson")):
        frame.to_json(path, orient="records", lines=True)
    elif name.endswith(".json"):
        frame.to_json(path, orient="records")
    elif name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".ipc"):
        table = pa.Table.from_pandas(frame)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    else:
        frame.to_feather(path)


FILES = [
    *("t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz", "t.jsonl", "t.jsonl.gz", "t.ndjson", "t.json"),
    *("t.parquet", "t.arrow", "t.feather", "t.ipc"),
]


@pytest.mark.parametrize("name", FILES)
def test_round_trip(tmp_path, name):
    write(TABLE, tmp_path / name)
    roles = {"id": "id", "label": "label", "source": "domain"}
    read = load_dataset(tmp_path / name, **roles)
    direct = load_dataset(TABLE, **roles)
    assert read.name == "t"
    assert read.class_names == ("01", "1")
    assert read.items == TABLE["text"].tolist()
    assert read.ids.tolist() == TABLE["id"].tolist()
    assert read.fingerprint == direct.fingerprint


@pytest.mark.parametrize("name", FILES)
def test_truncated_file(tmp_path, name):
    if name in ("t.csv", "t.tsv"):
        (tmp_path / name).write_text('text\tlabel\n"never closed'.replace("\t", ","))
    else:
        write(TABLE, tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) - 40])
    with pytest.raises(FileFormatError, match=rf"cannot read '.*{name}' as"):
        load_dataset(tmp_path / name, item="text")


@pytest.mark.parametrize("name", FILES)
def test_file_of_noise(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(128, 256)) * 4)
    with pytest.raises(FileFormatError, match="cannot read"):
        load_dataset(tmp_path / name, item="text")


@pytest.mark.parametrize("name", FILES)
def test_empty_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot read|holds no rows"):
        load_dataset(tmp_path / name, item="text")


def test_bad_json_line_is_numbered(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": \n')
    with pytest.raises(FileFormatError, match="line 3 is not whole JSON"):
        load_dataset(path)
    path.write_text('{"text": "a"}\n[1, 2]\n')
    with pytest.raises(FileFormatError, match="line 2 is not a JSON object"):
        load_dataset(path)


def test_json_chunks_join(tmp_path, monkeypatch):
    monkeypatch.setattr("w2s_data.data.readers.records._ROWS_A_CHUNK", 3)
    write(TABLE, tmp_path / "t.jsonl")
    assert read_raw(tmp_path / "t.jsonl").frame["text"].tolist() == TABLE["text"].tolist()


def test_missing_file_names_the_nearest(tmp_path):
    write(TABLE, tmp_path / "reviews.csv")
    with pytest.raises(FileFormatError, match=r"did you mean 'reviews\.csv'"):
        load_dataset(tmp_path / "review.csv")
    with pytest.raises(FileFormatError, match="does not exist"):
        load_dataset(str(tmp_path / "nowhere" / "reviews.csv"))


def test_unknown_suffix_and_wrong_type(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(b"x")
    with pytest.raises(FileFormatError, match=r"from its suffix; valid: '\.csv'"):
        load_dataset(tmp_path / "t.xlsx")
    with pytest.raises(InputError, match="a table of pandas, Polars, Arrow or datasets; got list"):
        load_dataset([1, 2])


def test_class_names_stored_by_datasets_survive_in_parquet(tmp_path):
    features = {"label": {"names": ["world", "arts"], "_type": "ClassLabel"}, "x": [{"a": 1}]}
    table = pa.table({"text": [f"t{i}" for i in range(20)], "label": [0, 1] * 9 + [None, -1]})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "t.parquet")
    data = load_dataset(tmp_path / "t.parquet", label="label")
    assert data.class_names == ("world", "arts")
    assert data.labels.tolist() == [0, 1] * 9 + [-1, -1]


# ---------------------------------------------------------------------------------------- folders


def png(value: int, size: int = 6) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((size, size), value, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def image_folder(root, classes=("cat", "dog"), each=10):
    for c, name in enumerate(classes):
        for i in range(each):
            path = root / name / ("deep" if i % 2 else "") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(10 * i + c))
    return root


def test_image_folder(tmp_path):
    data = load_dataset(image_folder(tmp_path / "pets"))
    assert (data.kind, data.name, data.class_names, len(data)) == (
        "image",
        "pets",
        ("cat", "dog"),
        20,
    )
    assert np.bincount(data.labels).tolist() == [10, 10]
    assert "cat/deep/1.png" in data.ids
    for row, item in enumerate(data.items):
        assert Path(item).read_bytes() == (tmp_path / "pets" / data.ids[row]).read_bytes()


def test_the_content_of_a_folder_counts_not_its_place(tmp_path):
    first = load_dataset(image_folder(tmp_path / "a" / "pets"))
    second = load_dataset(image_folder(tmp_path / "b" / "pets"))
    assert first.fingerprint == second.fingerprint
    (tmp_path / "b" / "pets" / "cat" / "0.png").write_bytes(png(200))
    third = load_dataset(tmp_path / "b" / "pets")
    assert third.fingerprint != first.fingerprint


def test_relative_folder_works_from_here(tmp_path, monkeypatch):
    image_folder(tmp_path / "pets")
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("pets")) == 20


def test_flat_folder_has_no_labels(tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    data = load_dataset(tmp_path)
    assert (data.labels == -1).all()
    assert set(data.splits) == {"pool"}


def test_folders_named_like_splits_are_classes_and_noted(tmp_path):
    data = load_dataset(image_folder(tmp_path, classes=("train", "test")))
    assert data.class_names == ("test", "train")
    assert any("class folders are named 'test', 'train'" in note for note in data.notes)


def test_folder_without_images_or_tables(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileFormatError, match="holds neither tables nor images"):
        load_dataset(tmp_path)


def test_duplicate_images_in_a_folder_are_grouped(tmp_path):
    image_folder(tmp_path)
    for i in range(5):
        (tmp_path / "cat" / f"copy{i}.png").write_bytes(png(0))
    data = load_dataset(tmp_path)
    assert "6 items recur in 1 groups" in data.notes[0]
    assert len({s for s, unit in zip(data.splits, data.units, strict=True) if unit == 0}) == 1


# -------------------------------------------------------------------------------------------- hub


@pytest.fixture
def hub(monkeypatch):
    datasets = pytest.importorskip("datasets")
    sets = {}

    def fake(name, config=None):
        if (name, config) not in sets:
            raise FileNotFoundError(f"Dataset {name!r} doesn't exist on the Hub")
        return sets[name, config]

    monkeypatch.setattr(datasets, "load_dataset", fake)

    def add(name, splits, config=None, image=False):
        columns = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["b", "a"])}
        if image:
            columns = {"image": datasets.Image(), "label": columns["label"]}
        features = datasets.Features(columns)
        sets[name, config] = datasets.DatasetDict(
            {
                split: datasets.Dataset.from_dict(content, features=features)
                for split, content in splits.items()
            }
        )

    return add


def part(name, n, label=None):
    labels = [i % 2 for i in range(n)] if label is None else [label] * n
    return {"text": [f"{name} {i}" for i in range(n)], "label": labels}


def test_hub_splits(hub):
    hub("o/n", {"train": part("t", 50), "validation": part("v", 10), "test": part("s", 20)})
    data = load_dataset("o/n")
    assert data.class_names == ("b", "a")  # the order that the hub gives to the codes
    assert data.labels[:2].tolist() == [0, 1]
    origin = np.array([id.partition("-")[0] for id in data.ids])
    assert set(data.splits[origin == "test"]) == {"test"}
    assert set(data.splits[origin == "validation"]) == {"validation"}
    assert np.unique(data.splits[origin == "train"], return_counts=True)[1].tolist() == [10, 40]
    assert data.notes[0] == "splits of the data set: train 50, validation 10, test 20"


def test_hub_train_only_is_split_in_four(hub):
    hub("n", {"train": part("t", 50), "unsupervised": part("u", 30, label=-1)}, config="c")
    data = load_dataset("n:c")
    assert [len(data.rows(s)) for s in ("labelled", "validation", "test")] == [25, 5, 10]
    assert len(data.rows("pool")) == 10 + 30  # half of all rows


def test_hub_test_without_labels_goes_to_the_pool(hub):
    hub("n", {"train": part("t", 50), "test": part("s", 20, label=-1)})
    data = load_dataset("n")
    origin = np.array([id.partition("-")[0] for id in data.ids])
    assert set(data.splits[origin == "test"]) == {"pool"}
    assert len(data.rows("test")) == 10


def test_hub_train_copies_of_test_rows_follow_them(hub):
    test = part("s", 20)
    train = {key: test[key][:5] + part("t", 50)[key] for key in test}
    hub("n", {"train": train, "test": test})
    data = load_dataset("n")
    assert set(data.splits[:5]) == {"test"}
    assert not any("leak" in note for note in data.notes)


def test_hub_images(hub):
    images = [{"bytes": png(i), "path": None} for i in range(20)]
    hub("n", {"train": {"image": images, "label": [0, 1] * 10}}, image=True)
    data = load_dataset("n")
    assert data.kind == "image"
    assert data.items[3] == png(3)


def test_hub_name_that_does_not_exist(hub):
    hub("n", {"train": part("t", 50)})
    with pytest.raises(FileFormatError, match=r"no file or folder 'o/m', and the hub .* doesn't"):
        load_dataset("o/m")


def test_hub_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'w2s-data\[hub\]'"):
        load_dataset("owner/name")


def test_hub_sizes_given(hub):
    hub("n", {"train": part("t", 50), "test": part("s", 20)})
    data = load_dataset("n", split_sizes={"labelled": 30})
    assert len(data.rows("labelled")) == 30
    with pytest.raises(SplitError, match="only 50 rows"):
        load_dataset("n", split_sizes={"labelled": 60})


def test_gzip_cut_short_is_told(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-12])
    with pytest.raises(FileFormatError, match="jsonl"):
        load_dataset(path)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_semicolons_as_spreadsheets_write_them(tmp_path, name):
    TABLE.to_csv(tmp_path / name, index=False, sep=";")
    roles = {"id": "id", "label": "label", "source": "domain"}
    read = load_dataset(tmp_path / name, **roles)
    assert read.fingerprint == load_dataset(TABLE, **roles).fingerprint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (
            b"text,label\ncaf\xe9,1\n",
            "line 2 is not UTF-8 (byte 0xe9 after 3 others); save the file as UTF-8, e.g. with: "
            "iconv -f WINDOWS-1252 -t UTF-8",
        ),
        (
            b"text,label\na,b\na,b,c\n",
            "line 3 has 3 fields, and the header 2 ('text', 'label'); quote cells that hold the "
            "separator ','",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_few_words(tmp_path, content, reason):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(FileFormatError) as caught:
        read_raw(tmp_path / "t.csv")
    assert str(caught.value) == f"cannot read {str(tmp_path / 't.csv')!r} as csv: {reason}"


@pytest.mark.parametrize("name", ["reviews.xlsx", "reviews.csv.zip", "reviews.TXT"])
def test_a_missing_file_of_another_kind_is_not_looked_for_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileFormatError, match=f"file '{name}' not found"):
        read_raw(name)


def test_tables_that_are_not_there_yet_are_refused_with_what_to_do():
    datasets = pytest.importorskip("datasets")
    streamed = datasets.Dataset.from_dict({"text": ["a", "b"]}).to_iterable_dataset()
    for data in (streamed, datasets.IterableDatasetDict(train=streamed)):
        with pytest.raises(InputError, match="data streams its rows"):
            read_raw(data)
    polars = pytest.importorskip("polars")
    with pytest.raises(InputError, match=r"got LazyFrame; collect\(\) it first"):
        read_raw(polars.DataFrame({"text": ["a"]}).lazy())


def test_links_that_lead_nowhere_are_no_smaller_data_set(tmp_path):
    for folder in ("tables", "images"):
        (tmp_path / folder).mkdir()
    pd.DataFrame({"text": ["a", "b"]}).to_csv(tmp_path / "tables/part-0.csv", index=False)
    (tmp_path / "tables/part-1.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(FileFormatError, match=r"part-1.csv' as csv: no such file"):
        read_raw(tmp_path / "tables")
    Image.new("L", (4, 4), 9).save(tmp_path / "images/0.png")
    (tmp_path / "images/1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileFormatError, match=r"1.png' \(no such file or directory\)"):
        load_dataset(tmp_path / "images")
