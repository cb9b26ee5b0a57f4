"""Labels that are values: recognised, read, and refused by their rows."""

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.errors import ColumnError, InputError, SplitError


@pytest.fixture
def table(rng):
    y = 3 * rng.normal(size=200) + 10.25
    return pd.DataFrame(
        {
            "text": [f"text {i}" for i in range(200)],
            "y": y,
            "old": np.where(np.arange(200) % 10 == 0, np.nan, y + rng.normal(size=200)),
            "new": y,
            "old_se": 0.5,
            "new_se": np.nan,
        }
    )


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("labels", [np.linspace(-3, 3, 5001)[1:], np.arange(300) % 10 / 2])
def test_numbers_with_fractions_are_values_and_a_note_says_so(labels, as_text):
    labels = [str(label) for label in labels] if as_text else labels
    data = load_dataset(
        pd.DataFrame({"text": [f"t{i}" for i in range(len(labels))], "y": labels}), label="y"
    )
    assert data.task == "regression"
    assert data.class_names == ()
    np.testing.assert_array_equal(data.targets, np.asarray(labels, dtype=np.float64))
    n = len(set(map(str, labels)))
    assert any(
        f"{n:,} different numbers are values" in note and "task=" in note for note in data.notes
    )


def test_whole_numbers_are_values_where_the_caller_says_so(table):
    table["y"] = np.arange(200)
    with pytest.raises(ColumnError, match="or task='regression' if they are values"):
        load_dataset(table, label="y")
    data = load_dataset(table, label="y", task="regression")
    np.testing.assert_array_equal(data.targets, np.arange(200.0))


def test_values_and_classes_are_never_taken_for_each_other(table):
    data = load_dataset(table, label="y")
    with pytest.raises(InputError, match="the labels are values: use targets"):
        data.labels  # noqa: B018
    classes = load_dataset(table.assign(y=np.arange(200) % 2), label="y")
    with pytest.raises(InputError, match="the labels are classes: use labels"):
        classes.targets  # noqa: B018
    assert classes.is_labelled.all()


def test_missing_labels_join_the_pool(table):
    table.loc[[3, 5], "y"] = np.nan
    data = load_dataset(
        table.astype({"y": object}).replace({"y": {table["y"][7]: "n/a"}}), label="y"
    )
    assert np.flatnonzero(~data.is_labelled).tolist() == [3, 5, 7]
    assert set(data.splits[[3, 5, 7]]) == {"pool"}
    assert any(
        "1 rows have no label" in note or "3 rows have no label" in note for note in data.notes
    )


def test_splits_have_their_share_of_each_tenth_of_the_values(table):
    data = load_dataset(table, label="y", split_sizes={"labelled": 0.25, "test": 0.25})
    tenths = pd.qcut(data.targets, 10, labels=False)
    for split, share in (("labelled", 5), ("test", 5), ("pool", 10)):
        counts = np.bincount(tenths[data.rows(split)], minlength=10)
        assert np.abs(counts - share).max() <= 2
    again = load_dataset(table, label="y", split_sizes={"labelled": 0.25, "test": 0.25})
    assert (again.splits == data.splits).all()


def test_weak_values_and_their_errors_come_back_from_a_run(table, tmp_path):
    data = load_dataset(
        table, label="y", weak_values={"old": "old", "b": "new"}, weak_errors=["old_se", "new_se"]
    )
    assert data.weak_names == ("old", "b")
    assert np.isnan(data.weak_values[::10, 0]).all()
    Run.create(tmp_path / "run", data)
    stored = Run.open(tmp_path / "run").dataset()
    assert (stored.task, stored.fingerprint) == ("regression", data.fingerprint)
    np.testing.assert_array_equal(stored.weak_values, data.weak_values)
    np.testing.assert_array_equal(stored.weak_errors, data.weak_errors)
    np.testing.assert_array_equal(stored.targets, data.targets)
    part = stored.subset([4, 2])
    np.testing.assert_array_equal(part.weak_values[:, 1], table["new"][[4, 2]])
    assert list(part.to_frame().columns)[-4:] == ["old", "b", "old_error", "b_error"]


def test_rows_without_an_error_are_counted_and_markers_in_words_are_named(table):
    table["old_se"] = table["old_se"].astype(object)
    table.loc[[0, 1, 2], "old_se"] = [None, "n/a", None]  # row 0 has no value either
    data = load_dataset(table, label="y", weak_values="old", weak_errors="old_se")
    assert np.flatnonzero(np.isnan(data.weak_errors[:, 0])).tolist() == [0, 1, 2]
    told = "weak error column 'old_se': 2 rows with a value, but without an error"
    assert told in data.notes
    assert any("3 rows have no error ('n/a' 1, empty 2)" in note for note in data.notes)
    assert "weak value column 'old': 20 empty rows abstain" in data.notes


@pytest.mark.parametrize("code", [-1, -99, -999.0, "-1"])
def test_a_code_of_a_missing_label_is_no_error(table, code):
    table["old_se"] = table["old_se"].astype(object)
    table.loc[7, "old_se"] = code
    with pytest.raises(ColumnError, match=r"errors >= 0; row 7 does not \(row 7 holds -"):
        load_dataset(table, label="y", weak_values="old", weak_errors="old_se")


def test_the_fingerprint_follows_values(table):
    data = load_dataset(table, label="y", weak_values="old")
    changed = table.copy()
    changed.loc[3, "y"] += 1e-9
    assert load_dataset(changed, label="y", weak_values="old").fingerprint != data.fingerprint
    changed = table.copy()
    changed.loc[3, "old"] += 1e-9
    assert load_dataset(changed, label="y", weak_values="old").fingerprint != data.fingerprint


def test_shows_the_spread_by_split(table):
    shown = repr(load_dataset(table, label="y", weak_values="old"))
    assert "200 items (text), values" in shown
    assert all(word in shown for word in ("mean", "sd", "25 %", "weak values: (200, 1) (old)"))


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"y": 5.5}, {}, "single value 5.5"),
        ({"y": ["inf"] + ["0.5"] * 198 + ["-inf"]}, {}, "infinite in rows 0, 199"),
        ({"y": ["low", "high"] * 100}, {"task": "regression"}, "holds words, such as"),
        ({"y": ["1.5"] * 199 + ["1,5"]}, {"task": "regression"}, "row 199 holds '1,5': write 1.5"),
        ({"y": ["1.5"] * 199 + ["3 kg"]}, {"task": "regression"}, "without units"),
        ({"y": [0.5] + [np.nan] * 199}, {}, "single value 0.5"),
        ({}, {"weak_values": ["old", "old"]}, "must name different columns"),
        ({}, {"weak_values": ["text"]}, "'text' must hold numbers"),
        ({"old": np.nan}, {"weak_values": ["old"]}, "'old' holds no number"),
        ({}, {"weak_values": "old", "weak_errors": ["old_se", "new_se"]}, "one column for each"),
        (
            {"old_se": -0.5},
            {"weak_values": "old", "weak_errors": "old_se"},
            "errors >= 0; rows 0, 1",
        ),
        ({}, {"weak_errors": "old_se"}, "weak_errors requires weak_values"),
        ({}, {"weak_values": "old", "weak_label": "text"}, "weak_label is for classes"),
        ({}, {"weak_values": "old", "task": "classification"}, "is for classes"),
        ({}, {"weak_columns": ["old", "new"]}, "weak labels are classes"),
    ],
)
def test_refuses_what_is_no_value(table, change, arguments, message):
    with pytest.raises((ColumnError, InputError, SplitError), match=message):
        load_dataset(table.assign(**change), label="y", **arguments)
