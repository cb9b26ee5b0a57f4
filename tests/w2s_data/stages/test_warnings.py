"""Warnings of data: which are given, with which numbers, and where they stand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.stages import forecast_stage, gain_stage, groups_stage, score_stage
from w2s_data.stages.embedding import embed_stage
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.warnings import data_warnings, unseen_share
from w2s_reports import render_stage, summarize

SPLITS = ("labelled", "pool", "validation", "test")


def vectors(counts, **columns):
    """A data set of vectors; `counts` has the rows of each class (None: no label) by split."""
    rows = [
        (split, name)
        for split, classes in counts.items()
        for name, n in classes.items()
        for _ in range(n)
    ]
    table = pd.DataFrame(rows, columns=["split", "label"])
    shift = table["label"].map({"a": -1.0, "b": 1.0}).fillna(0.0).to_numpy()
    x = np.random.default_rng(0).normal(size=(len(table), 4)) + shift[:, None]
    table = table.assign(x=list(x), **columns)
    return load_dataset(table, item="x", label="label", split="split")


def plenty(**changes):
    counts = {
        "labelled": {"a": 60, "b": 40},
        "pool": {"a": 60, "b": 60},
        "validation": {"a": 20, "b": 20},
        "test": {"a": 60, "b": 60},
    }
    return vectors(counts | changes)


def by_code(dataset, weak_proba=None):
    return {record["code"]: record for record in data_warnings(dataset, weak_proba)}


def test_plenty_of_data_has_no_warning():
    assert data_warnings(plenty()) == []


@pytest.mark.parametrize(
    ("changes", "code", "numbers", "withholds"),
    [
        (
            {"labelled": {"a": 6, "b": 6}},
            "few_labelled",
            {"n": 12, "fewest": 20},
            ("forecast",),
        ),
        ({"validation": {"a": 5, "b": 7}}, "few_validation", {"n": 12, "fewest": 30}, ()),
        ({"test": {"a": 20, "b": 20}}, "few_test", {"n": 40, "fewest": 100}, ()),
        ({"test": {"a": 6, "b": 6}}, "few_test", {"n": 12, "fewest": 100}, ("gain",)),
        (
            {"test": {"a": 60, "b": 60, None: 3}},
            "unlabelled_test",
            {"n": 3, "n_test": 123},
            (),
        ),
        (
            {"labelled": {"a": 199, "b": 1}},
            "rare_class",
            {"classes": {"b": 1}, "n": 200},
            (),
        ),
        (
            {"labelled": {"a": 995, "b": 9}},  # more than a handful, but less than 1 %
            "rare_class",
            {"classes": {"b": 9}, "n": 1004},
            (),
        ),
        (
            {"test": {"a": 118, "b": 2}},
            "few_test_of_class",
            {"classes": {"b": 2}, "n": 120},
            (),
        ),
        (
            {"test": {"a": 60, "b": 60, "c": 30}},
            "unseen_class",
            {"classes": {"c": 30}, "share_of_test": 0.2},
            ("forecast",),
        ),
        (
            {"pool": {"a": 60, "b": 60, "c": 30}},
            "unseen_class",
            {"classes": {"c": 0}, "share_of_test": 0.0},
            (),
        ),
    ],
)
def test_what_is_warned_of(changes, code, numbers, withholds):
    found = by_code(plenty(**changes))
    assert list(found) == [code]
    assert found[code]["numbers"] == numbers
    assert found[code]["withholds"] == withholds


def test_few_rows_of_the_split_called_test_are_few_whatever_others_hold():
    data = plenty(test={"a": 200, "b": 200})
    splits = np.where(data.splits == "test", "test_ood", data.splits)
    splits[np.flatnonzero(splits == "test_ood")[:30]] = "test"
    [few] = [w for w in data_warnings(data.with_given_splits(splits)) if w["code"] == "few_test"]
    assert few["numbers"]["n"] == 30
    splits[splits == "test"] = "test_b"
    assert not data_warnings(data.with_given_splits(splits))


def test_sentences_name_classes_counts_and_the_next_step():
    found = by_code(plenty(test={"a": 60, "b": 60, "c": 30}))
    assert found["unseen_class"]["text"] == (
        "class 'c' has no row in the labelled split, but 30 of 150 test rows: a teacher trained on "
        "it never predicts it, and neither does its student; put some rows of it there"
    )
    found = by_code(plenty(pool={"a": 60, "b": 60, "c": 30}))
    assert "no row in the labelled split, but 30 of 150 pool rows" in found["unseen_class"]["text"]
    found = by_code(plenty(labelled={"a": 198, "b": 2}, test={"a": 4, "b": 2}))
    assert found["rare_class"]["text"].startswith("class 'b' (2) is rare among the 200 labelled")
    assert found["few_test_of_class"]["text"].startswith("classes 'a' (4), 'b' (2) have fewer")
    assert found["few_test"]["text"].startswith("the test split has 6 rows with a gold label")


def test_a_class_without_any_gold_row():
    table = pd.DataFrame({"x": list(np.eye(3)), "label": ["a", "b", "a"], "split": "labelled"})
    data = load_dataset(table, item="x", label="label", split="split", class_names=["a", "b", "c"])
    assert by_code(data)["empty_class"]["numbers"] == {"classes": {"c": 0}}


def test_data_without_gold_labels_are_not_nagged_about():
    assert data_warnings(vectors({"pool": {None: 5}})) == []


def test_duplicates_across_splits_are_warned_of():
    table = pd.DataFrame({"text": ["a", "a", "b", "c"], "label": [0, 0, 1, 1]})
    table["split"] = ["labelled", "test", "labelled", "pool"]
    data = load_dataset(table, item="text", label="label", split="split")
    notes = [r["text"] for r in data_warnings(data) if r["code"] == "note"]
    assert len(notes) == 1
    assert notes[0].startswith("2 items in 1 groups of exact duplicates lie in more than one split")


def certain(codes, n_classes=2):
    return np.eye(n_classes)[codes] * 0.8 + 0.2 / n_classes


def test_weak_labels_that_never_change():
    data = plenty()
    found = by_code(data, certain(np.zeros(len(data), dtype=int)))
    assert found["constant_weak_labels"]["text"].startswith("the weak labels are 'a' for all 380")


def test_weak_labels_below_chance_name_the_likely_reason():
    data = plenty()
    wrong = 1 - data.labels
    found = by_code(data, certain(wrong))["weak_below_chance"]
    assert found["numbers"]["accuracy"] == 0.0
    assert "check which class each weak column" in found["text"]


def test_weak_labels_worse_than_the_most_frequent_class():
    data = plenty(labelled={"a": 3000, "b": 100})
    rng = np.random.default_rng(0)
    guesses = np.where(rng.random(len(data)) < 0.6, data.labels, 1 - data.labels)
    found = by_code(data, certain(guesses))["weak_below_usual"]
    assert found["numbers"]["most_frequent"] == pytest.approx(3140 / 3380)
    several = np.stack([certain(guesses)] * 2, axis=1)  # two weak models that agree
    assert by_code(data, several)["weak_below_usual"] == found


def test_weak_labels_that_abstain_are_neither_right_nor_wrong():
    data = plenty()
    proba = certain(data.labels)
    proba[: len(data) // 2] = 0.5
    assert by_code(data, proba) == {}
    proba[:] = 0.5
    assert by_code(data, proba) == {}


def test_shares_of_unseen_classes():
    unseen = unseen_share(
        plenty(
            pool={"a": 60, "b": 60, "p": 5},
            test={"a": 50, "b": 20, "p": 10, "t": 20},
        )
    )
    assert unseen.by_teacher == pytest.approx(0.3)  # 'p' and 't' of 100
    assert unseen.by_ceiling == pytest.approx(0.2)  # gold labels of the pool show 'p'


@pytest.fixture(scope="module")
def unseen_run(tmp_path_factory):
    """All stages on a data set of which a class is in the test split only."""
    folder = tmp_path_factory.mktemp("unseen")
    data = plenty(test={"a": 70, "b": 70, "c": 60})
    run = Run.create(folder / "run", data)
    weak = np.asarray(data.features)[:, :1]
    embed_stage(run, EmbedSettings(weak_features=weak))
    results = {
        "score": score_stage(run).summary,
        "forecast": forecast_stage(run).summary,
        "gain": gain_stage(
            run, GainSettings(methods=("naive",), seeds=1, epochs=5, controls=False)
        ).summary,
        "groups": groups_stage(run).summary,
    }
    return run, results


@pytest.mark.slow
def test_all_stages_warn_alike(unseen_run):
    run, results = unseen_run
    for name, summary in results.items():
        records = summary["data_warnings"]
        assert [record["code"] for record in records] == ["unseen_class"]
        text = render_stage(name, json.loads(json.dumps(summary, default=list)))
        flat = " ".join(text.split())
        assert "warning: class 'c' has no row in the labelled split" in flat
    page = summarize(run)
    about = [warning for warning in page["verdict"]["warnings"] if warning["about"] == "data"]
    assert len(about) == 1  # once, although four stages say it


@pytest.mark.slow
def test_the_forecast_counts_unseen_classes_as_wrong(unseen_run):
    _, results = unseen_run
    forecast = results["forecast"]
    assert forecast["ceiling"]["value"] <= 0.7  # 60 of 200 test rows are of class 'c'
    assert forecast["teacher"]["value"] <= 0.7
    assert forecast["verdict"] == "label first"
    assert "which is no advice: class 'c' has no row in the labelled split" in forecast["reading"]
    difference = forecast["student"]["value"] - forecast["teacher"]["value"]
    assert forecast["gain"]["value"] == pytest.approx(difference)
    measured = results["gain"]["teacher"]["scores"]["accuracy"]["value"]
    assert forecast["teacher"]["value"] == pytest.approx(measured, abs=0.1)


@pytest.mark.slow
def test_twelve_gold_rows_allow_no_advice(tmp_path):
    data = plenty(labelled={"a": 6, "b": 6}, test={"a": 6, "b": 6})
    run = Run.create(tmp_path / "run", data)
    embed_stage(run, EmbedSettings(weak_features=np.asarray(data.features)[:, :1]))
    forecast = forecast_stage(run).summary
    assert forecast["verdict"] == "label first"
    assert forecast["reading"].endswith("which is no advice: the labelled split has 12 rows")
    assert summarize(run)["verdict"]["headline"]["words"] == "Label first"
    score_stage(run)
    gain_stage(run, GainSettings(methods=("naive",), seeds=1, epochs=5, controls=False))
    headline = summarize(run)["verdict"]["headline"]
    assert (headline["words"], headline["why"]) == ("Undecided", "only 12 test items")
