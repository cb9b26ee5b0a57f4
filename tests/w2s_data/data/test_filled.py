"""Tables that a person filled in: how labels are read, and what contradicts a data set."""

import json

import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.data.filled import Filled, add_labels, read_filled
from w2s_data.data.pairs import PAIR_CLASSES
from w2s_data.errors import ColumnError, InputError

CLASSES = ("neg", "pos")


@pytest.fixture
def dataset():
    split = ["labelled", "labelled", "pool", "pool", "pool", "test"]
    table = pd.DataFrame(
        {
            "id": list("abcdef"),
            "text": [f"item {i}" for i in range(6)],
            "mood": ["neg", "pos", None, None, "pos", "neg"],
            "split": split,
        }
    )
    return load_dataset(table, id="id", label="mood", split="split")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_is_read_in_every_format_it_may_be_saved_in(tmp_path, suffix):
    frame = pd.DataFrame({"id": ["x", "y", "z"], "label": [" POS", None, "neg"], "why": "doubt"})
    path = tmp_path / f"filled.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",", encoding="utf-8-sig")
    found = read_filled(path, CLASSES)
    assert found == Filled(path.name, {"x": "pos", "z": "neg"}, n_chosen=2)


def test_numbers_are_classes_by_their_value_and_never_by_their_order():
    frame = pd.DataFrame({"id": [1, 2, 3], "label": [1.0, None, 0.0]})
    assert read_filled(frame, ("0", "1")).labels == {"1": "1", "3": "0"}
    with pytest.raises(ColumnError, match="there is no class '1'; valid: 'neg', 'pos'"):
        read_filled(frame, CLASSES)


def test_first_is_short_for_a_preferred_first():
    frame = pd.DataFrame({"id": ["a", "b"], "label": ["first", "Second preferred"]})
    labels = read_filled(frame, PAIR_CLASSES).labels
    assert labels == {"a": "first preferred", "b": "second preferred"}


def test_a_class_that_looks_like_a_missing_label_is_a_class():
    frame = pd.DataFrame({"id": ["a", "b"], "label": ["none", ""]})
    assert read_filled(frame, ("none", "some")).labels == {"a": "none"}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"id": ["a"], "mood": ["pos"]}, "there is no column 'label'"),
        ({"text": ["a"], "label": ["pos"]}, "there is no column 'id'"),
        ({"id": ["a", "b"], "label": ["pos", "negg"]}, "row 1: there is no class 'negg'; did you"),
        ({"id": ["a", "b"], "label": [None, ""]}, "no label filled in: .* in all 2 rows"),
        ({"id": ["a", None], "label": ["pos", "neg"]}, "'id' is empty in row 1, which"),
        ({"id": ["a", "a"], "label": ["pos", "neg"]}, "id 'a' twice, as 'pos' and as 'neg'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(frame, message):
    with pytest.raises(InputError, match=message):
        read_filled(pd.DataFrame(frame), CLASSES)


def test_rows_drawn_at_random_are_told_from_chosen_ones():
    why = ["drawn at random", "pos 60% or neg 40%", None, "neg 55% or pos 45%"]
    frame = pd.DataFrame({"id": list("abcd"), "label": ["pos", "neg", "neg", None], "why": why})
    found = read_filled(frame, CLASSES)
    assert (found.n_chosen, found.drawn) == (1, {"a"})
    assert read_filled(frame.drop(columns="why"), CLASSES).n_chosen == 0


def test_an_id_may_recur_with_the_same_label():
    frame = pd.DataFrame({"id": ["a", "a", "a"], "label": ["pos", None, "Pos"]})
    assert read_filled(frame, CLASSES).labels == {"a": "pos"}


def test_labelled_rows_leave_the_pool_and_the_others_stay(dataset):
    more, new = add_labels(dataset, Filled("f.csv", {"c": "pos", "e": "pos", "a": "neg"}))
    assert new == {"c": "pos", "e": "pos"}  # `a` had this label
    assert more.splits.tolist() == [
        *("labelled", "labelled", "labelled", "pool", "labelled", "test")
    ]
    assert more.labels.tolist() == [0, 1, 1, -1, 1, 0]
    assert dataset.splits.tolist().count("labelled") == 2
    assert more.fingerprint != dataset.fingerprint
    again, nothing = add_labels(more, Filled("f.csv", {"c": "pos"}))
    assert again is more
    assert nothing == {}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"q": "pos", "z": "neg"}, r"the run has no id 'q' \(and 1 more\)"),
        ({"a": "pos"}, "labels id 'a' as 'pos', and it was labelled 'neg' before"),
        ({"e": "neg"}, "labels id 'e' as 'neg', and it was labelled 'pos' before"),
        ({"f": "neg"}, "id 'f' is in the test split"),
    ],
)
def test_labels_that_do_not_fit_are_refused(dataset, labels, message):
    with pytest.raises(InputError, match=message):
        add_labels(dataset, Filled("f.csv", labels))
