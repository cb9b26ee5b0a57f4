"""Students of gold and weak labels together, and of gold labels alone."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.errors import InputError
from w2s_data.finetune import fit_student, make_method, measure_gain
from w2s_data.posterior import LabelPosterior

FAST = {"l2": 1e-3, "epochs": 30, "device": "cpu", "random_state": 0, "progress": False}
N_GOLD = 60


@pytest.fixture(scope="module")
def world():
    """Features, a teacher that calls most of class 2 class 1, truth, and 60 gold codes."""
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=1500)
    features = rng.normal(size=(1500, 12)) + 2 * np.eye(3, 12)[y]
    seen = np.where((y == 2) & (rng.random(1500) < 0.7), 1, y)
    heard = np.where(rng.random(1500) < 0.7, seen, rng.integers(3, size=1500))
    weak = 0.1 + 0.7 * np.eye(3)[heard]
    gold = np.where(np.arange(1500) < N_GOLD, y, -1)
    return features, weak, y, gold


def proba(method, world, **options):
    features, weak, _, gold = world
    return fit_student(method, features, weak, **{"gold": gold, **FAST, **options}).predict_proba(
        features
    )


def test_stacked_is_the_plain_student_of_posterior_and_gold_labels(world):
    features, weak, _, gold = world
    posterior = np.random.default_rng(1).dirichlet([1, 1, 1], size=len(weak))
    labels = np.where(gold[:, None] >= 0, np.eye(3)[gold], posterior)
    plain = fit_student("naive", features, labels, **FAST)
    np.testing.assert_array_equal(
        proba("stacked", world, posterior=posterior), plain.predict_proba(features)
    )


def test_the_weight_of_gold_rows_is_one_of_the_sample(world):
    features, weak, _, gold = world
    labels = np.where(gold[:, None] >= 0, np.eye(3)[gold], weak)
    weight = np.where(gold >= 0, 5.0, 1.0)
    plain = fit_student("naive", features, labels, sample_weight=weight, **FAST)
    method = make_method("stacked", gold_weight=5)
    np.testing.assert_array_equal(
        proba(method, world, posterior=weak), plain.predict_proba(features)
    )


def test_the_posterior_is_that_of_pool_and_gold_rows(world):
    features, weak, _, gold = world
    own = LabelPosterior(random_state=0).fit(
        features[N_GOLD:], weak[N_GOLD:], gold=(features[:N_GOLD], weak[:N_GOLD], gold[:N_GOLD])
    )
    given = np.concatenate([weak[:N_GOLD], own.proba_])  # gold rows have their label instead
    # Another division into folds, so that only the bulk of the labels is the same.
    agreement = proba("stacked", world, posterior=given).argmax(axis=1) == proba(
        "stacked", world
    ).argmax(axis=1)
    assert agreement.mean() > 0.97


def test_labelled_only_never_sees_a_weak_label(world):
    features, weak, _, gold = world
    other = fit_student("labelled_only", features, weak[:, ::-1], gold=gold, **FAST)
    np.testing.assert_array_equal(proba("labelled_only", world), other.predict_proba(features))


def test_other_methods_leave_gold_rows_out(world):
    features, weak, _, gold = world
    rest = gold < 0
    alone = fit_student("crossfit", features[rest], weak[rest], **FAST)
    np.testing.assert_array_equal(proba("crossfit", world), alone.predict_proba(features))


def test_rows_without_a_vote_still_teach_stacked(world):
    """Half of the pool has no weak label: gold rows and features speak for it."""
    features, weak, _, gold = world
    silent = weak.copy()
    silent[700:] = 1 / 3
    student = fit_student("stacked", features, silent, gold=gold, **FAST)
    alone = fit_student("labelled_only", features, silent, gold=gold, **FAST)
    fresh = np.random.default_rng(5)
    truth = fresh.integers(3, size=3000)
    test = fresh.normal(size=(3000, 12)) + 2 * np.eye(3, 12)[truth]
    right = [(each.predict(test) == truth).mean() for each in (student, alone)]
    assert right[0] > right[1] + 0.01


def test_both_beat_the_best_of_teacher_gold_and_weak(world):
    few = slice(N_GOLD // 2, None)  # of the gold rows: with all, they alone are as good
    features, weak, y = (values[few] for values in world[:3])
    splits = np.repeat(["labelled", "pool", "test"], [N_GOLD // 2, 840, 600])
    usual = FAST | {"epochs": None, "l2": 0.1}
    result = measure_gain(features, weak, y, splits, methods=["stacked", "naive"], seeds=2, **usual)
    stacked = result["stacked"].scores["accuracy"].value
    assert stacked > result.teacher.scores["accuracy"].value + 0.02
    assert stacked > result.labelled_only.scores["accuracy"].value + 0.02
    assert stacked > result["naive"].scores["accuracy"].value + 0.02
    # The weak labels as they are, beside the gold labels, gain less.
    assert result.best_control("stacked").name == "mixed"
    assert result.best_control("stacked").lead.value > 0


def test_the_vote_is_the_posterior_at_test(world):
    features, weak, y, _ = world
    splits = np.repeat(["labelled", "pool", "test"], [N_GOLD, 840, 600])
    given = np.random.default_rng(2).dirichlet([1, 1, 1], size=len(y))
    result = measure_gain(
        features, weak, y, splits, methods=["naive"], seeds=1, posterior=given, **FAST
    )
    expected = (given[splits == "test"].argmax(axis=1) == y[splits == "test"]).mean()
    assert result.vote.scores["accuracy"].value == pytest.approx(expected)


def test_without_gold_labels_stacked_says_why_it_has_no_result(world):
    features, weak, y, _ = world
    splits = np.repeat(["pool", "test"], [900, 600])
    result = measure_gain(features, weak, y, splits, methods=["stacked", "naive"], seeds=1, **FAST)
    assert "no row has one" in result.failures["stacked"]
    assert "it needs gold labels" in result.vote.reason
    assert [student.name for student in result.methods] == ["naive"]


def test_labelled_rows_without_a_label_are_not_used(world):
    features, weak, y, _ = world
    splits = np.repeat(["labelled", "pool", "test"], [N_GOLD + 40, 800, 600])
    some = np.where((np.arange(len(y)) >= N_GOLD) & (splits == "labelled"), -1, y)
    result = measure_gain(features, weak, some, splits, methods=["stacked"], seeds=1, **FAST)
    assert result.labelled_only.scores["accuracy"].value > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gold": np.zeros(3, int)}, r"gold must be class codes of shape \(1500,\)"),
        ({"gold": np.full(1500, 0.5)}, "got float64"),
        ({"gold": np.full(1500, 7)}, "from 0 to 2, -1 where"),
        ({"gold": np.full(1500, -1)}, "no row has one"),
        ({"gold": np.zeros(1500, int)}, "no pool to label"),
        ({"posterior": np.ones((1500, 2)) / 2}, r"posterior must have shape \(1500, 3\)"),
        ({"posterior": np.ones((1500, 3))}, "must sum to 1"),
    ],
)
def test_gold_labels_that_do_not_fit_are_refused(world, options, message):
    with pytest.raises(InputError, match=message):
        proba("stacked", world, **options)


def test_all_rows_gold_leave_nothing_to_other_methods(world):
    with pytest.raises(InputError, match="no weak label is left"):
        proba("naive", world, gold=world[2])


@pytest.mark.slow
def test_penalties_are_chosen_for_the_labels_that_a_method_learns(world):
    features, weak, y, _ = world
    splits = np.repeat(["labelled", "pool", "test"], [N_GOLD, 840, 600])
    options = FAST | {"l2": "cv"}
    result = measure_gain(
        features, weak, y, splits, methods=["stacked", "naive", "vsup"], seeds=1, **options
    )
    chosen = result.penalties
    assert set(chosen) == {"stacked", "naive", "vsup", "labelled_only", "ceiling"}
    # The same weak labels, and sixty gold rows, which bear less than nine hundred.
    assert chosen["naive"] == chosen["vsup"] == chosen["stacked"]
    assert chosen["labelled_only"] >= chosen["ceiling"]
    again = measure_gain(features, weak, y, splits, methods=["vsup"], seeds=1, **options)
    assert again.penalties["vsup"] == chosen["vsup"]
