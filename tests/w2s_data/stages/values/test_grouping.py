"""Groups of values: errors by group, pairs that contradict each other, the cost of shares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data.stages.graph import DUPLICATES, GROUPS, function_of
from w2s_data.stages.values.grouping import group_values
from w2s_data.stages.values.scoring import score_values


@pytest.fixture
def grouped(run_of, world):
    """Groups by site, with two pairs of equal features, of which one has unlike values."""
    table, strong = world
    strong[1], strong[5] = strong[2], strong[6]  # rows of the pool
    table = table.assign(y=table["y"].where(table.index != 1, table["y"][2] + 9))
    run = run_of(table.assign(y=table["y"].where(table.index != 5, table["y"][6])), group="site")
    score_values(run)
    return run, group_values(run).summary


def test_the_stage_is_that_of_the_graph():
    assert function_of(GROUPS, "regression") is group_values


def test_groups_have_errors(grouped):
    run, summary = grouped
    scores = run.read_table("scores.parquet")
    wrong = (run.dataset().targets - scores["weak_value"].to_numpy())[run.dataset().groups == "a"]
    row = next(row for row in summary["groups"] if row["group"] == "a")
    assert row["weak_mse"]["value"] == pytest.approx(float((wrong**2).mean()))
    assert row["weak_offset"]["value"] == pytest.approx(float(wrong.mean()))
    assert summary["spurious"]["task"] == "regression"


def test_only_values_beyond_the_noise_contradict(grouped):
    run, summary = grouped
    assert summary["duplicates"]["n_labels_differ"] == 1
    assert 3 < summary["duplicates"]["noise"] / 0.5 < 6  # 3 sqrt(2) deviations of the noise
    pairs = pd.read_parquet(run.path / DUPLICATES)
    differ = np.abs(pairs["label_a"] - pairs["label_b"])[pairs["labels_differ"]]
    assert differ.to_list() == [pytest.approx(9)]
