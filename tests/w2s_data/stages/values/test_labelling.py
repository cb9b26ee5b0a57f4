"""The next rows to label, the filled table, and the values to train on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run
from w2s_data.errors import ColumnError, NotApplicableError
from w2s_data.stages.opening import open_run
from w2s_data.stages.settings import DataSettings, NextSettings, RunSettings
from w2s_data.stages.values.exporting import export_values
from w2s_data.stages.values.labelling import next_values
from w2s_data.stages.values.scoring import score_values


@pytest.fixture
def run(world, run_of):
    """Return a scored run whose pool has no gold values, and the true values."""
    table, _ = world
    pool = table["split"] == "pool"
    made = run_of(table.assign(y=table["y"].mask(pool)), weak_values="near", source="site")
    score_values(made)
    return made, table["y"].to_numpy()


def test_the_posterior_is_nearer_than_the_weak_values(run):
    made, y = run
    posterior = pd.read_parquet(made.path / "posterior.parquet")
    dataset = made.dataset()
    pool, test = dataset.rows("pool"), dataset.rows("test")
    for rows in (pool, test):
        own = np.mean((posterior["value"] - y)[rows] ** 2)
        assert own < 0.6 * np.mean((dataset.weak_values[:, 0] - y)[rows] ** 2)
    # Noise of .5 that no view knows, and what 60 gold rows leave open.
    within = np.abs(posterior["value"] - y)[pool] < 1.645 * posterior["error"][pool]
    assert 0.8 < within.mean() <= 1
    summary = made.read_summary("posterior.json")
    assert list(summary["weights"]) == ["near", "gold values", "student"]
    assert (summary["unknown"], summary["mse"], summary["n_gold"]) == ("", None, 60)


def test_the_table_comes_back_as_labels(run, tmp_path):
    made, y = run
    result = next_values(made, NextSettings(budget=8)).summary
    table = pd.read_csv(result["path"])
    assert len(table) == 8
    assert list(table.columns[:3]) == ["id", "item", "label"]
    assert set(table["why"]) != {"drawn at random"}
    posterior = pd.read_parquet(made.path / "posterior.parquet").set_index("id")
    chosen = posterior.loc[table["id"].astype(str)]
    np.testing.assert_allclose(table["guess"], chosen["value"])
    np.testing.assert_allclose(table["error"], chosen["error"])

    table["label"] = y[table["id"]]
    table.loc[0, "label"] = np.nan
    filled = tmp_path / "filled.csv"
    table.to_csv(filled, index=False)
    data = DataSettings(path=made.path, labels=(filled,))
    more = open_run(data, RunSettings()).dataset()
    assert any("errors are those of the labelled rows, is too high" in n for n in more.notes)
    moved = table["id"].to_numpy()[1:]
    assert set(more.splits[moved]) == {"labelled"}
    np.testing.assert_allclose(more.targets[moved], y[moved])
    assert not more.is_labelled[table["id"][0]]
    assert more.targets.dtype == np.float64
    assert Run.open(made.path).labelling().labels.keys() == set(map(str, moved))


def test_words_in_the_table_are_refused(run, tmp_path):
    made, _ = run
    table = pd.DataFrame({"id": ["1", "2"], "label": ["3.5", "tall"]})
    filled = tmp_path / "filled.csv"
    table.to_csv(filled, index=False)
    with pytest.raises(ColumnError, match="row 1 holds 'tall'"):
        open_run(DataSettings(path=made.path, labels=(filled,)), RunSettings())


def test_a_choice_against_a_shift_is_refused(run):
    with pytest.raises(NotApplicableError, match="leave out purpose"):
        next_values(run[0], NextSettings(purpose="shift"))


def test_values_to_train_on(run):
    made, y = run
    export_values(made)
    table = pd.read_parquet(made.path / "relabelled.parquet")
    dataset = made.dataset()
    assert len(table) == 180
    gold = table["split"] == "labelled"
    assert set(table[gold]["why"]) == {"gold"}
    np.testing.assert_allclose(table[gold]["value"], y[dataset.rows("labelled")])
    assert (table[gold]["error"] == 0).all()
    assert (table[gold]["weight"] == 1).all()
    posterior = pd.read_parquet(made.path / "posterior.parquet")
    pool = dataset.rows("pool")
    np.testing.assert_allclose(table[~gold]["value"], posterior["value"][pool])
    moved = np.abs(table["value"] - table["weak_value"])
    near = table["why"] == "weak value confirmed: within one error"
    assert (moved[near] <= table["error"][near]).all()
    assert (moved[~near & ~gold] > table["error"][~near & ~gold]).all()


def test_values_without_gold_are_the_weak_ones(world, run_of):
    made = run_of(world[0].assign(y=np.nan, split="pool"), weak_values="near", task="regression")
    score_values(made)
    assert "requires 3 gold values" in made.read_summary("posterior.json")["unknown"]
    export_values(made)
    table = pd.read_parquet(made.path / "relabelled.parquet")
    np.testing.assert_allclose(table["value"], world[0]["near"])
    assert set(table["why"]) == {"weak value kept: no gold labels to check it"}
    chosen = next_values(made, NextSettings(budget=5)).summary
    assert chosen["by_posterior"] is False
