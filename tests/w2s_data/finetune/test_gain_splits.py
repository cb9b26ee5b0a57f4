"""Several test splits: columns, paired differences, and where the splits disagree."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.finetune.test_gain import make_world
from w2s_data.errors import InputError, SplitError
from w2s_data.finetune.gain.intervals import Comparison, Measurement, undefined
from w2s_data.finetune.gain.splits import SplitGain, SplitStudent, contrast_splits

METHODS = ("stacked", "naive")


def by_number(world) -> np.ndarray:
    """Test rows in the splits test (every second), test_b, and test_a with its labels turned."""
    splits, test = world.splits.astype(object), np.flatnonzero(world.splits == "test")
    splits[test[1::4]], splits[test[3::4]] = "test_b", "test_a"
    return splits


@cache
def measured():
    """A world whose teacher is turned round on test_a, measured with its test splits named."""
    world = make_world()
    splits = by_number(world)
    world.weak[splits == "test_a"] = world.weak[splits == "test_a"][:, [1, 2, 0]]
    return world, splits, world.measure(*METHODS, splits=splits)


def test_splits_are_columns_and_the_figures_are_about_the_one_called_test():
    world, splits, result = measured()
    assert [(split.name, split.n) for split in result.splits] == [
        ("test", 200), ("test_a", 100), ("test_b", 100),
    ]  # fmt: skip
    assert (result.main_split, result.n_test) == ("test", 200)
    right = world.weak.argmax(axis=1) == world.labels
    for split in result.splits:
        expected = right[splits == split.name].mean()
        assert split["teacher"].accuracy.value == pytest.approx(expected)
        assert {s.name for s in split.students} == {
            "teacher",
            "ceiling",
            "labelled_only",
            "vote",
            *METHODS,
        }
    # The column of the main split holds what stands elsewhere, interval and all.
    main = result.splits[0]
    for student in result.methods:
        assert main[student.name].accuracy == student.scores["accuracy"]
        assert main[student.name].gain == student.gain
        assert main[student.name].over_labelled == student.over_labelled
    assert (main.best, main.advised) == (result.best, result.advised)
    assert result.reading.endswith("on test split 'test'")


def test_differences_are_those_of_the_same_items():
    _, splits, result = measured()
    items = result.predictions()
    for split in result.splits:
        own = items[splits == split.name]
        right = {name: own[f"{name} / right"].mean() for name in METHODS}
        teacher = (own["teacher / label"] == own["label"]).mean()
        for name in METHODS:
            assert split[name].accuracy.value == pytest.approx(right[name], abs=1e-6)
            assert split[name].gain.value == pytest.approx(right[name] - teacher, abs=1e-6)
            over = right[name] - split["labelled_only"].accuracy.value
            assert split[name].over_labelled.value == pytest.approx(over, abs=1e-6)
        # Paired: narrower than two intervals that know nothing of one another.
        halves = [split[name].accuracy for name in METHODS]
        apart = np.hypot(*((e.high - e.low) / 2 for e in halves))
        paired = split.comparisons[0].difference
        assert (paired.high - paired.low) / 2 < apart


def test_a_split_does_not_depend_on_the_others():
    world, splits, result = measured()
    kept = splits != "test_b"
    few = world.measure(
        "naive",
        features=world.features[kept],
        weak_proba=world.weak[kept],
        labels=world.labels[kept],
        splits=splits[kept],
    )
    alike = {split.name: split for split in few.splits}
    for split in result.splits:
        if split.name in alike:
            assert alike[split.name]["naive"].accuracy == split["naive"].accuracy
            assert alike[split.name]["naive"].gain == split["naive"].gain


def test_the_worst_split_is_beside_the_worst_group():
    world, splits, _ = measured()
    result = world.measure(*METHODS, splits=splits, groups=world.groups)
    for student in result.methods:
        least = min(split[student.name].accuracy.value for split in result.splits)
        # The least of each seed, averaged, is at most the least of the averages.
        assert student.scores["worst_split"].value <= least + 1e-12
        assert student.scores["worst_split"].value == pytest.approx(least, abs=0.02)
        assert "worst_group" in student.scores
    assert result.splits[1].name == "test_a"
    table = result.table()
    assert {"worst_split", "worst_split_gain_low"} <= {*table.columns}
    by_seed = result.to_frame()
    assert {"split_test", "split_test_a", "split_test_b", "worst_split"} <= {*by_seed.columns}
    own = by_seed[by_seed["student"] == "naive"]
    assert own["split_test_a"].mean() == pytest.approx(
        result.splits[1]["naive"].accuracy.value
    )  # fmt: skip


def test_tables_and_text():
    _, splits, result = measured()
    table = result.split_table()
    assert len(table) == 3 * 6
    assert table["split"].unique().tolist() == ["test", "test_a", "test_b"]
    assert table.loc[table["student"] == "teacher", "gain"].isna().all()
    found = result.to_dict()
    assert [split["name"] for split in found["splits"]] == ["test", "test_a", "test_b"]
    json.dumps(found["splits"])
    text = repr(result)
    assert "test 200 items of 'test'" in text
    assert "test (200)" in text
    assert "test_a (100)" in text
    items = result.predictions()
    assert items["split"].unique().tolist() == pd.unique(splits_without_names(splits)).tolist()
    assert (items["test_split"] == "test_a").sum() == 100


def splits_without_names(splits: np.ndarray) -> np.ndarray:
    return np.where(np.char.startswith(splits.astype(str), "test"), "test", splits)


def test_names_change_nothing_but_the_columns():
    """With one test split called "test" nothing is new; other names only cut the same rows up."""
    world, splits, _ = measured()
    one = world.measure(*METHODS)
    assert one.splits == ()
    assert one.contrasts == ()
    assert not {"worst_split"} & {*one.methods[0].scores}
    assert "test_split" not in one.predictions()
    together = world.measure(
        *METHODS, splits=np.where(splits == "test", "test_c", splits).astype(object)
    )
    # No split is called "test": the figures are those of all test rows.
    assert (together.main_split, together.n_test) == ("", 400)
    assert [student.gain for student in together.methods] == [s.gain for s in one.methods]
    assert together.reading == f"{one.reading}, on 3 test splits together"
    pd.testing.assert_frame_equal(
        together.predictions().drop(columns="test_split"), one.predictions()
    )


def test_test_by_a_column():
    world, _, _ = measured()
    source = np.where(np.arange(len(world.labels)) % 3 == 0, "web", "crowd")
    result = world.measure("naive", test_by=source)
    assert [split.name for split in result.splits] == ["crowd", "web"]
    test = world.splits == "test"
    assert [split.n for split in result.splits] == [
        (test & (source == name)).sum() for name in ("crowd", "web")
    ]
    assert result.main_split == ""
    with pytest.raises(InputError, match="test_by"):
        world.measure("naive", test_by=source[:-1])


def test_one_source_is_one_column_and_is_said():
    world, _, _ = measured()
    one = world.measure("naive", test_by=np.full(len(world.labels), "web"))
    assert [split.name for split in one.splits] == ["web"]
    assert one.splits[0]["naive"].gain == one["naive"].gain
    assert "worst_split" not in one["naive"].scores
    assert any("all test rows are in the one test split 'web'" in text for text in one.warnings)


def test_small_splits_and_splits_of_one_class():
    world, _, _ = measured()
    splits = world.splits.astype(object)
    test = np.flatnonzero(world.splits == "test")
    splits[test[:5]] = "test_tiny"
    splits[test[5:][world.labels[test[5:]] == 1]] = "test_one"
    result = world.measure("naive", splits=splits)
    tiny, one = (next(s for s in result.splits if s.name == f"test_{n}") for n in ("tiny", "one"))
    assert tiny["naive"].accuracy.high - tiny["naive"].accuracy.low > 0.3
    assert np.isfinite([one["naive"].accuracy.value, one["naive"].gain.high]).all()
    assert any(
        "fewer than 20 rows" in text and "'test_tiny' (5)" in text for text in result.warnings
    )
    assert any("'test_one'" in text and "one class" in text for text in result.warnings)


def test_a_single_test_row_is_defined():
    world, _, _ = measured()
    splits = world.splits.astype(object)
    splits[np.flatnonzero(world.splits == "test")[0]] = "test_single"
    result = world.measure("naive", splits=splits)
    single = result.splits[-1]
    assert single.n == 1
    gain = single["naive"].gain
    assert gain.low <= gain.value <= gain.high
    assert gain.high - gain.low >= 1


def test_a_split_without_labels_is_refused_by_name():
    world, splits, _ = measured()
    labels = world.labels.copy()
    labels[splits == "test_b"] = -1
    with pytest.raises(SplitError, match="of test split 'test_b' have no label"):
        world.measure("naive", splits=splits, labels=labels)


def test_intervals_of_splits_hold_over_draws_of_test_items():
    """Cover the true gain of a fixed student per split, on 100 draws of two splits."""
    rng, hits = np.random.default_rng(0), []
    truth = {"test": 0.10, "test_b": -0.10}
    for _ in range(100):
        teacher, student = rng.random((2, 400)), rng.random((2, 400))
        hits.append(covered(teacher < 0.7, student < np.array([[0.8], [0.6]]), truth))
    assert np.mean(hits, axis=0) == pytest.approx([0.95, 0.95], abs=0.06)


def covered(teacher, student, truth) -> list[bool]:
    from w2s_data.finetune.gain.data import GainData
    from w2s_data.finetune.gain.intervals import measure
    from w2s_data.finetune.gain.scores import Scorer

    n = teacher.size
    names = np.repeat(np.array(list(truth), dtype=object), n // 2)
    right = {"teacher": teacher.ravel(), "student": student.ravel()}
    proba = {name: np.eye(2)[hit.astype(int)][None] for name, hit in right.items()}
    data = GainData(
        [None] * n, np.zeros((n, 1, 2)), np.ones(n, dtype=int), np.full(n, "test"), (0, 1),
        test_splits=names,
    )  # fmt: skip
    scorer = Scorer(data, 200, 0, 0.95)
    own, other = scorer.score(proba["student"]), scorer.score(proba["teacher"])
    gains = {name: measure(own.on(name) - other.on(name), 0.95) for name in truth}
    return [gains[name].low <= value <= gains[name].high for name, value in truth.items()]


# ------------------------------------------------------------------------------------- contrasts


def estimate(value: float, half: float = 0.02) -> Measurement:
    return Measurement(value, value - half, value + half, 0.95)


def split(name, gains, half=0.02, advised="weak") -> SplitGain:
    one, two = gains
    students = [
        SplitStudent(
            method,
            estimate(0.7 + gain),
            estimate(gain, half),
            undefined(""),
            int(gain > half) - int(gain < -half),
        )
        for method, gain in gains.items()
    ]
    difference = estimate(gains[one] - gains[two], half)
    comparisons = (Comparison(one, two, difference),)
    return SplitGain(name, 100, tuple(students), comparisons, advised, advised, "")


def test_a_gain_that_changes_sign_is_said():
    splits = [split("test", {"a": 0.1, "b": 0.05}), split("test_b", {"a": -0.1, "b": 0.04})]
    said = contrast_splits(splits, ["a", "b"])
    assert said[0] == (
        "the gain of a changes sign between the test splits: +0.100 (+0.080 to +0.120) on 'test', "
        "-0.100 (-0.120 to -0.080) on 'test_b'"
    )
    assert "methods rank differently: a minus b is +0.050" in said[1]
    assert len(said) == 2


def test_a_change_that_may_be_chance_is_said_to_be():
    splits = [split("test", {"a": 0.1, "b": 0.09}), split("test_b", {"a": -0.01, "b": 0.04})]
    said = contrast_splits(splits, ["a", "b"])
    assert said[0].endswith("; the loss may be chance")
    splits = [split("test", {"a": 0.01, "b": 0.02}), split("test_b", {"a": -0.01, "b": -0.02})]
    said = contrast_splits(splits, ["a", "b"])
    assert said[0] == "the gain of a, b changes sign between the test splits, which may be chance"
    assert "the order of the methods differs" in said[1]


def test_splits_that_agree_say_nothing():
    splits = [split("test", {"a": 0.1, "b": 0.05}), split("test_b", {"a": 0.08, "b": 0.04})]
    assert contrast_splits(splits, ["a", "b"]) == ()
    assert contrast_splits(splits[:1], ["a", "b"]) == ()
    assert contrast_splits(splits, []) == ()


def test_advice_that_depends_on_the_split_is_said():
    splits = [
        split("test", {"a": 0.1, "b": 0.05}),
        split("test_b", {"a": 0.1, "b": 0.05}, advised="gold"),
    ]
    assert contrast_splits(splits, ["a", "b"]) == (
        "the advice depends on the test split: train on weak labels on 'test'; train on the gold "
        "labels on 'test_b'",
    )
