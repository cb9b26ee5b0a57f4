"""Which class a weak column means: by its name, by numbers, by position, and checked by gold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_data import load_dataset
from w2s_data.data.meaning.match import match_columns, match_single
from w2s_data.data.meaning.rules import LabelRules
from w2s_data.errors import InputError, ProbabilityError

N = 200
RULES = LabelRules()


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, N)


@pytest.fixture(scope="module")
def second(truth) -> np.ndarray:
    """P(second class) of a weak model that is right in four of five rows."""
    right = np.random.default_rng(1).random(N) < 0.8
    return np.where((truth == 1) == right, 0.8, 0.2)


def table(labels, **columns) -> pd.DataFrame:
    return pd.DataFrame({"text": [f"t{i}" for i in range(len(labels))], "y": labels, **columns})


def accuracy(data) -> float:
    known = data.labels >= 0
    return float((data.weak_proba.argmax(axis=-1) == data.labels)[known].mean())


@pytest.mark.parametrize(
    ("columns", "classes", "expected"),
    [
        (["p_pos", "p_neg"], ["neg", "pos"], ["pos", "neg"]),
        (["neg_prob", "pos_prob"], ["neg", "pos"], ["neg", "pos"]),
        (["P(pos)", "P(neg)"], ["neg", "pos"], ["pos", "neg"]),
        (["POS", "NEG"], ["neg", "pos"], ["pos", "neg"]),
        (["bert2_pos", "bert2_neg"], ["neg", "pos"], ["pos", "neg"]),
        (["probPos", "probNeg"], ["neg", "pos"], ["pos", "neg"]),
        (["ppos", "pneg"], ["neg", "pos"], ["pos", "neg"]),
        (["pos", "p_neg"], ["neg", "pos"], ["pos", "neg"]),
        (["pos_score", "probability neg"], ["neg", "pos"], ["pos", "neg"]),
        (["p_not_spam", "p_spam"], ["not spam", "spam"], ["not spam", "spam"]),
        (["p_-1", "p_1"], ["-1", "1"], ["-1", "1"]),
        (["C++", "C"], ["C", "C++"], ["C++", "C"]),
        (["p_positive", "p_negative"], ["neg", "pos"], ["pos", "neg"]),
        (["p", "n"], ["neg", "pos"], ["pos", "neg"]),
        (["p_pos", "p_neg"], ["0", "1"], ["1", "0"]),
        (["true", "false"], ["no", "yes"], ["yes", "no"]),
        (["p1", "p0"], ["-1", "1"], ["1", "-1"]),
        (["1.0", "0.0"], ["0", "1"], ["1", "0"]),
        (["p02", "p01"], ["1", "2"], ["2", "1"]),
        (["LABEL_1", "LABEL_0"], ["neg", "pos"], ["pos", "neg"]),
        (["class 2", "class 1"], ["neg", "pos"], ["pos", "neg"]),
        (["2 stars", "1 star"], ["1", "2"], ["2", "1"]),
        (["p_2", "p_1"], ["class_1", "class_2"], ["class_2", "class_1"]),
        (["one", "two"], ["neg", "pos"], ["neg", "pos"]),
    ],
)
def test_columns_find_their_classes(columns, classes, expected):
    assert list(match_columns(columns, classes, RULES).classes) == expected


def test_numbers_in_names_sort_as_numbers():
    columns = sorted(f"p{i}" for i in range(12))
    assert columns[2] == "p10"
    letters = [*"abcdefghijkl"]
    by_number = match_columns(columns, letters, RULES)
    assert by_number.classes[2] == "k"
    assert by_number.how == "by number"
    names = [f"class_{i}" for i in range(12)]
    data = load_dataset(table(names * 4), label="y", split_sizes={"labelled": 1.0})
    assert data.class_names == tuple(names)
    assert match_columns(columns, names, RULES).classes[2] == "class_10"


@pytest.mark.parametrize(
    ("columns", "classes"),
    [
        (["nn", "pos"], ["neg", "pos"]),
        (["neg_pos", "pos_neg"], ["neg", "pos"]),
        (["p_positive", "rest"], ["neg", "pos"]),
        (["p0", "p1", "p2"], ["1", "2", "3"]),
        (["neg", "neutral"], ["neg", "pos"]),
    ],
)
def test_columns_that_fit_in_part_are_refused(columns, classes):
    with pytest.raises(ProbabilityError, match=r"only in part; pass class_names .* or map"):
        match_columns(columns, classes, RULES)


def test_a_given_order_decides_on_columns_that_fit_in_part():
    ordered = match_columns(["p0", "p1", "p2"], ["1", "2", "3"], RULES, ordered=True)
    assert ordered.classes == ("1", "2", "3")
    assert match_columns(["pos", "nn"], ["pos", "neg"], RULES, ordered=True).how == "by position"
    with pytest.raises(ProbabilityError, match="only in part"):  # the order contradicts the name
        match_columns(["pos", "nn"], ["neg", "pos"], RULES, ordered=True)


@pytest.mark.parametrize(
    ("column", "classes", "expected"),
    [
        ("fake", ["fake", "real"], "fake"),
        ("FAKE", ["fake", "real"], "fake"),
        ("P(fake)", ["fake", "real"], "fake"),
        ("fake_prob", ["fake", "real"], "fake"),
        ("model_fake", ["fake", "real"], "fake"),
        ("pfake", ["fake", "real"], "fake"),
        ("p_real", ["fake", "real"], "real"),
        ("p_positive", ["neg", "pos"], "pos"),
        ("p_not_spam", ["not spam", "spam"], "not spam"),
        ("proba_0", ["0", "1"], "0"),
        ("p_no", ["0", "1"], "0"),
        ("negative", ["False", "True"], "False"),
        ("score", ["fake", "real"], "real"),
        ("model0", ["0", "1"], "1"),
        ("v2_score", ["1", "2"], "2"),
    ],
)
def test_a_single_column_finds_its_class(column, classes, expected):
    assert match_single(column, classes, RULES, classes[1]).classes == (expected,)


@pytest.mark.parametrize("column", ["p_not_fake", "fake_vs_real", "non-fake"])
def test_a_single_column_of_two_meanings_is_refused(column):
    with pytest.raises(ProbabilityError, match=r"could be the probability of each class.*pass map"):
        match_single(column, ["fake", "real"], RULES, "real")
    mapped = LabelRules(map={column: "real"})
    assert match_single(column, ["fake", "real"], mapped, "fake").classes == ("real",)


WORDS = st.text("abcdefghijkl", min_size=3, max_size=6)


@given(
    st.lists(WORDS, min_size=2, max_size=6, unique=True),
    st.sampled_from(["", "p_", "P(", "model3 ", "prob.", "x-"]),
    st.sampled_from(["", "_prob", ")", " (weak)", "_2"]),
    st.sampled_from([str, str.upper, str.title]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_prefix_suffix_case_and_order_do_not_matter(names, before, after, change, random):
    classes = sorted(names)
    columns = [before + change(name) + after for name in classes]
    shuffled = random.sample(range(len(classes)), len(classes))
    match = match_columns([columns[i] for i in shuffled], classes, RULES)
    assert match.classes == tuple(classes[i] for i in shuffled)
    assert match.how == "by name"


# ------------------------------------------------------------------------------- loaded data sets


def test_a_column_of_the_first_class(truth, second):
    frame = table(np.array(["fake", "real"])[truth], fake=1 - second)
    data = load_dataset(frame, label="y", weak_columns="fake")
    assert data.weak_proba[:, 1] == pytest.approx(second)
    assert data.notes == (
        "weak column fake: probability of class fake by name; pass map to change it",
    )


def test_columns_in_any_order(truth, second):
    frame = table(np.array(["neg", "pos"])[truth], p_pos=second, p_neg=1 - second)
    for columns in (["p_pos", "p_neg"], ["p_neg", "p_pos"]):
        data = load_dataset(frame, label="y", weak_columns=columns)
        assert data.weak_proba[:, 1] == pytest.approx(second)
    assert data.notes == (
        "weak columns p_neg, p_pos: class neg, pos by name; pass map to change it",
    )


def test_several_models_are_matched_each_for_itself(truth, second):
    columns = {"a_neg": 1 - second, "a_pos": second, "b_POS": second, "b_NEG": 1 - second}
    frame = table(np.array(["neg", "pos"])[truth], **columns, p_neg=1 - second)
    models = {"a": ["a_pos", "a_neg"], "b": ["b_POS", "b_NEG"], "c": "p_neg"}
    data = load_dataset(frame, label="y", weak_columns=models)
    assert data.weak_proba[:, :, 1] == pytest.approx(np.column_stack([second] * 3))
    assert data.notes[0].startswith("weak models a, b: class pos, neg by name")
    without = load_dataset(frame.drop(columns="y"), item="text", weak_columns=models)
    assert without.class_names == ("pos", "neg")
    assert without.weak_proba[:, :, 0] == pytest.approx(np.column_stack([second] * 3))


def test_a_class_without_gold_label_is_added(truth, second):
    frame = table(
        np.array(["neg", "pos"])[truth],
        p_neg=0.8 * (1 - second),
        p_neu=np.full(N, 0.2),
        p_pos=0.8 * second,
    )
    data = load_dataset(frame, label="y", weak_columns=["p_pos", "p_neu", "p_neg"])
    assert data.class_names == ("neg", "neu", "pos")
    assert data.weak_proba == pytest.approx(frame[["p_neg", "p_neu", "p_pos"]].to_numpy())
    assert (data.labels == 2 * truth).all()
    assert "class 'neu' has weak probabilities, but no gold label" in data.notes
    with pytest.raises(ProbabilityError, match="are 3, but there are 2 classes"):
        load_dataset(
            frame, label="y", weak_columns=["p_pos", "p_neu", "p_neg"], class_names=["neg", "pos"]
        )


def test_map_gives_columns_their_classes(truth, second):
    frame = table(np.array(["fake", "real"])[truth], a=second, p_not_fake=second)
    data = load_dataset(frame, label="y", weak_columns="p_not_fake", map={"p_not_fake": "real"})
    assert data.weak_proba[:, 1] == pytest.approx(second)
    assert data.notes == ("weak column p_not_fake: probability of class real by map",)
    with pytest.raises(InputError, match=r"map: there is no label or weak column 'b'; .*'a'"):
        load_dataset(frame, label="y", weak_columns="a", map={"b": "real"})
    with pytest.raises(ProbabilityError, match="the class 'true'; classes: 'fake', 'real'"):
        load_dataset(frame, label="y", weak_columns="a", map={"a": "true"})


# -------------------------------------------------------------------------------- checked by gold


def test_a_reversed_order_is_a_loud_warning(truth, second, caplog):
    frame = table(np.array(["neg", "pos"])[truth], a=second, b=1 - second)
    data = load_dataset(frame, label="y", weak_columns=["a", "b"])
    now = accuracy(data)
    assert data.notes[1] == (
        f"warning: weak columns 'a', 'b': the classes seem to be in the wrong order, since "
        f"{now:.0%} of 200 gold labels agree and {1 - now:.0%} would in reverse; "
        "if so pass class_names=['pos', 'neg']"
    )
    assert data.notes[1] in caplog.text
    right = load_dataset(frame, label="y", weak_columns=["a", "b"], class_names=["pos", "neg"])
    assert accuracy(right) == pytest.approx(1 - now)
    assert len(right.notes) == 1


def test_a_reversed_name_is_turned_by_map(truth, second):
    frame = table(np.array(["neg", "pos"])[truth], p_neg=second, p_pos=1 - second)
    data = load_dataset(frame, label="y", weak_columns=["p_neg", "p_pos"])
    change = {"p_neg": "pos", "p_pos": "neg"}
    assert data.notes[1].endswith(f"if so pass map={change}")
    right = load_dataset(frame, label="y", weak_columns=["p_neg", "p_pos"], map=change)
    assert right.weak_proba[:, 1] == pytest.approx(second)
    assert not any("warning" in note for note in right.notes)


def test_a_permuted_order_of_many_classes(rng):
    classes = [*"abcdef"]
    truth = rng.integers(0, 6, 400)
    proba = np.full((400, 6), 0.06)
    seen = np.where(rng.random(400) < 0.8, truth, rng.integers(0, 6, 400))
    proba[np.arange(400), seen] = 0.7
    order = [0, 2, 1, 4, 5, 3]
    frame = table(np.array(classes)[truth], **{f"x{i}": proba[:, c] for i, c in enumerate(order)})
    frame = frame.rename(columns=dict(zip([f"x{i}" for i in range(6)], "uvwxtz", strict=True)))
    data = load_dataset(frame, label="y", weak_columns=[*"uvwxtz"])
    expected = [classes[c] for c in order]
    assert data.notes[1].endswith(f"if so pass class_names={expected}")
    right = load_dataset(frame, label="y", weak_columns=[*"uvwxtz"], class_names=expected)
    assert accuracy(right) == pytest.approx((seen == truth).mean())
    assert len(right.notes) == 1


@pytest.mark.parametrize("n_classes", [2, 3, 10, 40])
def test_a_weak_model_without_knowledge_is_no_warning(n_classes):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        proba = rng.dirichlet(np.ones(n_classes), 150)
        names = [f"c{i}" for i in range(n_classes)]
        frame = table(np.array(names)[rng.integers(0, n_classes, 150)])
        frame[names] = proba
        frame.loc[: n_classes - 1, "y"] = names
        data = load_dataset(frame, label="y", weak_columns=names)
        assert not any("warning" in note for note in data.notes)


def test_an_imbalance_of_the_classes_is_no_warning(rng):
    truth = (rng.random(N) < 0.1).astype(int)
    proba = np.clip(0.75 + 0.1 * truth + rng.normal(0, 0.1, N), 0, 1)  # too sure of the rare class
    data = load_dataset(
        table(np.array(["ok", "rare"])[truth], p_rare=proba), label="y", weak_columns="p_rare"
    )
    assert accuracy(data) < 0.3
    assert len(data.notes) == 1


# ------------------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize(
    ("column", "flipped"),
    [("p", False), ("p_chosen", False), ("p_rejected", True), ("p_bad", True), ("good_p", False)],
)
def test_a_column_of_pairs_is_named_after_a_side(column, flipped):
    p = np.linspace(0.3, 0.9, 60)
    frame = pd.DataFrame(
        {"good": [f"g{i}" for i in range(60)], "bad": [f"b{i}" for i in range(60)]}
    )
    frame[column] = 1 - p if flipped else p
    data = load_dataset(frame, chosen="good", rejected="bad", weak_columns=column)
    assert data.weak_proba[np.arange(60), data.labels] == pytest.approx(p)
    assert not any("warning" in note for note in data.notes)


def test_a_column_of_pairs_that_is_reversed():
    p = np.linspace(0.1, 0.7, 60)
    frame = pd.DataFrame(
        {"good": [f"g{i}" for i in range(60)], "bad": [f"b{i}" for i in range(60)]}
    )
    arguments = {"chosen": "good", "rejected": "bad", "weak_columns": "score"}
    data = load_dataset(frame.assign(score=p), **arguments)
    assert data.notes[1].endswith("if so pass map={'score': 'rejected'}")
    turned = load_dataset(frame.assign(score=p), **arguments, map={"score": "rejected"})
    assert turned.weak_proba[np.arange(60), turned.labels] == pytest.approx(1 - p)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 200),
    st.floats(),
    st.sampled_from(["a", "A ", "b", "-1", "01", "1.0", "none", "?", "True", "", " ", "p_a"]),
    st.text(max_size=5),
)
NAMES = st.one_of(
    st.sampled_from(["a", "b", "p_a", "p_b", "p0", "p1", "P(b)", "not a", "-1", "1", "LABEL_0"]),
    st.text(min_size=1, max_size=6).filter(lambda name: name not in ("text", "y", "w")),
)


@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=4, max_size=30),
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_labels_and_names_are_read_or_refused(cells, names, hard):
    gold, weak = zip(*cells, strict=True)
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(len(cells))]})
    frame["y"], frame["w"] = pd.Series(gold, dtype=object), pd.Series(weak, dtype=object)
    frame[names] = 1 / len(names)
    try:
        data = load_dataset(
            frame,
            item="text",
            label="y",
            weak_label="w" if hard else None,
            weak_columns=None if hard else names,
        )
    except InputError:
        return
    n_classes = len(data.class_names)
    assert data.weak_proba.shape == (len(cells), n_classes)
    assert data.weak_proba.sum(axis=1) == pytest.approx(np.ones(len(cells)))
    assert len(set(data.class_names)) == n_classes
