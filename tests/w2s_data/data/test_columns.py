from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_data import load_dataset
from w2s_data.data.columns import as_names, distinct_names, guess_kind
from w2s_data.data.meaning.classes import sort_class_names
from w2s_data.errors import ColumnError, FeatureError, InputError, ProbabilityError

N = 30


def table(**columns) -> pd.DataFrame:
    base = {"text": [f"t{i}" for i in range(N)], "y": ["b", "a", "c"] * (N // 3)}
    return pd.DataFrame({**base, **columns})


def proba(seed: int = 0, n_classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(n_classes), size=N)


def three(p: np.ndarray, prefix: str = "p") -> dict[str, np.ndarray]:
    return {f"{prefix}{c}": p[:, c] for c in range(3)}


def test_one_weak_model():
    data = load_dataset(table(**three(proba())), label="y", weak_columns=["p0", "p1", "p2"])
    assert data.class_names == ("a", "b", "c")
    assert data.weak_proba == pytest.approx(proba())
    assert data.weak_names == ()


def test_columns_named_after_the_classes_need_no_order():
    p = proba()
    data = load_dataset(
        table(a=p[:, 0], b=p[:, 1], c=p[:, 2]), label="y", weak_columns=["c", "a", "b"]
    )
    assert data.weak_proba == pytest.approx(p)


def test_several_weak_models():
    columns = three(proba(0), "p") | three(proba(1), "q")
    names = {"lexicon": ["p0", "p1", "p2"], "crowd": ["q0", "q1", "q2"]}
    data = load_dataset(table(**columns), label="y", weak_columns=names)
    assert data.weak_proba.shape == (N, 2, 3)
    assert data.weak_proba[:, 1] == pytest.approx(proba(1))
    assert data.weak_names == ("lexicon", "crowd")
    with pytest.raises(ColumnError, match="names no weak model"):
        load_dataset(table(**columns), label="y", weak_columns={})


def test_one_column_is_the_second_class():
    p = np.linspace(0, 1, N)
    data = load_dataset(table(y=["n", "p"] * (N // 2), score=p), label="y", weak_columns="score")
    assert data.weak_proba == pytest.approx(np.column_stack([1 - p, p]))


def test_weak_columns_name_the_classes_where_there_are_no_labels():
    columns = three(proba())
    data = load_dataset(table(**columns), weak_columns=list(columns))
    assert data.class_names == ("0", "1", "2")
    spam = load_dataset(table(spam=np.full(N, 0.2)), weak_columns="spam")
    assert spam.class_names == ("not spam", "spam")


def test_weak_columns_from_a_file_of_strings(tmp_path):
    table(**three(proba())).to_csv(tmp_path / "t.csv", index=False)
    data = load_dataset(tmp_path / "t.csv", label="y", weak_columns=["p0", "p1", "p2"])
    assert data.weak_proba == pytest.approx(proba())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([np.nan, 0.5, 0.5], "'p0', 'p1', 'p2' lack some of their numbers in rows 2, 4"),
        ([np.inf, 0.5, 0.5], "NaN or infinite values in rows 2, 4"),
        ([1.5, -0.5, 0], r"leaves \[0, 1\] in rows 2, 4"),
        ([0.1, 0.1, 0.1], r"must sum to 1 in every row; rows 2, 4 do not \(row 2 sums to 0.3\)"),
    ],
)
def test_probabilities_that_are_none(row, message):
    p = proba()
    p[[2, 4]] = row
    with pytest.raises(ProbabilityError, match=message):
        load_dataset(table(**three(p)), label="y", weak_columns=["p0", "p1", "p2"])


def test_probabilities_that_are_words():
    columns = three(proba()) | {"p1": ["high"] * N}
    with pytest.raises(ColumnError, match=r"'p1' must hold numbers; rows 0.*holds 'high'"):
        load_dataset(table(**columns), label="y", weak_columns=["p0", "p1", "p2"])


def test_as_many_columns_as_classes():
    columns = three(proba())
    with pytest.raises(ProbabilityError, match="'p0', 'p1' are 2, but there are 3 classes"):
        load_dataset(table(**columns), label="y", weak_columns=["p0", "p1"])


def test_hard_weak_labels():
    weak, level = ["a", "b", "c"] * (N // 3), np.linspace(1 / 3, 1, N)
    data = load_dataset(table(w=weak, c=level), label="y", weak_label="w", weak_confidence="c")
    assert data.weak_proba.sum(axis=1) == pytest.approx(np.ones(N))
    assert data.weak_proba[np.arange(N), [0, 1, 2] * (N // 3)] == pytest.approx(level)
    assert data.weak_proba[1, 0] == pytest.approx((1 - level[1]) / 2)
    sure = load_dataset(table(w=weak), label="y", weak_label="w")
    assert set(np.unique(sure.weak_proba)) == {0.0, 1.0}


def test_weak_labels_of_more_classes_need_their_names():
    weak = table(w=["d", "a", "b"] * (N // 3))
    with pytest.raises(ColumnError, match=r"no class 'd'.*the column holds 'd', 'a', 'b'.*map"):
        load_dataset(weak, label="y", weak_label="w")
    data = load_dataset(weak, label="y", weak_label="w", class_names=["a", "b", "c", "d"])
    assert data.weak_proba.argmax(axis=1)[:3].tolist() == [3, 0, 1]
    assert load_dataset(table(w=["2", "10", "2"] * 10), weak_label="w").class_names == ("2", "10")


@pytest.mark.parametrize("level", [0.2, 1.2, np.nan, -1])
def test_weak_confidence_out_of_range(level):
    levels = np.full(N, 0.5)
    levels[3] = level
    with pytest.raises(ProbabilityError, match=r"'c' must lie in \[1/3, 1\]; row 3"):
        load_dataset(
            table(w=["a", "b", "c"] * 10, c=levels), label="y", weak_label="w", weak_confidence="c"
        )


def test_weak_labels_that_cannot_be_used():
    with pytest.raises(ColumnError, match="no class 'd'"):
        load_dataset(table(w=["d"] * N), label="y", weak_label="w", class_names=["a", "b", "c"])
    with pytest.raises(ProbabilityError, match="two classes or more"):
        load_dataset(table(w=["a"] * N), weak_label="w")


@given(st.sets(st.integers(-1000, 1000), min_size=1))
def test_numeric_names_sort_by_value(values):
    assert sort_class_names(str(v) for v in values) == tuple(str(v) for v in sorted(values))


def test_names_like_nan_sort_as_words():
    assert sort_class_names(["nan", "1"]) == ("1", "nan")
    assert sort_class_names(["inf", "10", "9"]) == ("9", "10", "inf")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, np.nan], ["1", None]),
        (["a", ""], ["a", None]),
        ([True, False], ["True", "False"]),
        (pd.to_datetime(["2020-01-01"]), ["2020-01-01 00:00:00"]),
    ],
)
def test_as_names(values, names):
    assert as_names(pd.Series(values)).tolist() == names


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"], "text"),
        ([None, "b"], "text"),
        ([b"\x89PNG"], "image"),
        (["a.png", "b.JPG"], "image"),
        (["a.png", "my cat"], "text"),
        ([{"bytes": b"x", "path": None}], "image"),
        ([[1.0, 2.0]], "features"),
        ([np.zeros(3)], "features"),
        ([1.5, 2.5], "features"),
        ([True, False], "text"),
        ([None], "text"),
    ],
)
def test_kind_is_guessed(values, kind):
    assert guess_kind(pd.Series(values)) == kind


def test_texts_stored_as_bytes_are_texts():
    data = load_dataset(pd.DataFrame({"text": ["caf\u00e9".encode(), b"two"]}))
    assert data.kind == "text"
    assert data.items == ["caf\u00e9", "two"]


def test_lists_of_texts_are_refused():
    with pytest.raises(FeatureError, match="holds lists of texts in rows 0, 1; join each list"):
        load_dataset(pd.DataFrame({"text": [["a", "b"], ["c"]]}))


def test_several_names_in_a_row_are_refused_as_tuples_too():
    for several in ([["a", "b"], ["a"]], [("a", "b"), ("a",)]):
        with pytest.raises(ColumnError, match="it holds lists or other objects"):
            distinct_names(pd.Series(several, name="tags"))


def test_columns_without_a_header_are_refused_with_what_to_do():
    data = pd.DataFrame({0: list("abcdefghijklmnopqrst"), 1: ["x", "y"] * 10})
    for roles in ({"item": 0, "label": 1}, {"label": 1}):
        with pytest.raises(InputError, match=r"must be the name of a column; got \d: rename"):
            load_dataset(data, **roles)
    assert load_dataset(data.rename(columns=str), item="0", label="1").class_names == ("x", "y")
