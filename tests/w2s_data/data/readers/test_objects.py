"""Tables in memory: whichever library holds them, the data set is the same."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from w2s_data import load_dataset
from w2s_data.errors import InputError

ROWS = {
    "text": [f"{word} {i}" for i in range(20) for word in ("good", "bad", "fine")],
    "mood": ["pos", "neg", None] * 20,
    "stars": [5, 1, None] * 20,
}


def polars():
    return pytest.importorskip("polars").DataFrame(ROWS)


def arrow():
    return pa.table(ROWS)


def hugging_face():
    return pytest.importorskip("datasets").Dataset.from_dict(ROWS)


@pytest.mark.parametrize("make", [polars, arrow, hugging_face])
@pytest.mark.parametrize("label", ["mood", "stars"])
def test_a_table_is_read_as_that_of_pandas(make, label):
    expected = load_dataset(pd.DataFrame(ROWS), item="text", label=label, random_state=0)
    found = load_dataset(make(), item="text", label=label, random_state=0)
    assert found.fingerprint == expected.fingerprint


def test_splits_and_class_names_of_a_data_set_are_kept():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "y": datasets.ClassLabel(names=["zero", "one"])}
    )

    def part(*texts):
        rows = {"text": texts, "y": [1, 0] * (len(texts) // 2)}
        return datasets.Dataset.from_dict(rows, features=features)

    train = part(*(f"text {i}" for i in range(40)))
    data = load_dataset(datasets.DatasetDict({"train": train, "test": part("a", "b")}))
    assert data.class_names == ("zero", "one")
    assert data.table["item"][data.rows("test")].tolist() == ["a", "b"]
    assert data.labels[data.rows("test")].tolist() == [1, 0]


@pytest.mark.parametrize("odd", [3, {}, {"text": ["a"]}, [1, 2]])
def test_anything_else_is_refused_by_its_type(odd):
    with pytest.raises(InputError, match=f"got {type(odd).__name__}"):
        load_dataset(odd)
