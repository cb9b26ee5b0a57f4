"""Rules of a person."""

import numpy as np
import pytest

from w2s_data.data.prompts import Pair
from w2s_data.errors import InputError
from w2s_data.teachers import label_by_rules, rule_votes
from w2s_data.utils.votes import votes

CLASSES = ("negative", "positive")
RULES = {"positive": ["great", "good"], "negative": ["bad", "/dull(ed)?$/"]}
TEXTS = ["great and good", "GOOD, but bad", "so dull", "good, great, bad", "goods", "Dull"]


def write_rules(folder, code):
    (folder / "rules.py").write_text(code, encoding="utf-8")
    return f"{folder / 'rules.py'}:label"


def test_rules_vote_and_the_most_votes_win():
    cast = rule_votes(TEXTS, CLASSES, RULES)
    assert cast.names == ("great", "good", "bad", "/dull(ed)?$/")
    assert cast.codes.tolist() == [
        *([1, 1, -1, -1], [-1, 1, 0, -1], [-1, -1, -1, 0]),
        *([1, 1, 0, -1], [-1, -1, -1, -1], [-1, -1, -1, -1]),
    ]
    read = label_by_rules(TEXTS, CLASSES, RULES)
    expected = [[0, 1], [0.5, 0.5], [1, 0], [1 / 3, 2 / 3], [0.5, 0.5], [0.5, 0.5]]
    assert np.allclose(read.proba, expected)
    assert votes(read.proba).tolist() == [1, -1, 0, 1, -1, -1]


def test_three_classes_whose_leaders_tie_abstain():
    rules = {"a": ["x"], "b": ["y"], "c": ["z", "w"]}
    read = label_by_rules(["x y", "x y z", "x z w", "z w x y"], ("a", "b", "c"), rules)
    assert votes(read.proba).tolist() == [-1, -1, 2, 2]
    assert read.proba[3].tolist() == [0.25, 0.25, 0.5]
    assert read.summary["n_ties"] == 2


def test_coverage_overlaps_conflicts_and_accuracy_are_counted_by_rule_and_overall():
    gold = np.array([1, 1, 0, 0, -1, -1])
    summary = label_by_rules(TEXTS, CLASSES, RULES, gold=gold).summary
    great, good, bad, dull = summary["rules"]
    assert (great["coverage"], good["coverage"], bad["coverage"]) == (2 / 6, 3 / 6, 2 / 6)
    assert (great["overlaps"], great["conflicts"]) == (2 / 6, 1 / 6)
    assert (good["overlaps"], good["conflicts"]) == (3 / 6, 2 / 6)
    assert (dull["overlaps"], dull["conflicts"], dull["classes"]) == (0, 0, ["negative"])
    assert (good["n_gold"], bad["n_gold"]) == (3, 2)
    assert good["accuracy"]["value"] == pytest.approx(2 / 3)
    assert bad["accuracy"]["low"] < 0.5 < bad["accuracy"]["high"]
    assert (summary["coverage"], summary["overlaps"]) == (4 / 6, 3 / 6)
    assert (summary["conflicts"], summary["n_ties"]) == (2 / 6, 1)
    assert summary["n_gold"] == 3
    assert summary["accuracy"]["value"] == pytest.approx(2 / 3)


def test_numbers_of_snorkel_are_those_of_its_analysis():
    """The example of its documentation: L = [[-1, 0, 0], [-1, -1, -1], [1, 0, -1], [-1, 0, -1]]."""
    labels = [[-1, 0, 0], [-1, -1, -1], [1, 0, -1], [-1, 0, -1]]
    functions = [lambda row, j=j: None if row[j] < 0 else row[j] for j in range(3)]
    for number, function in enumerate(functions):
        function.__name__ = f"rule {number}"
    read = label_by_rules([np.array(row) for row in labels], ("0", "1"), functions)
    table = read.summary["rules"]
    assert [rule["coverage"] for rule in table] == [0.25, 0.75, 0.25]
    assert [rule["overlaps"] for rule in table] == [0.25, 0.5, 0.25]
    assert [rule["conflicts"] for rule in table] == [0.25, 0.25, 0]


def test_permuted_items_permute_the_votes(rng):
    order = rng.permutation(len(TEXTS))
    permuted = rule_votes([TEXTS[i] for i in order], CLASSES, RULES).codes
    assert (permuted == rule_votes(TEXTS, CLASSES, RULES).codes[order]).all()


def test_function_of_a_file_is_found_with_the_modules_beside_it(tmp_path):
    (tmp_path / "words_of_mine.py").write_text("GOOD = {'good'}", encoding="utf-8")
    name = write_rules(
        tmp_path,
        "from words_of_mine import GOOD\n"
        "def label(item):\n    return 'positive' if GOOD & set(item.split()) else None\n",
    )
    assert votes(label_by_rules(["good", "bad"], CLASSES, name).proba).tolist() == [1, -1]


def test_changed_file_is_read_again_within_the_same_second(tmp_path):
    for answer in CLASSES:
        name = write_rules(tmp_path, f"def label(item): return '{answer}'")
        read = label_by_rules(["x"], CLASSES, name)
        assert CLASSES[votes(read.proba)[0]] == answer


def test_functions_see_the_items_as_they_are():
    items = [Pair("a longer text", "short"), Pair("x", "yy")]
    classes = ("first preferred", "second preferred")

    def longer(pair):
        return classes[len(pair.second) > len(pair.first)]

    assert votes(label_by_rules(items, classes, longer).proba).tolist() == [0, 1]


def test_functions_may_return_numbers_and_several_are_a_set():
    rules = [lambda x: int(x > 0), lambda x: float(x > 1), lambda _: np.nan]
    for name, rule in zip(("sign", "large", "silent"), rules, strict=True):
        rule.__name__ = name
    read = label_by_rules([-1, 1, 2], ("0", "1"), rules)
    assert votes(read.proba).tolist() == [0, -1, 1]
    assert read.notes == (
        "'silent' vote on no item",
        "1 of 3 items abstain, since their rules are tied",
    )


def test_rules_that_are_mostly_wrong_are_named():
    items = ["good bad"] * 10
    read = label_by_rules(items, CLASSES, RULES, gold=np.zeros(10, dtype=int))
    assert any(note.startswith("'good' are wrong more often") for note in read.notes)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "def label(x):\n    return {}[x]",
            r"'label' failed on row 0: KeyError: 'good' \(rules.py:2",
        ),
        (
            "def label(x): return 'neutral'",
            r"returned 'neutral' for row 0, which is not a class",
        ),
        ("def lable(x): return None", r"no function 'label'; did you mean 'lable'"),
        ("def label(x): return None", r"none of 1 rules \('label'\) votes on any of 1 items"),
        ("import nothing_there", r"cannot load .*ModuleNotFoundError: No module named"),
        ("def label(x) return", r"cannot load .*SyntaxError"),
    ],
)
def test_function_that_cannot_be_used_is_one_line(tmp_path, code, message):
    with pytest.raises(InputError, match=message) as refused:
        label_by_rules(["good"], CLASSES, write_rules(tmp_path, code))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("items", "rules", "message"),
    [
        (["x"], "rules.py", "must be FILE.py:FUNCTION or MODULE:FUNCTION"),
        (["x"], "nowhere.py:label", "file 'nowhere.py' not found"),
        (["x"], "no_such_module_here:label", "cannot load 'no_such_module_here'"),
        (["x"], {"postive": ["x"]}, "'postive', which is not a class"),
        (["x"], {"positive": ["/(/"]}, r"pattern '\(' is not a regular expression"),
        (["x"], {"positive": [""]}, "must be a keyword or a /pattern/"),
        (["x"], {"positive": ["x"], "negative": ["x"]}, "'x' twice"),
        (["x"], {}, "rules are empty"),
        (["x"], [], "rules are empty"),
        ([b"\x89PNG"], {"positive": ["x"]}, "row 0 is a bytes; write a Python function"),
        ([Pair("a", "b")], {"positive": ["x"]}, "row 0 is a Pair; write a Python function"),
        (["x"], [3], "got 3"),
    ],
)
def test_rules_that_cannot_be_used_are_refused(items, rules, message):
    with pytest.raises(InputError, match=message):
        label_by_rules(items, CLASSES, rules)
