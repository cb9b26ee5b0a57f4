"""Details of a measurement beside its numbers: predictions item by item, and diagnostics."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.finetune.test_gain import make_world
from w2s_data.finetune import fit_student
from w2s_data.finetune.gain.diagnostics import MOST_STEPS, average_diagnostics

# The settings of the measurements, for students that are trained beside them.
SAME = {"l2": 1e-3, "epochs": 30, "learning_rate": 1e-2, "random_state": 0}
METHODS = ("naive", "raven", "cosupervised", "enhanced", "crossfit", "confidence")


@pytest.fixture(scope="module")
def world():
    """Seven teachers, of which the last four know two classes of three each."""
    world = make_world(n_teachers=7)
    for teacher, unknown in ((3, 0), (4, 1), (5, 2), (6, 0)):
        world.weak[:, teacher, unknown] = 0
    world.weak /= world.weak.sum(axis=2, keepdims=True)
    return world


@pytest.fixture(scope="module")
def measured(world, tmp_path_factory):
    """A measurement with all that it leaves, and where its checkpoint is."""
    folder = tmp_path_factory.mktemp("details") / "gain"
    return world.measure(*METHODS, groups=world.groups, seeds=3, checkpoint=folder), folder


def test_predictions_have_the_measured_accuracy(world, measured):
    result, _ = measured
    table = result.predictions()
    test = world.splits == "test"
    assert table["row"].tolist() == list(range(len(test)))
    for name in METHODS:
        accuracy = result[name].scores["accuracy"].value
        assert table.loc[test, f"{name} / right"].mean() == pytest.approx(accuracy, abs=1e-7)
        for group, found in result[name].groups.items():
            rows = test & (world.groups == group)
            assert table.loc[rows, f"{name} / right"].mean() == pytest.approx(found.value, abs=1e-7)
    teacher = (table["teacher / label"].astype(int) == world.labels)[test].mean()
    assert teacher == pytest.approx(result.teacher.scores["accuracy"].value, abs=1e-12)


def test_predictions_are_those_of_the_student(world, measured):
    table = measured[0].predictions()
    pool = world.splits == "pool"
    features, weak = world.features, world.weak
    student = fit_student(*("naive", features[pool], weak[pool]), seeds=3, **SAME)
    proba = student.predict_proba(features)
    assert (table["naive / label"].astype(int) == proba.argmax(axis=1)).mean() > 0.999
    np.testing.assert_allclose(table["naive / proba"], proba.max(axis=1), atol=1e-4)
    own = proba[np.arange(len(proba)), world.labels]
    np.testing.assert_allclose(table["naive / gold proba"], own, atol=1e-4)


def test_one_seed_predicts_what_was_measured(world):
    result = world.measure("naive", seeds=1)
    table = result.predictions()[world.splits == "test"]
    accuracy = (table["naive / label"].astype(int) == table["label"].astype(int)).mean()
    assert accuracy == result["naive"].scores["accuracy"].value


def test_items_without_gold_label_are_neither_right_nor_wrong(world):
    hidden = np.where(world.splits == "pool", -1, world.labels)
    table = world.measure("naive", labels=hidden).predictions()
    pool = world.splits == "pool"
    assert table.loc[pool, ["naive / right", "naive / gold proba"]].isna().all(axis=None)
    assert table.loc[pool, "label"].isna().all()
    assert table.loc[pool, "naive / label"].notna().all()


def test_weights_of_teachers_are_shares_at_every_step(measured):
    weights = measured[0].diagnostics["raven"]["weights"]
    mean = np.array(weights["mean"])
    assert mean.shape == (len(weights["steps"]), 7)
    assert len(weights["steps"]) <= MOST_STEPS
    np.testing.assert_allclose(mean.sum(axis=1), 1, atol=1e-5)
    assert (np.array(weights["low"]) <= mean + 1e-6).all()
    assert (mean <= np.array(weights["high"]) + 1e-6).all()
    np.testing.assert_allclose(mean[0], 1 / 7, atol=1e-6)


def test_long_paths_keep_both_ends(world):
    result = world.measure("raven", epochs=70, seeds=1)
    steps = result.diagnostics["raven"]["weights"]["steps"]
    assert len(steps) == MOST_STEPS
    assert (steps[0], steps[-1]) == (0, 70 * 3)


def test_assignments_count_every_point_of_a_class_once(world, measured):
    stages = measured[0].diagnostics["cosupervised"]["stages"]
    assert [stage["teachers"] for stage in stages] == [[1, 2], [3, 4, 5, 6]]
    pool = world.splits == "pool"
    student = fit_student(
        *("cosupervised", world.features[pool], world.weak[pool]),
        seeds=3,
        controls=False,
        **SAME,
    )
    knows = (world.weak[pool] > 0).any(axis=0)
    for number, stage in enumerate(stages, start=1):
        shares = np.array(stage["shares"])
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assigned = student.diagnostics["assignment"][number]
        for c in range(3):
            own = assigned[:, world.labels[pool] == c]
            by_hand = [(own == teacher).mean() for teacher in stage["teachers"]]
            np.testing.assert_allclose(shares[c], by_hand, atol=0.02)
        by_hand = knows[assigned, world.labels[pool]].mean()
        assert stage["own"] == pytest.approx(by_hand, abs=0.02)
    assert stages[0]["own"] == 1
    assert stages[1]["knows"][0] == [False, True, True]


def test_kept_shares_add_up(world, measured):
    pool = world.splits == "pool"
    labels = world.weak[pool].mean(axis=1).argmax(axis=1)
    for name in ("enhanced", "crossfit"):
        kept = measured[0].diagnostics[name]["kept"]
        for shares, codes in (("by_label", labels), ("by_gold", world.labels[pool])):
            sizes = np.bincount(codes, minlength=3) / pool.sum()
            assert np.dot(kept[shares], sizes) == pytest.approx(kept["share"])
        sizes = {name: (world.groups[pool] == name).mean() for name in ("long", "short")}
        by_group = sum(kept["by_group"][g] * size for g, size in sizes.items())
        assert by_group == pytest.approx(kept["share"])
        assert kept["right_all"] == pytest.approx((labels == world.labels[pool]).mean())
        assert kept["right"] > kept["right_all"]
    assert measured[0].diagnostics["enhanced"]["kept"]["share"] == pytest.approx(0.5, abs=0.01)
    assert max(measured[0].diagnostics["confidence"]["own_weight"]) == 0.75
    assert "naive" not in measured[0].diagnostics


def test_a_resumed_measurement_keeps_as_much(world, measured):
    result, folder = measured
    resumed = world.measure(*METHODS, groups=world.groups, seeds=3, checkpoint=folder)
    pd.testing.assert_frame_equal(result.predictions(), resumed.predictions())
    assert result.diagnostics == resumed.diagnostics
    json.dumps(result.to_dict()["diagnostics"], allow_nan=False)


def test_seeds_with_different_diagnostics_are_not_averaged():
    assert average_diagnostics([]) == {}
    assert average_diagnostics([{"kept": {"share": 0.5}}, {}]) == {}
    paths = [{"weights": {"steps": [0, n], "path": [[1.0], [1.0]]}} for n in (5, 6)]
    assert average_diagnostics(paths) == {}
    assert average_diagnostics([{"own_weight": [0.0]}, {"own_weight": [0.0, 0.5]}]) == {}
    assert average_diagnostics([{"kept": {"right": None}}, {"kept": {"right": 0.5}}]) == {
        "kept": {"right": 0.5}
    }


def test_students_of_a_result_predict_as_measured(tmp_path):
    world = make_world()
    for checkpoint in (None, tmp_path / "checkpoint"):
        result = world.measure("naive", "confidence", checkpoint=checkpoint, random_state=0)
        student = result.student("naive")
        proba = student.predict_proba(world.features)
        predictions = result.predictions()
        np.testing.assert_allclose(proba.max(axis=1), predictions["naive / proba"], atol=1e-6)
        assert student.seeds == result.seeds
        assert result.student().method.name == result.best_student
    with pytest.raises(KeyError, match="no student 'crossfit'"):
        result.student("crossfit")


def test_best_counts_the_student_of_gold_labels():
    world = make_world(noise=30.0)
    result = world.measure("naive")
    assert result.labelled_only.scores["accuracy"].value > result["naive"].scores["accuracy"].value
    assert result.best_student == "labelled_only"
    assert result.student().method.name == "labelled_only"
