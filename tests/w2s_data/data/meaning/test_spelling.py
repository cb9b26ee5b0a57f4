"""Spellings of labels: one class, no label, numbers that are no classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_data import load_dataset
from w2s_data.data.meaning.classes import sort_class_names
from w2s_data.data.meaning.rules import key_of
from w2s_data.data.meaning.table import ClassTable
from w2s_data.errors import ColumnError, InputError

N = 200
MARKERS = ["", " ", "NULL", "nan", "None", "N/A", "NA", "?", "-", "null", "<NA>", "-1", r"\N"]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, N)


@pytest.fixture(scope="module")
def weak(truth) -> np.ndarray:
    return np.where(np.random.default_rng(1).random(N) < 0.8, truth, 1 - truth)


def load(y, w=None, **more):
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(len(y))], "y": y})
    if w is not None:
        frame["w"] = w
        more["weak_label"] = "w"
    return load_dataset(frame, label="y", **more)


def hits(data) -> np.ndarray:
    return data.weak_proba[np.arange(len(data)), data.labels]


# --------------------------------------------------------------------------------------- one class


@pytest.mark.parametrize(
    ("gold", "weakly", "names"),
    [
        (["0.0", "1.0"], ["0", "1"], ("0", "1")),
        (["0", "1"], ["0.0", "1.00"], ("0", "1")),
        ([0.0, 1.0], ["0", "1"], ("0", "1")),
        ([0, 1], [False, True], ("0", "1")),
        ([False, True], [0, 1], ("False", "True")),
        (["true", "false"], ["TRUE", "FALSE"], ("false", "true")),
        (["neg", "pos"], ["Neg ", "POS"], ("neg", "pos")),
        (["not spam", "spam"], ["Not  Spam", " spam"], ("not spam", "spam")),
        (["non-toxic", "toxic"], ["non_toxic", "Toxic"], ("non-toxic", "toxic")),
        (["01", "02"], [1, 2], ("01", "02")),
        ([1, 2], ["01", "02"], ("1", "2")),
        (["1e3", "2e3"], [1000, 2000], ("1000", "2000")),
        ([-1, 1], ["-1.0", "+1"], ("-1", "1")),
        (["caf\u00e9", "tea"], ["cafe\u0301", "tea"], ("caf\u00e9", "tea")),
        (["neg", "pos"], ["\ufeffneg", "pos\u200b"], ("neg", "pos")),
    ],
)
def test_spellings_of_a_class_are_one(truth, weak, gold, weakly, names):
    data = load(np.array(gold, dtype=object)[truth], np.array(weakly, dtype=object)[weak])
    assert data.class_names == names
    assert hits(data).mean() == (truth == weak).mean()
    assert not any("warning" in note for note in data.notes)


def test_an_empty_cell_makes_floats_of_gold(truth, weak):
    gold = truth.astype(float)
    gold[:9] = np.nan
    data = load(gold, weak.astype(str))
    assert data.class_names == ("0", "1")
    assert hits(data)[9:].mean() == (truth == weak)[9:].mean()


def test_gold_spellings_become_one_and_are_said(truth):
    spelled = np.array(["neg", "pos"], dtype=object)[truth]
    spelled[::10] = np.array(["Neg ", "POS"], dtype=object)[truth[::10]]
    data = load(spelled)
    assert data.class_names == ("neg", "pos")
    assert (data.labels == truth).all()
    assert len(data.notes) == 1
    assert "'pos', 'POS' as 'pos'" in data.notes[0] or "'POS', 'pos' as 'pos'" in data.notes[0]
    apart = load(spelled, class_names=["neg", "pos", "Neg", "POS"])
    assert (np.bincount(apart.labels, minlength=4) > 0).all()


def test_a_leading_zero_is_part_of_a_name_where_both_occur():
    data = load(["1", "01", "2", "02"] * 10)
    assert data.class_names == ("01", "1", "02", "2")


def test_long_numbers_are_exact():
    data = load(["12345678901234567890", "12345678901234567891"] * 10, task="classification")
    assert len(data.class_names) == 2


def test_numbers_of_thousands_of_digits_are_names_like_any_other():
    long = ["9" * 5000, "1" + "0" * 5000, "a9"]
    assert load(long * 10).class_names == ("9" * 5000, "1" + "0" * 5000, "a9")


def test_a_class_to_map_to_is_the_probable_one(truth, weak):
    names = np.array(["neg", "pos"])[truth]
    for spelled, example in (
        (weak, r"map={'0': 'neg'}|map={'1': 'pos'}"),
        (np.array(["NEGATIVE", "POSITIVE"])[weak], r"'NEGATIVE': 'neg'|'POSITIVE': 'pos'"),
        (np.array(["spam", "neg"])[weak], r"map={'spam': ''} if it means no label"),
    ):
        with pytest.raises(ColumnError, match=example):
            load(names, spelled)


def test_one_column_is_not_gold_and_weak_at_once(truth):
    table = pd.DataFrame({"text": [f"t{i}" for i in range(N)], "y": truth, "v": truth + 0.5})
    with pytest.raises(InputError, match="'y' cannot hold both the gold labels and the weak ones"):
        load_dataset(table, label="y", weak_label="y")
    with pytest.raises(InputError, match="'v' cannot hold both"):
        load_dataset(table, label="v", weak_values="v")


def test_ids_beside_names_are_refused(truth, weak):
    names = np.array(["neg", "pos"])[truth]
    with pytest.raises(
        ColumnError, match=r"no class '1'; valid: 'neg', 'pos'; the column holds '1', '0'"
    ):
        load(names, weak)
    for rules in ({"map": {0: "neg", "1": "pos"}}, {"class_names": ["neg", "pos"]}):
        data = load(names, weak, **rules)
        assert data.class_names == ("neg", "pos")
        assert hits(data).mean() == (truth == weak).mean()
    with pytest.raises(ColumnError, match="no class '2'"):
        load(names, weak + 1, class_names=["neg", "pos"])
    with pytest.raises(ColumnError, match="no class 'pos'"):
        load(truth, np.array(["neg", "pos"])[weak])


def test_numbers_count_given_classes_and_are_said(truth, weak):
    data = load(truth, np.array(["neg", "pos"])[weak], class_names=["neg", "pos"])
    assert (data.labels == truth).all()
    assert hits(data).mean() == (truth == weak).mean()
    assert data.notes == (
        "column 'y': numbers count the classes in their order, 0 'neg', 1 'pos'; pass map to "
        "change it",
    )


def test_codes_of_the_format(truth, weak, tmp_path):
    columns = {"text": [f"t{i}" for i in range(N)], "y": truth, "w": weak, "turned": 1 - weak}
    kinds = {"y": ["neg", "pos"], "turned": ["pos", "neg"]}
    features = {name: {"names": names, "_type": "ClassLabel"} for name, names in kinds.items()}
    stored = pa.table(columns).replace_schema_metadata(
        {"huggingface": str({"info": {"features": features}}).replace("'", '"')}
    )
    pyarrow.parquet.write_table(stored, tmp_path / "t.parquet")
    for column in ("w", "turned"):
        data = load_dataset(tmp_path / "t.parquet", label="y", weak_label=column)
        assert data.class_names == ("neg", "pos")
        assert hits(data).mean() == (truth == weak).mean()


def test_map_of_one_column(truth, weak):
    data = load(truth, 1 - weak)
    assert data.notes[-1].endswith("if so pass map={'w:0': '1', 'w:1': '0'}")
    turned = load(truth, 1 - weak, map={"w:0": 1, "w:1": 0})
    assert hits(turned).mean() == (truth == weak).mean()
    assert turned.notes == ()
    renamed = load(truth, weak, map={"0": "no", 1.0: "yes"})
    assert renamed.class_names == ("no", "yes")
    dropped = load(np.where(np.arange(N) < 9, 7, truth), map={7: ""})
    assert dropped.class_names == ("0", "1")
    assert (dropped.labels[:9] == -1).all()


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=20, unique=True), st.data())
@settings(max_examples=50, deadline=None)
def test_a_spelling_of_a_number_is_its_class(values, data):
    names = sort_class_names(map(str, values))
    value = data.draw(st.sampled_from(values))
    spelling = data.draw(st.sampled_from([f"{value}", f"{value}.0", f" {value} ", f"{value}.00"]))
    assert ClassTable(names).find([spelling]) == [names.index(str(value))]


@given(st.text(max_size=8))
def test_case_and_blanks_never_tell_spellings_apart(text):
    assert key_of(f" {text} ") == key_of(text)


# -------------------------------------------------------------------------------------- no label


@pytest.mark.parametrize("marker", [*MARKERS, None, np.nan, pd.NA, pd.NaT, -1, "-100"])
def test_markers_of_a_missing_label(truth, weak, marker):
    gold, weakly = truth.astype(object), weak.astype(object)
    gold[:10], weakly[20:35] = marker, marker
    data = load(gold, weakly)
    assert data.class_names == ("0", "1")
    assert (data.labels[:10] == -1).all()
    assert (data.labels[10:] == truth[10:]).all()
    assert (data.weak_proba[20:35] == 0.5).all()
    voted = np.r_[10:20, 35:N]
    assert hits(data)[voted].mean() == (truth == weak)[voted].mean()
    if isinstance(marker, str) and marker:
        assert data.notes[0].startswith(f"column 'y': 10 rows have no label ({marker!r} 10)")
    assert sum("15 " in note and "abstain" in note for note in data.notes) == 1


def test_markers_from_a_file(tmp_path, truth):
    gold = truth.astype(str).astype(object)
    gold[:40] = np.repeat(["NULL", "-1", "", "?"], 10)
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(N)], "y": gold})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = load_dataset(tmp_path / "t.csv", label="y")
    assert data.class_names == ("0", "1")
    assert (data.labels[:40] == -1).all()
    assert data.notes == (
        "column 'y': 40 rows have no label ('NULL' 10, '-1' 10, '?' 10, empty 10); pass missing, "
        "a list of what stands for no label, to change it",
    )


def test_the_markers_can_be_given(truth):
    gold = np.array(["neg", "pos"], dtype=object)[truth]
    gold[:10], gold[10:20] = "none", "unsure"
    assert load(gold).class_names == ("neg", "pos", "unsure")
    assert load(gold, missing=["Unsure"]).class_names == ("neg", "none", "pos")
    assert load(gold, missing=[]).class_names == ("neg", "none", "pos", "unsure")
    numbers = np.where(np.arange(N) < 10, -1, truth)
    assert load(numbers, missing=[]).class_names == ("-1", "0", "1")
    assert load(np.where(np.arange(N) < 10, 9, truth), missing=[9]).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "more", "names"),
    [
        ([-1, 1], {}, ("-1", "1")),
        (["none", "toxic"], {}, ("none", "toxic")),
        (["a", "b", "none"], {"class_names": ["a", "b", "none"]}, ("a", "b", "none")),
        ([-1, 0, 1], {"class_names": [-1, 0, 1]}, ("-1", "0", "1")),
        ([-2, 0, 1], {}, ("-2", "0", "1")),
        ([-2, -1, 0, 1, 2], {}, ("-2", "-1", "0", "1", "2")),
        (["-1", "1", "a", "b"], {}, ("1", "-1", "a", "b")),
    ],
)
def test_markers_that_are_classes(labels, more, names):
    assert load(labels * 20, **more).class_names == names


@pytest.mark.parametrize("empty", [None, "", np.nan])
def test_minus_one_is_a_class_where_empty_cells_say_that_a_label_is_missing(empty):
    labels = [*[-1, 0, 1] * 20, *[empty] * 30]
    data = load(labels)
    assert data.class_names == ("-1", "0", "1")
    assert np.bincount(data.labels[:60]).tolist() == [20, 20, 20]
    assert (data.labels[60:] == -1).all()
    told = "column 'y': '-1' is a class; pass missing=['-1'] if it means no label"
    assert told in data.notes
    assert load(labels, missing=[-1]).class_names == ("0", "1")
    # A rare one marks missing labels too, and so does one of several markers.
    assert load([*labels, "N/A"]).class_names == ("0", "1")
    assert load([-1, *[0, 1] * 30, *[empty] * 30]).class_names == ("0", "1")
    assert load([*[-1, 0, 1, 2] * 20, empty]).class_names == ("0", "1", "2")


def test_minus_one_of_a_weak_model_abstains_beside_the_classes_0_and_1(truth, weak):
    said = weak.astype(object)
    said[:50], said[50:60] = -1, None
    data = load(truth, said)
    assert data.class_names == ("0", "1")
    assert (data.weak_proba[:60] == 0.5).all()


@pytest.mark.parametrize(
    ("labels", "columns"),
    [([-1, 0, 1], ["neg", "neu", "pos"]), (["none", "for", "against"], ["p_for", "p_a", "p_none"])],
)
def test_weak_columns_show_that_a_marker_is_a_class(labels, columns):
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(60)], "y": labels * 20})
    frame[columns] = 1 / 3
    assert len(load_dataset(frame, label="y", weak_columns=columns).class_names) == 3


def test_weak_labels_that_are_all_missing_are_refused(truth):
    with pytest.raises(ColumnError, match="weak label column 'w': no row has a label"):
        load(truth, [None] * N)


def test_a_labelling_function_that_votes_for_one_class(truth):
    data = load(truth, np.where(np.arange(N) % 2, -1, 1))
    assert (data.weak_proba[1::2] == 0.5).all()
    assert (data.weak_proba[::2, 1] == 1).all()


# -------------------------------------------------------------------------------- number labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(300), "300 different whole numbers in 300 rows"),
        (np.arange(600) % 73 + 18, "73 different whole numbers"),
        (np.arange(2000) % 101, "101 different whole numbers"),
        ([f"text {i}" for i in range(300)], "300 different texts in 300 rows"),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_numbers_and_texts_that_are_no_classes(labels, message, as_text):
    labels = [str(label) for label in labels] if as_text else labels
    with pytest.raises(ColumnError, match=message + ".*task='classification'"):
        load(labels)


@pytest.mark.parametrize("n_classes", [77, 150])
def test_many_classes_that_count(n_classes):
    data = load(np.arange(20 * n_classes) % n_classes)
    assert data.class_names == tuple(str(c) for c in range(n_classes))


def test_numbers_that_are_classes_all_the_same():
    assert len(load(np.arange(400) % 10 / 2, task="classification").class_names) == 10
    assert len(load(np.arange(400) % 100 * 7, task="classification").class_names) == 100
    named = [c / 2 for c in range(10)]
    assert load(np.arange(400) % 10 / 2, class_names=named).class_names[1] == "0.5"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"task": "regression", "class_names": ["a", "b"]},
            "class_names is for classes, task='regression' for values",
        ),
        ({"task": "ranking"}, "task must be None, 'classification' or 'regression'"),
        ({"class_names": "ab"}, "class_names must be a list; got 'ab'"),
        ({"missing": "?"}, r"missing must be a list; got '\?'"),
        ({"map": ["0=neg"]}, "map must be a mapping"),
        ({"map": {"3": "pos"}}, r"map: there is no label or weak column '3'"),
        ({"class_names": ["a", " a"]}, "repeat a name"),
    ],
)
def test_rules_that_cannot_be_used(truth, arguments, message):
    with pytest.raises(InputError, match=message):
        load(truth, **arguments)


def test_ids_beside_names_are_classes_with_a_note():
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(40)], "y": ["neg", "pos", 0, 1] * 10})
    data = load_dataset(frame, label="y")
    assert data.class_names == ("0", "1", "neg", "pos")
    assert "'0', '1' are classes beside 'neg', 'pos'; pass map" in data.notes[0]
    data = load_dataset(frame, label="y", map={"0": "neg", "1": "pos"})
    assert (data.class_names, data.notes) == (("neg", "pos"), ())


def test_an_example_has_its_own_classes():
    with pytest.raises(InputError, match="leave out 'class_names'"):
        load_dataset("example:digits", class_names=[*range(10)])


# ---------------------------------------------------------------------------- sources and groups


def test_blanks_do_not_make_two_sources():
    frame = pd.DataFrame(
        {"text": [f"t{i}" for i in range(40)], "s": ["web", "web ", "crowd", None] * 10}
    )
    data = load_dataset(frame, source="s")
    assert set(data.sources) == {"web", "crowd", "(missing)"}
    assert data.notes == ("column 's': names that differ by blanks are one, 'web', 'web '",)
