"""Probabilities as they come: rounded, in lists, missing, and numbers that are none."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_data import load_dataset
from w2s_data.data.meaning.probabilities import as_distributions
from w2s_data.errors import ColumnError, ProbabilityError

N = 120


@pytest.fixture(scope="module")
def second() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.01, 0.99, N)


@pytest.fixture(scope="module")
def frame(second) -> pd.DataFrame:
    gold = np.array(["neg", "pos"])[(second > 0.5).astype(int)]
    return pd.DataFrame({"text": [f"t{i}" for i in range(N)], "y": gold})


def load(frame, columns, **more):
    return load_dataset(frame, label="y", weak_columns=columns, **more)


# ---------------------------------------------------------------------------------------- rounding


@pytest.mark.parametrize(("n_classes", "decimals"), [(2, 1), (3, 2), (77, 2), (77, 3), (150, 3)])
def test_rounded_probabilities_are_divided_by_their_sum(n_classes, decimals):
    exact = np.random.default_rng(0).dirichlet(np.full(n_classes, 0.1), 400)
    rounded = np.round(exact, decimals)
    found = as_distributions(rounded, "these")
    assert found.proba.sum(axis=1) == pytest.approx(np.ones(400), abs=1e-12)
    total = rounded.sum(axis=1, keepdims=True)
    assert found.proba == pytest.approx(rounded / total)
    if np.abs(total - 1).max() > 1e-3:
        assert "these are rounded and sum to" in found.rounding


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_rounding_never_refuses_and_moves_little(n_classes, decimals, seed):
    exact = np.random.default_rng(seed).dirichlet(np.ones(n_classes), 40)
    rounded = np.round(exact, decimals)
    total = rounded.sum(axis=1)
    if n_classes * 0.5 * 0.1**decimals > 0.5:  # a sum that says nothing
        return
    found = as_distributions(rounded, "these")
    assert np.abs(found.proba - rounded / total[:, None]).max() < 1e-9


def test_exact_probabilities_are_left_alone(second):
    values = np.column_stack([1 - second, second])
    found = as_distributions(values, "these")
    assert found.proba == pytest.approx(values, abs=1e-15)
    assert found.rounding == ""


def test_a_sum_that_rounding_does_not_explain_is_refused():
    values = np.array([[0.5, 0.5], [0.25, 0.75], [0.25, 0.65]])
    with pytest.raises(ProbabilityError, match=r"must sum to 1 in every row; row 2 does not"):
        as_distributions(values, "these")
    with pytest.raises(ProbabilityError, match="independent scores, divide each row by its sum"):
        as_distributions(np.random.default_rng(0).random((50, 3)), "these")


# ------------------------------------------------------------------------------- no probabilities


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: 100 * p, "sum to 100: they are percent; divide them by 100"),
        (np.log, "logarithms of probabilities; apply exp"),
        (lambda p: 3 * np.log(p / (1 - p)), "look like logits; apply softmax"),
        (lambda p: 100 * np.round(p, 2), "percent"),
    ],
)
def test_numbers_that_are_no_probabilities(frame, second, change, message):
    columns = frame.assign(neg=change(1 - second), pos=change(second))
    with pytest.raises(ProbabilityError, match=message):
        load(columns, ["neg", "pos"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: 100 * p, "if these are percent, divide them by 100"),
        (lambda p: np.log(p / (1 - p)), "look like logits; apply the sigmoid"),
        (lambda p: 2 * p - 1, "look like logits; apply the sigmoid"),
        (lambda p: [f"{100 * q:.0f}%" for q in p], r"holds percent such as '\d+%'"),
        (lambda p: [f"{q:.3f}".replace(".", ",") for q in p], "holds decimal commas"),
        (lambda p: p * np.nan, "no row holds a number"),
    ],
)
def test_a_single_column_that_holds_no_probabilities(frame, second, change, message):
    with pytest.raises(ProbabilityError, match=message):
        load(frame.assign(pos=change(second)), "pos")


# ----------------------------------------------------------------------------------------- missing


@pytest.mark.parametrize("marker", [np.nan, None, "", "NULL", "nan", "-"])
def test_empty_rows_abstain(frame, second, marker):
    columns = frame.assign(neg=(1 - second).astype(object), pos=second.astype(object))
    columns.loc[5:9, ["neg", "pos"]] = marker
    data = load(columns, ["neg", "pos"])
    assert (data.weak_proba[5:10] == 0.5).all()
    assert data.weak_proba[10:, 1] == pytest.approx(second[10:])
    expected = "abstain, with equal probabilities of all classes"
    assert data.notes[1] == f"weak columns 'neg', 'pos': 5 empty rows {expected}"
    single = load(columns, "pos")
    assert (single.weak_proba[5:10] == 0.5).all()


def test_bad_rows_are_named_by_their_number_in_the_table(frame, second):
    columns = frame.assign(neg=1 - second, pos=second)
    columns.loc[5:9, ["neg", "pos"]] = np.nan
    columns.loc[20, "neg"] = 3.0
    with pytest.raises(ProbabilityError, match="in row 20"):
        load(columns, ["neg", "pos"])


def test_rows_that_are_empty_in_part_are_refused(frame, second):
    columns = frame.assign(neg=1 - second, pos=second)
    columns.loc[[5, 9], "neg"] = np.nan
    with pytest.raises(ProbabilityError, match="lack some of their numbers in rows 5, 9"):
        load(columns, ["neg", "pos"])


# ------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    "cell",
    [
        lambda p: [1 - p, p],
        lambda p: np.array([1 - p, p], dtype=np.float32),
        lambda p: (1 - p, p),
        lambda p: json.dumps([1 - p, p]),
        lambda p: str((1 - p, p)),
        lambda p: str(np.array([1 - p, p])),
    ],
    ids=["list", "array", "tuple", "json", "tuple text", "array text"],
)
def test_a_column_of_lists(frame, second, cell):
    data = load(frame.assign(soft_label=[cell(float(p)) for p in second]), "soft_label")
    assert data.weak_proba[:, 1] == pytest.approx(second, abs=1e-6)
    assert data.notes == (
        "weak column soft_label: lists of class neg, pos by position; pass class_names to change "
        "it",
    )


@pytest.mark.parametrize(
    "cell",
    [
        lambda p: {"POS": p, "NEG": 1 - p},
        lambda p: json.dumps({"pos": p, "neg": 1 - p}),
        lambda p: [{"label": "POSITIVE", "score": p}, {"label": "NEGATIVE", "score": 1 - p}],
        lambda p: [{"label": "LABEL_1", "score": p}, {"label": "LABEL_0", "score": 1 - p}],
    ],
    ids=["mapping", "json", "labels and scores", "numbered labels"],
)
def test_a_column_of_mappings_is_matched_by_name(frame, second, cell):
    data = load(frame.assign(soft=[cell(float(p)) for p in second]), ["soft"])
    assert data.weak_proba[:, 1] == pytest.approx(second)


def test_lists_in_another_order_are_warned_of(frame, second):
    columns = frame.assign(soft_label=[[p, 1 - p] for p in second])
    data = load(columns, "soft_label")
    assert data.notes[1].endswith("if so pass class_names=['pos', 'neg']")
    right = load(columns, "soft_label", class_names=["pos", "neg"])
    assert right.weak_proba[:, 0] == pytest.approx(second)
    assert len(right.notes) == 1


def test_lists_with_empty_cells_and_no_labels(frame, second):
    cells = [[1 - p, p] for p in second]
    cells[3] = None
    data = load_dataset(frame[["text"]].assign(soft=cells), weak_columns="soft")
    assert data.class_names == ("0", "1")
    assert data.weak_proba[3].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[0.2, 0.3, 0.5]] * N, "lists of 3 numbers, but there are 2 classes: 'neg', 'pos'"),
        ([[0.2, 0.8]] * (N - 1) + [[1.0]], r"lists of one length \(2\); row 119 do not"),
        ([["a", "b"]] * N, "must hold lists of numbers"),
        ([{"neg": 0.2, "pos": 0.8}] * (N - 1) + [{"neg": 1.0}], "the same keys, 'neg', 'pos'"),
        ([[0.2, 0.8]] * (N - 1) + [0.5], "row 119 do not"),
    ],
)
def test_lists_that_cannot_be_used(frame, cells, message):
    with pytest.raises((ColumnError, ProbabilityError), match=message):
        load(frame.assign(soft=cells), "soft")
