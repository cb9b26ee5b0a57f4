"""The forecast of a run whose pool comes from elsewhere: weighted, or withheld."""

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.stages import embed_stage, forecast_stage, gain_stage, score_stage
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.models import EmbedSettings


def embedded_run(tmp_path, moved, n_gold=120, n_pool=400):
    """Return an embedded run whose pool is moved in a direction that says nothing of the label."""
    rng = np.random.default_rng(0)
    n = n_gold + n_pool + 100
    split = np.repeat(["labelled", "pool", "test"], [n_gold, n_pool, 100])
    codes = rng.integers(2, size=n)
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
    np.save(tmp_path / "strong.npy", strong)
    np.save(tmp_path / "weak.npy", strong[:, :3])
    data = load_dataset(table, item="text", label="label", split="split")
    run = Run.create(tmp_path / "run", data, seed=0)
    files = {f"{role}_features": str(tmp_path / f"{role}.npy") for role in ("strong", "weak")}
    embed_stage(run, EmbedSettings(**files), compute())
    return run


def compute():
    return Compute(device="cpu", progress=False, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("scored", [True, False])
def test_labelled_rows_are_weighted_for_a_moved_pool(tmp_path, scored):
    run = embedded_run(tmp_path, moved=0.8)
    if scored:
        score_stage(run, compute=compute())
        notes = run.read_summary("posterior.json")["warnings"]
        assert any(note.startswith("weighted: 120 gold rows are worth") for note in notes)
    forecast_stage(run, compute=compute())
    forecast = run.read_summary("forecast.json")
    assert forecast["effective_size"] == pytest.approx(120 / np.exp(0.64), rel=0.35)
    assert any(w.startswith("weighted: 120 gold rows are worth") for w in forecast["warnings"])


@pytest.mark.slow
def test_a_pool_far_away_gets_no_advice(tmp_path):
    run = embedded_run(tmp_path, moved=4.0)
    forecast_stage(run, compute=compute())
    forecast = run.read_summary("forecast.json")
    assert forecast["verdict"] == "label first"
    assert "the pool comes from elsewhere, and 120 gold rows are worth" in forecast["reading"]
    assert [option["accuracy"]["value"] for option in forecast["options"]] == [None] * 4
    assert forecast["gain"]["value"] is None


@pytest.mark.slow
def test_without_a_shift_labelled_rows_have_no_weights(tmp_path):
    run = embedded_run(tmp_path, moved=0.0)
    forecast_stage(run, compute=compute())
    forecast = run.read_summary("forecast.json")
    assert (forecast["effective_size"], forecast["uncovered"]) == (120, 0)
    assert not any(w.startswith("weighted") for w in forecast["warnings"])


@pytest.mark.slow
def test_ready_made_weak_labels_are_forecast_without_weak_features(tmp_path):
    run = Run.create(tmp_path / "run", load_dataset("example:shifted_gaussian?flip=True"), seed=0)
    embed_stage(run, EmbedSettings(), compute())
    score_stage(run, compute=compute())
    result = forecast_stage(run, compute=compute()).summary
    # Labelled rows are right in 96 %, the pool in 3 %: no number is better than a wrong one.
    assert result["verdict"] == "label first"
    assert result["teacher"]["value"] is None
    assert "weak features are missing" in run.read_summary("discrepancy.json")["reading"]
    gain = gain_stage(run, GainSettings(methods=("naive",), seeds=1), compute()).summary
    assert gain["forecast"] is None
