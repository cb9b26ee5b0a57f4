"""The gain of students of values, the students that a run keeps, and new rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data import Run
from w2s_data.errors import InputError, RunError, SplitError
from w2s_data.stages.applying import apply_student
from w2s_data.stages.checks import Known, check_stages
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.values.keeping import load_value_student
from w2s_data.stages.values.scoring import score_values
from w2s_data.stages.values.training import gain_values


@pytest.fixture
def trained(run_of):
    """Return a run with students of its own teacher, which sees two of four features."""
    run = run_of(source="site")
    score_values(run)
    settings = GainSettings(methods=("naive", "stacked"), seeds=2, test_by="source")
    return run, gain_values(run, settings).summary


def test_the_gain_is_that_of_the_test_rows(trained, world):
    run, gain = trained
    assert (gain["task"], gain["metric"], gain["n_test"]) == ("regression", "mse", 60)
    best = gain["methods"][0]
    assert best["name"] == "stacked"
    assert best["gain"]["low"] > 0
    dataset = run.dataset()
    test, pool = dataset.rows("test"), dataset.rows("pool")
    table = pd.read_parquet(run.path / "predictions.parquet")
    assert table["id"].tolist() == dataset.ids.tolist()
    weak = pd.read_parquet(run.path / "weak_values.parquet")["teacher"].to_numpy()
    np.testing.assert_allclose(table["teacher / value"][test], weak[test])
    assert table["teacher / value"][pool].isna().all()
    wrong = (table["stacked / value"] - dataset.targets)[test]
    assert best["mse"]["value"] == pytest.approx(float((wrong**2).mean()))
    # The ceiling is a ridge regression of the pool's gold values, nearly without a penalty.
    strong = world[1]
    ceiling = Ridge(1e-6).fit(strong[pool], dataset.targets[pool]).predict(strong[test])
    error = float(np.mean((ceiling - dataset.targets[test]) ** 2))
    assert gain["ceiling"]["mse"]["value"] == pytest.approx(error, rel=0.05)
    assert [split["name"] for split in gain["splits"]] == ["a", "b"]


def test_students_are_kept_and_predict_new_rows(trained, world, tmp_path):
    run, gain = trained
    assert gain["kept"] == {"best": "stacked", "naive": "naive"}
    run = Run.open(run.path)
    strong, test = world[1], run.dataset().rows("test")
    table = pd.read_parquet(run.path / "predictions.parquet")
    for which, name in gain["kept"].items():
        student = load_value_student(run, which)
        np.testing.assert_allclose(
            student.predict(strong[test]), table[f"{name} / value"][test], rtol=1e-6
        )
    applied = apply_student(run, strong[:7], to=tmp_path / "new.csv")
    frame = applied.to_frame()
    np.testing.assert_allclose(
        frame["value"], load_value_student(run).predict(strong[:7]), rtol=1e-6
    )
    assert applied.student["method"] == "stacked"
    assert applied.student["chosen_on_test"]
    assert any("MSE" in line for line in applied.lines())
    assert "README.md" in {file.name for file in (run.path / "students/best").iterdir()}


def test_a_fresh_gain_is_read_and_older_students_are_refused(trained):
    run, _ = trained
    settings = GainSettings(methods=("naive", "stacked"), seeds=2, test_by="source")
    assert gain_values(run, settings).fresh
    assert not gain_values(run, GainSettings(methods=("naive",), seeds=1)).fresh
    gain = run.read_summary("gain.json")
    assert gain["labelled_only"]["mse"]["value"] < gain["methods"][0]["mse"]["value"]
    assert gain["kept"] == {"best": "labelled_only", "naive": "naive"}
    score_values(run)
    assert load_value_student(run, "naive").method.name == "naive"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*undertrained")
def test_whole_models_are_trained_kept_and_applied(run_of, world, tmp_path):
    save_tiny_model(tmp_path / "tiny", n_layers=1)
    run = run_of(weak_values=["near"])
    score_values(run)
    settings = GainSettings(
        methods=("naive",), seeds=2, tuning="full", model=str(tmp_path / "tiny"), epochs=1
    )
    gain = gain_values(run, settings).summary
    assert (gain["tuning"], gain["seeds"], gain["failures"]) == ("full", [0, 1], {})
    trainings = sorted((run.path / "gain").glob("*/*/*/*.safetensors"))
    assert len(trainings) == 6  # each resumes by itself: two seeds of naive, gold alone, ceiling
    texts = world[0]["text"].tolist()[:9]
    applied = apply_student(run, world[0][:9], to=tmp_path / "new.csv").to_frame()
    student = load_value_student(run, device="cpu")
    assert student.seeds == (0,)
    np.testing.assert_allclose(applied["value"], student.predict(texts), rtol=1e-5)
    card = (run.path / "students/best/README.md").read_text(encoding="utf-8")
    assert "student.predict(items)" in card
    assert "the mean of 2 seeds; this folder holds the first" in card
    assert student.diagnostics["undertrained"] in ([False], [True])


def test_the_defaults_are_the_methods_of_values(run_of):
    run = run_of(weak_values=["near", "far"])
    score_values(run)
    names = {
        method["name"] for method in gain_values(run, GainSettings(seeds=1)).summary["methods"]
    }
    assert names == {"stacked", "naive", "crossfit", "bootstrap"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ("confidence",)}, "no meaning for values"),
        ({"epochs": 3}, "trained by steps"),
        (
            {"early_stopping": True},
            "early_stopping is a setting of heads that",
        ),
        ({"head": "ridge", "tuning": "full", "model": "any"}, "in closed form"),
        ({"test_by": "group"}, "the data have none"),
    ],
)
def test_refuses_settings_of_classes(run_of, settings, message):
    known = Known(run_of().dataset(), frozenset({"weak", "strong"}))
    with pytest.raises((InputError, RunError), match=message):
        check_stages({"gain": GainSettings(**settings)}, known)


def test_test_rows_need_gold_values(world, run_of):
    table, _ = world
    run = run_of(table.assign(y=table["y"].mask(table["split"] == "test")))
    with pytest.raises(SplitError, match="has 60 rows without a label"):
        check_stages({"gain": GainSettings()}, Known(run.dataset()))


def test_settings_of_either_task_are_no_mistake_before_the_data_are_read():
    check_stages({"gain": GainSettings(methods=("vote:average=median",))})
    with pytest.raises(InputError, match="no method"):
        check_stages({"gain": GainSettings(methods=("nonsense",))})
