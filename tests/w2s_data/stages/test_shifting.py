"""Shift of a run: alarms where rows come from elsewhere, and what a run keeps of it."""

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.features.matrix import as_feature_matrix
from w2s_data.probes.linear import LinearProbe
from w2s_data.stages import embed_stage, next_stage, score_stage
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import NextSettings, ScoreSettings
from w2s_data.stages.shifting import WEIGHT, find_shift, shift_of
from w2s_data.stages.weak_labels import WeakLabels, teach


def compute(seed=0, memory="2GB"):
    return Compute(device="cpu", memory=MemoryLimit.parse(memory), progress=False, seed=seed)


def world(seed=0, n_gold=120, n_pool=400, moved=0.0, positive=0.5):
    """Return data with the splits labelled, pool, test; features, and a teacher's column."""
    rng = np.random.default_rng(seed)
    n = n_gold + n_pool + 200
    split = np.repeat(["labelled", "pool", "test"], [n_gold, n_pool, 200])
    codes = (rng.random(n) < np.where(split == "pool", positive, 0.5)).astype(int)
    strong = rng.normal(size=(n, 6)).astype(np.float32)
    strong[:, 0] += 2 * codes - 1
    strong[split == "pool", 1] += moved
    table = pd.DataFrame(
        {
            "text": [f"item {i}" for i in range(n)],
            "label": np.array(["no", "yes"])[codes],
            "split": split,
        }
    )
    return table, strong, strong[:, :3].copy()


def found(table, strong, weak, seed=0, memory="2GB", **roles):
    data = load_dataset(table, item="text", label="label", split="split", **roles)
    features = {"strong": as_feature_matrix(strong), "weak": as_feature_matrix(weak)}
    taught = teach(data, features["weak"], LinearProbe(l2=0.01, random_state=0))
    return find_shift(data, features, taught, compute(seed, memory))


def test_rows_of_one_kind_raise_no_alarm_and_get_no_weights():
    shift = found(*world())
    assert shift.summary["alarm"] is False
    assert shift.weights is None
    assert shift.effective_size == 120
    assert "No shift was found between the 120 labelled rows" in shift.summary["reading"]


@pytest.mark.slow
def test_teachers_that_learned_from_the_labelled_rows_raise_no_false_alarm():
    alarms = [
        found(*world(seed, n_gold=n_gold, n_pool=150), seed=seed).summary["alarm"]
        for seed in range(12)
        for n_gold in (30, 120)
    ]
    assert sum(alarms) <= 1


def test_a_moved_pool_raises_an_alarm_and_its_weights_undo_the_move():
    table, strong, weak = world(moved=1.0, n_gold=400, n_pool=1500)
    shift = found(table, strong, weak)
    by_set = {one["name"]: one["alarm"] for one in shift.summary["sets"]}
    gold = (table["split"] == "labelled").to_numpy()
    assert by_set == {"pool": True, "test": False}
    assert shift.weights[gold].mean() == pytest.approx(1, abs=0.2)
    assert (shift.weights[~gold] == 1).all()
    assert np.average(strong[gold, 1], weights=shift.weights[gold]) == pytest.approx(1, abs=0.3)
    # For N(0, 1) and N(1, 1): n / e.
    assert shift.effective_size == pytest.approx(400 / np.e, rel=0.35)
    assert shift.summary["reading"].startswith("The pool is not where the labels came from:")


def test_other_class_shares_show_in_the_predictions_of_a_taught_teacher():
    shift = found(*world(seed=1, positive=0.1, n_gold=200))
    views = {view["view"]: view["alarm"] for view in shift.summary["sets"][0]["views"]}
    assert views["predictions"]


def test_copies_of_an_item_count_once():
    table, strong, weak = world(seed=2)
    pool = np.flatnonzero(table["split"] == "pool")
    copies = np.repeat(pool[:1], 300)
    rows = np.concatenate([np.arange(len(table)), copies])
    shift = found(table.iloc[rows].reset_index(drop=True), strong[rows], weak[rows])
    assert shift.summary["alarm"] is False
    assert shift.summary["sets"][0]["n"] == len(pool)


def test_a_source_without_labels_is_compared_and_one_with_labels_is_not():
    table, strong, weak = world(seed=3)
    pool = np.flatnonzero(table["split"] == "pool")
    table["source"] = "old"
    table.loc[pool[:100], "source"] = "new"
    strong[pool[:100], 2] += 3
    weak[:] = strong[:, :3]
    shift = found(table, strong, weak, source="source")
    by_set = {one["name"]: (one["kind"], one["alarm"]) for one in shift.summary["sets"]}
    assert by_set["source new"] == ("source", True)
    assert "source old" not in by_set
    typical = {one["name"]: one["typical"] for one in shift.summary["sets"]}["pool"]
    assert len({int(name) for name in typical} & set(pool[:100])) >= len(typical) - 2


@pytest.mark.parametrize(
    ("n_gold", "n_pool", "reason"),
    [(10, 300, "labelled split has 10 different items"), (100, 8, "pool has 8 different items")],
)
def test_few_rows_leave_it_unknown(n_gold, n_pool, reason):
    shift = found(*world(n_gold=n_gold, n_pool=n_pool))
    assert reason in shift.summary["unknown"]
    assert shift.summary["alarm"] is None
    assert shift.weights is None


def test_little_memory_takes_smaller_samples_and_says_so():
    shift = found(*world(n_pool=3000), memory="513MB")
    assert "random samples of" in shift.summary["notes"][0]


def test_a_run_keeps_its_shift_for_the_stages_after_it(tmp_path):
    table, strong, weak = world(moved=2.0)
    run = Run.create(
        tmp_path / "run", load_dataset(table, item="text", label="label", split="split")
    )
    embed_stage(run, EmbedSettings(strong_features=strong, weak_features=weak), compute())
    score_stage(run, ScoreSettings(teacher_l2=0.01), compute())
    kept, first = shift_of(run), found(table, strong, weak)
    column = run.read_table("scores.parquet")[WEIGHT]
    gold = table["split"] == "labelled"
    assert column.isna().equals(~gold)
    np.testing.assert_allclose(kept.weights, first.weights)
    assert kept.effective_size == pytest.approx(first.effective_size)
    assert kept.unexplained == first.unexplained
    assert kept.summary["reading"] == first.summary["reading"]


def test_ready_made_weak_labels_may_be_the_only_difference():
    table, strong, _ = world(seed=4)
    rng = np.random.default_rng(0)
    sure = np.where(table["split"] == "labelled", 0.98, 0.7)
    said = np.where(rng.random(len(table)) < 0.9, table["label"] == "yes", table["label"] != "yes")
    table["p"] = np.where(said, sure, 1 - sure)
    table["q"] = 1 - table["p"]
    data = load_dataset(
        table, item="text", label="label", split="split",
        weak_columns=["q", "p"], class_names=["no", "yes"],
    )  # fmt: skip
    weak = WeakLabels(data.weak_proba)
    shift = find_shift(data, {"strong": as_feature_matrix(strong)}, weak, compute())
    assert {v["view"] for one in shift.summary["sets"] for v in one["views"] if v["alarm"]} == {
        "predictions"
    }
    assert "Only predictions differ" in shift.summary["reading"]


def test_no_gold_rows_are_no_error(tmp_path):
    table, strong, _ = world()
    table["label"] = None
    table["p"], table["q"] = 0.4, 0.6
    data = load_dataset(
        table, item="text", label="label", split="split",
        weak_columns=["q", "p"], class_names=["no", "yes"],
    )  # fmt: skip
    run = Run.create(tmp_path / "run", data)
    embed_stage(run, EmbedSettings(strong_features=strong), compute())
    score_stage(run, ScoreSettings(), compute())
    summary = json.loads((run.path / "shift.json").read_text())
    assert summary["unknown"].startswith("shift is unknown without gold labels")
    assert shift_of(run).weights is None


def test_splits_that_an_encoder_did_not_learn_from_are_not_compared(tmp_path):
    table, _, _ = world(n_gold=40, n_pool=80)
    run = Run.create(
        tmp_path / "run", load_dataset(table, item="text", label="label", split="split")
    )
    settings = EmbedSettings(strong="tfidf:8", weak="tfidf:4", analyzer={"both": "char"})
    embed_stage(run, settings, compute())
    score_stage(run, ScoreSettings(teacher_l2=0.01), compute())
    summary = shift_of(run).summary
    assert [one["name"] for one in summary["sets"]] == ["pool"]
    assert "'test' are not compared" in summary["notes"][0]


def scored_run(folder, **settings):
    table, strong, weak = world(**settings)
    data = load_dataset(table, item="text", label="label", split="split")
    run = Run.create(folder / "run", data)
    embed_stage(run, EmbedSettings(strong_features=strong, weak_features=weak), compute())
    score_stage(run, ScoreSettings(teacher_l2=0.01), compute())
    return run, table, strong, weak


def test_next_for_shift_labels_what_is_missing_and_so_ends_it(tmp_path):
    table, strong, weak = world(n_gold=100, n_pool=800)
    pool = np.flatnonzero(table["split"] == "pool")
    strong[pool[:400], 1] += 6  # half of the pool is of a kind without labels
    folder = tmp_path / "other"
    data = load_dataset(table, item="text", label="label", split="split")
    run = Run.create(folder / "run", data)
    embed_stage(run, EmbedSettings(strong_features=strong, weak_features=weak), compute())
    score_stage(run, ScoreSettings(teacher_l2=0.01), compute())
    summary = next_stage(run, NextSettings(purpose="shift", budget=60), compute()).summary
    chosen = run.read_table("next.parquet")["row"].to_numpy()
    assert 5 <= len(chosen) <= 60
    assert np.isin(chosen, pool[:400]).mean() > 0.9
    assert summary["shift"]["n_needed"] == len(chosen)
    assert summary["shift"]["before"]["uncovered"] > 0.3
    assert summary["shift"]["after"]["uncovered"] < 0.05
    table.loc[chosen, "split"] = "labelled"
    again = found(table, strong, weak)
    assert again.effective_size >= 25
    filled = pd.read_csv(summary["path"])
    assert filled["why"].str.contains("as frequent in the pool").mean() > 0.9


def test_next_for_shift_chooses_nothing_where_nothing_is_shifted(tmp_path):
    run, *_ = scored_run(tmp_path, n_gold=60, n_pool=150)
    summary = next_stage(run, NextSettings(purpose="shift"), compute()).summary
    assert summary["n"] == 0
    assert summary["path"] == ""
    assert summary["shift"]["reason"].startswith("No shift was found")
    assert not (run.path / "next-1.csv").exists()


def test_other_views_are_compared_where_one_encoder_learned():
    table, strong, weak = world(seed=5, n_gold=60, n_pool=150)
    data = load_dataset(table, item="text", label="label", split="split")
    features = {"strong": as_feature_matrix(strong), "weak": as_feature_matrix(weak)}
    taught = teach(data, features["weak"], LinearProbe(l2=0.01, random_state=0))
    summary = find_shift(data, features, taught, compute(), ["weak"]).summary
    views = {one["name"]: [v["view"] for v in one["views"]] for one in summary["sets"]}
    assert views == {"pool": ["strong", "weak", "predictions"], "test": ["strong"]}
    assert "'test' are compared by strong features only" in summary["notes"][0]
