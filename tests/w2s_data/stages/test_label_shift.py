"""Label shift in a run: shares, corrected posterior and weights, and shifts that are more."""

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.stages.test_posterior import CLASSES, scored
from w2s_data.stages.posterior import posterior_of


def world(pool_share, moved=0.0, n_gold=200, n_pool=1000, seed=0):
    """Return a table without labels of the pool, its strong features and the true classes."""
    rng = np.random.default_rng(seed)
    codes = np.concatenate([rng.integers(2, size=n_gold), rng.random(n_pool) < pool_share])
    codes = codes.astype(int)
    strong = rng.normal(size=(len(codes), 6)).astype(np.float32)
    strong[:, 0] += 2.0 * codes
    strong[n_gold:, 3] += moved
    said = np.where(rng.random(len(codes)) < 0.7, codes, 1 - codes)
    proba = np.where(np.eye(2)[said] > 0, 0.7, 0.3)
    labels = np.array(CLASSES[:2], dtype=object)[codes]
    labels[n_gold:] = None
    table = pd.DataFrame(proba, columns=["p0", "p1"]).assign(
        text=[f"item {i}" for i in range(len(codes))],
        label=labels,
        split=np.where(np.arange(len(codes)) < n_gold, "labelled", "pool"),
    )
    return table, strong, codes


def shift_of(run):
    return run.read_summary("shift.json")["label_shift"]


def test_other_class_shares_correct_posterior_and_weights(tmp_path):
    table, strong, codes = world(0.85)
    run, summary = scored(tmp_path, table, strong)
    found = shift_of(run)
    assert (found["shifted"], found["alone"]) == (True, True)
    cat = found["classes"][1]
    assert cat["labelled_share"] == pytest.approx(codes[:200].mean())
    assert cat["pool_share"]["low"] < codes[200:].mean() < cat["pool_share"]["high"]
    assert "the posterior is corrected for it" in found["reading"]
    proba = posterior_of(run, run.dataset())[200:]
    assert proba[:, 1].mean() == pytest.approx(cat["pool_share"]["value"], abs=0.05)
    right = (proba.argmax(axis=1) == codes[200:]).mean()
    assert summary["accuracy"]["low"] < right < summary["accuracy"]["high"]
    weights = run.read_table("scores.parquet")["shift_weight"][:200]
    by_class = weights.groupby(codes[:200]).mean()
    assert by_class[1] / by_class[0] == pytest.approx(0.85 / 0.15, rel=0.5)


def test_items_of_one_class_that_differ_too_are_not_label_shift_alone(tmp_path):
    table, strong, _ = world(0.85, moved=2.0)
    run, _ = scored(tmp_path, table, strong)
    found = shift_of(run)
    assert (found["shifted"], found["alone"]) == (True, False)
    assert "not label shift alone" in found["reading"]


def test_equal_shares_change_nothing_and_few_gold_rows_have_a_reason(tmp_path):
    table, strong, _ = world(0.5)
    run, _ = scored(tmp_path / "equal", table, strong)
    found = shift_of(run)
    assert (found["shifted"], found["alone"]) == (False, None)
    assert run.read_table("scores.parquet")["shift_weight"].isna().all()
    table, strong, _ = world(0.85, n_gold=35)
    run, _ = scored(tmp_path / "few", table, strong)
    assert "require 40 gold rows of 2 classes" in shift_of(run)["unknown"]
