"""`fit_student`: the forms that labels come in, what is refused, and what is kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

from w2s_data.errors import (
    DegenerateDataWarning,
    FeatureError,
    FileFormatError,
    InputError,
    ProbabilityError,
    RunError,
)
from w2s_data.finetune import Student, fit_student
from w2s_data.finetune.settings import TrainingSettings
from w2s_data.finetune.weak_labels import as_weak_proba

N = 60
QUICK = {"l2": 1e-3, "epochs": 3, "batch_size": 32, "device": "cpu"}
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(N, 4))
POSITIVE = 1 / (1 + np.exp(-3 * FEATURES[:, 0]))
PROBA = np.column_stack([1 - POSITIVE, POSITIVE])


def fit(**changes):
    arguments = {"method": "naive", "features": FEATURES, "weak_proba": PROBA, "random_state": 0}
    return fit_student(**{**arguments, **QUICK, **changes})


def test_hard_labels_of_any_kind_equal_one_hot_ones():
    codes = PROBA.argmax(axis=1)
    names = np.array(["bad", "good"])[codes]
    expected = fit(weak_proba=np.eye(2)[codes]).seed_proba(FEATURES)
    for teachers, classes in ((codes, [0, 1]), (names, ["bad", "good"])):
        student = fit(weak_proba=teachers)
        assert student.classes.tolist() == classes
        np.testing.assert_array_equal(student.seed_proba(FEATURES), expected)
    assert set(fit(weak_proba=names, epochs=60).predict(FEATURES)) == {"bad", "good"}


def test_several_teachers_as_a_list_or_an_array():
    second = PROBA[:, ::-1] * 0.5 + PROBA * 0.5
    as_list, classes = as_weak_proba([PROBA, second])
    as_array, _ = as_weak_proba(np.stack([PROBA, second], axis=1))
    np.testing.assert_array_equal(as_list, as_array)
    mixed, _ = as_weak_proba([PROBA, PROBA.argmax(axis=1)])
    assert mixed.shape == as_list.shape == (N, 2, 2)
    assert classes.tolist() == [0, 1]


def test_lists_of_numbers_are_rows_of_one_teacher():
    assert as_weak_proba([[0.2, 0.8], [0.6, 0.4]])[0].shape == (2, 1, 2)


def test_class_names_order_the_columns():
    student = fit(weak_proba=np.array(["b", "a"] * (N // 2)), class_names=["b", "a", "c"])
    assert student.classes.tolist() == ["b", "a", "c"]
    assert student.seed_proba(FEATURES).shape == (1, N, 3)


@pytest.mark.parametrize(
    ("changes", "solver"),
    [
        ({}, None),
        ({"solver": "lbfgs"}, "lbfgs"),
        ({"epochs": 20, "solver": "auto"}, "auto"),
        ({"epochs": 20}, "adam"),
        ({"learning_rate": 1e-3}, "adam"),
        ({"batch_size": 128}, "adam"),
        ({"callbacks": [print]}, "adam"),
    ],
)
def test_steps_are_taken_where_these_were_asked_for(changes, solver):
    assert TrainingSettings(**changes).resolve(60).solver == solver


@pytest.mark.parametrize(
    ("method", "most", "steps"),
    [("naive", N, True), ("naive", N // 2, False), ("labelled_only", N, False)],
)
def test_many_rows_and_gold_labels_are_solved(monkeypatch, method, most, steps):
    monkeypatch.setattr("w2s_data.finetune.levels.head.SOLVED_ROWS", most)
    gold = np.where(np.arange(N) < 8, np.arange(N) % 2, -1)
    student = fit_student(method, FEATURES, PROBA, gold=gold, random_state=0)
    assert bool(len(student.history)) is steps


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "bayse"}, InputError, "no method 'bayse'; did you mean 'bayes'"),
        (
            {"tuning": "haed"},
            InputError,
            "tuning must be 'head', 'lora' or 'full'; got 'haed'; did you mean 'head'",
        ),
        ({"solver": "sgd"}, InputError, "solver must be None, 'adam', 'lbfgs' or 'auto'"),
        ({"weak_proba": PROBA * np.nan}, ProbabilityError, "teacher 0 has NaN"),
        ({"weak_proba": 2 * PROBA}, ProbabilityError, r"teacher 0 leaves \[0, 1\]"),
        ({"weak_proba": PROBA[None, None]}, ProbabilityError, r"got \(1, 1, 60, 2\)"),
        ({"weak_proba": np.empty((0, 2))}, InputError, "the pool is empty"),
        ({"weak_proba": [PROBA, PROBA[:5]]}, InputError, r"disagree in rows: \[60, 5\]"),
        (
            {"weak_proba": [PROBA, np.full((N, 3), 1 / 3)]},
            InputError,
            "teacher 1 has 3 classes; expected 2",
        ),
        ({"class_names": ["a", "b", "c"]}, InputError, "teacher 0 has 2 classes; expected 3"),
        ({"class_names": ["a", "a"]}, InputError, "at least two different names"),
        (
            {"weak_proba": ["a"] * N, "class_names": ["b", "c"]},
            InputError,
            "labels that are not classes in rows 0, 1, .*: 'a'; classes: 'b', 'c'",
        ),
        ({"weak_proba": np.zeros(N, dtype=int)}, InputError, "every hard label is 0"),
        ({"features": FEATURES[:5]}, InputError, "features has 5, weak_proba has 60"),
        ({"sample_weight": np.ones(5)}, InputError, r"sample_weight must have shape \(60,\)"),
        ({"sample_weight": -np.ones(N)}, InputError, "finite and >= 0; it is not in rows 0, 1"),
        ({"sample_weight": np.zeros(N)}, InputError, "zero everywhere"),
        ({"groups": ["a"]}, InputError, r"groups must have shape \(60,\)"),
        ({"seeds": 0}, InputError, "seeds must be"),
        ({"seeds": [1, 1]}, InputError, "seeds must be"),
        ({"epochs": 0}, InputError, "epochs must be None or an integer from 1 to 100000"),
        ({"batch_size": 0}, InputError, "batch_size must be None or an integer from 1 to"),
        ({"l2": -1}, InputError, r"l2 must be None or 'cv' or a number in \[0, 1e.09\]"),
        (
            {"learning_rate": 0},
            InputError,
            r"learning_rate must be None or 'auto' or a number in \(0, 1\]",
        ),
        ({"validation": (FEATURES[:, :2], np.arange(N) % 2)}, FeatureError, "have 2 columns"),
        ({"validation": (FEATURES, [0, 1])}, InputError, "validation has 60 rows and 2 labels"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=message):
        fit(**changes)


def test_equal_labels_are_legal_and_said():
    with pytest.warns(DegenerateDataWarning, match="every pseudo-label is 'no'"):
        student = fit(weak_proba=["no"] * N, class_names=["no", "yes"], epochs=60)
    assert (student.predict(FEATURES) == "no").all()


def test_a_generator_is_used_and_none_differs():
    one, two = (fit(random_state=np.random.default_rng(3)).seed_proba(FEATURES) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(fit(random_state=None).seed_proba(FEATURES) - one).max() > 0


def test_predictions_are_the_average_over_seeds():
    student = fit(seeds=3)
    assert student.n_seeds == 3
    proba = student.seed_proba(FEATURES)
    np.testing.assert_allclose(student.predict_proba(FEATURES), proba.mean(axis=0))
    assert student.predict(FEATURES).tolist() == proba.mean(axis=0).argmax(axis=1).tolist()
    assert student.seed_proba(FEATURES[:0]).shape == (3, 0, 2)


def test_repr_and_dict_fit_a_screen():
    student = fit(method="enhanced", seeds=2, groups=FEATURES[:, 1] > 0)
    assert len(repr(student).splitlines()) < 10
    found = student.to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["parameters"] == {"share": 0.5, "q": 0.7, "hard": False}
    assert found["diagnostics"]["kept_share"] == [0.5, 0.5]
    assert "entropy" not in found["diagnostics"]
    assert found["controls"] == ["naive", "random_subset", "teacher_confidence"]


@pytest.mark.parametrize("method", ["naive", "bayes"])
def test_a_saved_student_predicts_the_same(method, tmp_path):
    student = fit(method=method, seeds=2, weak_proba=np.array(["b", "a"] * (N // 2)))
    student.save(tmp_path / "student")
    again = Student.load(tmp_path / "student")
    np.testing.assert_array_equal(again.seed_proba(FEATURES), student.seed_proba(FEATURES))
    assert again.method == student.method
    assert again.classes.tolist() == ["a", "b"]
    assert again.history.equals(student.history)
    assert again.to_dict()["seeds"] == [0, 1]


def test_a_folder_of_another_version_or_without_files_is_refused(tmp_path):
    student = fit()
    student.save(tmp_path)
    record = json.loads((tmp_path / "student.json").read_text())
    (tmp_path / "student.json").write_text(json.dumps({**record, "schema_version": 99}))
    with pytest.raises(RunError, match="schema 99; this version reads 1"):
        Student.load(tmp_path)
    with pytest.raises(FileFormatError, match="cannot read"):
        Student.load(tmp_path / "nowhere")


@pytest.mark.parametrize("method", ["naive", "crossfit", "raven"])
def test_rows_on_which_all_teachers_abstain_are_left_out(method):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    first = 1 / (1 + np.exp(-3 * features[:, 0]))
    second = 1 / (1 + np.exp(-2 * features[:, 0] - rng.normal(size=300)))
    proba = np.stack([np.column_stack([1 - p, p]) for p in (first, second)], axis=1)
    silent = np.arange(300) % 3 == 0
    proba[silent] = 0.5
    options = {"random_state": 0, "epochs": 30, "controls": False}
    with_silent = fit_student(method, features, proba, **options)
    weighted = fit_student(method, features, proba, sample_weight=~silent * 1.0, **options)
    np.testing.assert_array_equal(
        with_silent.predict_proba(features), weighted.predict_proba(features)
    )
