"""Several teachers of values: regressions on features, and columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import audit
from w2s_data.compute.context import Compute
from w2s_data.errors import InputError, NotApplicableError
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.stages.applying import apply_student
from w2s_data.stages.checks import Known, check_stages
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.settings import ScoreSettings
from w2s_data.stages.teacher_settings import TeachSettings
from w2s_data.stages.values.scoring import score_values
from w2s_data.stages.values.teaching import teach_values, value_labels_of
from w2s_data.stages.values.training import gain_values
from w2s_data.stages.values.weak import weak_values_of

TEACHERS = ["all=weak", "part=weak,source=a", "old=columns:far"]


@pytest.fixture
def taught(world, run_of):
    """Return a run with three teachers of values."""
    run = run_of(source="site")
    run.extra = world[0][["far"]]
    teach_values(run, TeachSettings(teacher=TEACHERS))
    return run


def test_each_teacher_has_its_values(taught, world):
    table, strong = world
    dataset = taught.dataset()
    stored = pd.read_parquet(taught.path / "weak_values.parquet")
    assert list(stored.columns) == [
        *("id", "all", "all_error", "part", "part_error", "old", "old_error"),
    ]
    np.testing.assert_allclose(stored["old"], table["far"])
    rows = gold_rows(dataset).rows
    own = rows[dataset.sources[rows] == "a"]
    probe = RidgeProbe().fit(strong[own][:, :2], dataset.targets[own])
    others = np.setdiff1d(np.arange(240), own)
    np.testing.assert_allclose(stored["part"][others], probe.predict(strong[others][:, :2]))
    np.testing.assert_allclose(stored["part"][own], probe.leave_one_out_)
    summary = taught.read_summary("teachers.json")
    assert [one["n_taught"] for one in summary["teachers"]] == [60, 30, 0]
    assert teach_values(taught).fresh


def test_a_run_of_teachers_is_scored_trained_and_applied(taught, world):
    summary = score_values(taught).summary
    far = {scale["name"]: scale["far"] for scale in summary["scales"]}
    assert far == {"all": False, "part": False, "old": True}
    score_values(taught, ScoreSettings(recalibrate=True))
    weak = weak_values_of(taught, taught.dataset())
    table, strong = world
    np.testing.assert_allclose(weak.values[:, 2], (table["far"] - 5) / 2, atol=0.5)
    gain = gain_values(taught, GainSettings(methods=("stacked", "vote"), seeds=1)).summary
    assert {method["name"] for method in gain["methods"]} == {"stacked", "vote"}
    # Features alone have no columns, by which the old teacher would answer.
    assert list(apply_student(taught, strong[:3]).to_frame()) == ["row", "value"]


@pytest.mark.slow
def test_new_rows_without_the_column_of_the_only_teacher_have_values_and_a_note(world, tmp_path):
    off = dict.fromkeys(("forecast", "groups", "select"), False)
    table = world[0].assign(text=[f"odd{i % 7} even{i % 5} item{i}" for i in range(240)])
    run = audit(
        table,
        columns={"item": "text", "label": "y", "split": "split"},
        teachers={"old": {"columns": ["near"]}},
        strong="tfidf:4",
        output=tmp_path / "run",
        gain={"methods": ["naive"], "seeds": 1},
        report={"map": False},
        progress=False,
        **off,
    )
    applied = apply_student(run, table[["text"]][:9], to=tmp_path / "new.csv")
    assert list(applied.to_frame()) == ["id", "value"]
    told = "teacher 'old' abstains on the new rows: there is no column 'near'"
    assert applied.lines()[0] == f"note: {told}"


def test_teachers_are_trained_again_without_held_out_rows(taught):
    dataset = taught.dataset()
    weak = value_labels_of(taught, dataset, Compute(seed=taught.seed))
    learned = weak.learned[0]
    rows = learned.rows
    again = learned.again(dataset.targets, rows[1:])
    assert again[rows[0]] == pytest.approx(weak.values[rows[0], 0])
    assert weak.learned[2] is None


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("a=answers:text", "reads the names of classes.*kind encoder or columns"),
        ("a=columns:near+far", "a teacher of values has one"),
        ("a=label:near,confidence=far", "confidence is of classes"),
        ("a=weak,share=.5", "train_on share is of classes"),
        ("a=weak,specialists=halves", "specialists divide classes"),
        ("a=weak,source=c", "there is no source 'c'"),
    ],
)
def test_refuses_what_is_of_classes(run_of, teacher, message):
    known = Known(run_of(source="site").dataset(), frozenset({"weak", "strong"}))
    with pytest.raises((InputError, NotApplicableError), match=message):
        check_stages({"teach": TeachSettings(teacher=[teacher])}, known)


def test_ready_made_values_need_no_teachers(run_of):
    known = Known(run_of(weak_values="near").dataset(), frozenset({"weak", "strong"}))
    with pytest.raises(InputError, match="not both"):
        check_stages({"teach": TeachSettings(teacher=["a=weak"])}, known)
