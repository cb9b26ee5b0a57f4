"""Free answers of a language model."""

import numpy as np
import pandas as pd
import pytest

from w2s_data.errors import ColumnError, InputError, ProbabilityError
from w2s_data.teachers import label_answers
from w2s_data.utils.votes import votes

CLASSES = ("negative", "positive")
MAP = {"(?i)^pos": "positive", "(?i)^neg": "negative"}


def codes(answers, class_names=CLASSES, **settings):
    table = pd.DataFrame({"reply": pd.Series(answers, dtype=object)})
    return votes(label_answers(table, "reply", class_names, **settings).proba).tolist()


def test_map_reads_answers_that_it_matches_anywhere():
    answers = ["Positive.", "NEG", "it is positive", "pos\nneg", None, " "]
    assert codes(answers, map=MAP) == [1, 0, -1, 1, -1, -1]
    assert codes(answers, map={"(?i)pos": "positive"}) == [1, -1, 1, 1, -1, -1]


def test_answers_that_match_two_classes_are_conflicts_in_any_order_of_the_map():
    answers = ["positive, not negative", "positive", "great, positive"]
    patterns = {"positive": "positive", "negative": "negative", "great": "positive"}
    for order in (patterns, dict(reversed(patterns.items()))):
        assert codes(answers, map=order) == [-1, 1, 1]


def test_counts_and_examples_are_those_of_the_rows():
    answers = ["pos"] * 5 + ["neg", None, ""] + ["unsure"] * 3 + ["?"] + ["pos or neg"] * 2
    table = pd.DataFrame({"reply": answers})
    patterns = {"pos": "positive", "neg": "negative", "bad": "negative"}
    read = label_answers(table, "reply", CLASSES, map=patterns)
    assert read.coverage == pytest.approx(6 / 14)
    assert read.summary["n_missing"] == 2
    assert read.summary["n_by_class"] == {"negative": 1, "positive": 5}
    assert read.summary["n_by_pattern"] == {"pos": 7, "neg": 3, "bad": 0}
    assert read.summary["unmatched"] == [
        {"answer": "unsure", "count": 3},
        {"answer": "?", "count": 1},
    ]
    assert read.summary["conflicts"] == [{"answer": "pos or neg", "count": 2}]
    unmatched, conflicts, idle = read.notes
    assert unmatched == (
        "4 of 12 answers of column 'reply' name no class and abstain; the commonest: "
        "'unsure' (3), '?' (1)"
    )
    assert conflicts.startswith("2 of 12 answers of column 'reply' fit several classes")
    assert idle == "no answer of column 'reply' matches 'bad'"


def test_names_of_classes_are_read_without_a_map():
    answers = ["NEGATIVE", " positive\n", "I think it's Positive!", "positive or negative", "posit"]
    assert codes(answers) == [0, 1, 1, -1, -1]
    assert codes(["very good", "good", "Very  Good.", "a good one"], ("good", "very good")) == [
        *(1, 0, 1, 0)
    ]
    assert codes(["Spam", "SPAM", "it is spam"], ("Spam", "SPAM")) == [0, 1, -1]


def test_answers_may_be_numbers():
    assert codes([1.0, 0.0, np.nan, 2.0], ("0", "1")) == [1, 0, -1, -1]
    assert codes(["Rating: 1.", "0/1", "-1", "10"], ("0", "1")) == [1, -1, -1, -1]


def test_permuted_rows_permute_the_labels(rng):
    answers = np.array(["pos", "neg", "both pos neg", "none", "pos"], dtype=object)
    order = rng.permutation(5)
    own = np.array(codes(answers, map={"pos": "positive", "neg": "negative"}))
    assert codes(answers[order], map={"pos": "positive", "neg": "negative"}) == own[order].tolist()


def test_confidence_is_the_probability_of_the_answer():
    answers = ["a", "b", "c", "a", "a", "?"]
    table = pd.DataFrame({"reply": answers, "sure": [0.8, 1, 0.2, None, 0.6, 0.9]})
    read = label_answers(table, "reply", ("a", "b", "c"), confidence="sure")
    expected = [
        *([0.8, 0.1, 0.1], [0, 1, 0], [1 / 3] * 3),
        *([0.65, 0.175, 0.175], [0.6, 0.2, 0.2], [1 / 3] * 3),
    ]
    assert np.allclose(read.proba, expected)
    assert read.notes[1:] == (
        "confidence column 'sure' is empty for 1 answers, which have the mean of the others, 0.65",
        "confidence column 'sure' is at most 1/3 for 1 answers, which abstain, since another class "
        "would be as likely as theirs",
    )


def test_confidence_in_percent_is_refused():
    table = pd.DataFrame({"reply": ["a", "b"], "sure": [80, 1]})
    with pytest.raises(ProbabilityError, match=r"must lie in \[0, 1\]; row 0 do not .* holds 80"):
        label_answers(table, "reply", ("a", "b"), confidence="sure")


def test_column_that_fits_no_class_is_refused_with_its_commonest_answers():
    answers = [f"answer {i}" for i in range(12) for _ in range(i + 1)]
    with pytest.raises(ColumnError) as refused:
        codes(answers)
    message = str(refused.value)
    assert "none of 78 answers fits a class ('negative', 'positive')" in message
    assert "the commonest: 'answer 11' (12), 'answer 10' (11)" in message
    assert "'answer 2' (3)" in message
    assert "'answer 1' (2)" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"map": {"(pos": "positive"}}, r"pattern '\(pos' is not a regular expression: .* at posi"),
        ({"map": {"pos": "positiv"}}, r"map gives 'pos' the class 'positiv'; the classes are"),
    ],
)
def test_map_that_cannot_be_used_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        codes(["pos"], **settings)


def test_column_without_answers_is_refused():
    with pytest.raises(ColumnError, match="has no answer in any of its 2 rows"):
        codes([None, " "])
    with pytest.raises(ColumnError, match="did you mean 'reply'"):
        label_answers(pd.DataFrame({"reply": ["a"]}), "replies", CLASSES)
