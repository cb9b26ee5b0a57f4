"""Gold rows of equal items: repeats, contradictions, and what the teacher learns from."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data import LinearProbe, Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.data.weak import proba_of
from w2s_data.errors import SplitError
from w2s_data.stages import embed_stage, forecast_stage, gain_stage, score_stage
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import ForecastSettings, ScoreSettings
from w2s_data.utils.stage import WEAK_PROBA

COMPUTE = Compute(device="cpu", progress=False)


def labelled(texts, labels):
    table = pd.DataFrame({"text": texts, "label": labels, "split": "labelled"})
    return load_dataset(table, item="text", label="label", split="split")


def test_each_item_counts_once_and_contradicting_ones_never():
    dataset = labelled(list("abacbcd"), ["x", "x", "x", "y", "y", "y", "x"])
    gold = gold_rows(dataset)
    assert gold.rows.tolist() == [0, 3, 6]
    assert gold.repeats.tolist() == [2, 5]
    assert gold.contradicting.tolist() == [1, 4]
    assert gold.consistent.tolist() == [0, 2, 3, 5, 6]
    assert gold.notes(dataset, "the teacher") == [
        "2 gold rows contradict equal items (ids '1', '4'): the teacher leaves them out"
    ]


@pytest.mark.parametrize("kind", ["text", "features"])
def test_a_preference_is_the_same_in_either_order_of_its_pair(kind):
    # The first preference comes twice, the second is contradicted; orders are drawn at random.
    pairs = [("a", "b"), ("c", "d"), ("a", "b"), ("d", "c"), ("e", "f"), ("f", "g")]
    vectors = dict(zip("abcdefg", np.random.default_rng(0).normal(size=(7, 3)), strict=True))
    form = (lambda name: name) if kind == "text" else (lambda name: vectors[name].tolist())
    sides = [[form(pair[side]) for pair in pairs] for side in (0, 1)]
    table = pd.DataFrame({"better": sides[0], "worse": sides[1], "split": "labelled"})
    seen = set()
    for seed in range(8):
        dataset = load_dataset(
            table, chosen="better", rejected="worse", split="split", random_state=seed
        )
        seen.add(tuple(dataset.labels[[0, 1, 2, 3]]))
        gold = gold_rows(dataset)
        assert gold.contradicting.tolist() == [1, 3]
        assert gold.repeats.tolist() == [2]
    assert len(seen) > 3


def world(n=500, n_gold=160, n_wrong=60):
    """Return a table whose first items come twice with both labels, and its features."""
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=n)
    strong, weak = (rng.normal(size=(n, d)) + k * codes[:, None] for d, k in ((6, 2), (2, 1)))
    texts = np.array([f"item {i}" for i in range(n)], dtype=object)
    other = np.arange(n_wrong, 2 * n_wrong)
    texts[other], strong[other], weak[other] = texts[:n_wrong], strong[:n_wrong], weak[:n_wrong]
    codes[other] = 1 - codes[:n_wrong]
    split = np.where(np.arange(n) < n_gold, "labelled", "pool")
    table = pd.DataFrame({"text": texts, "label": np.array(["no", "yes"])[codes], "split": split})
    return table, strong.astype(np.float32), weak.astype(np.float32), codes


def started(folder, table, strong, weak):
    dataset = load_dataset(table, item="text", label="label", split="split")
    run = Run.create(folder / "run", dataset)
    embed_stage(run, EmbedSettings(strong_features=strong, weak_features=weak), COMPUTE)
    return run


def test_the_teacher_learns_from_the_other_rows_alone(tmp_path):
    table, strong, weak, codes = world()
    run = started(tmp_path, table, strong, weak)
    score_stage(run, ScoreSettings(teacher_l2=0.01), COMPUTE)
    expected = LinearProbe(l2=0.01, device="cpu").fit(weak[120:160], codes[120:160])
    proba = proba_of(run.read_table(WEAK_PROBA, per_item=True), ("no", "yes"))[:, 0]
    for rows in (slice(0, 120), slice(160, 500)):  # neither was part of the fit
        np.testing.assert_allclose(proba[rows], expected.predict_proba(weak[rows]), atol=1e-5)
    note = "120 gold rows contradict equal items (ids '0', '1', '2', '3' and 116 more): the {} "
    overlap = json.loads((run.path / "overlap.json").read_text())
    posterior = json.loads((run.path / "posterior.json").read_text())
    assert sum(note.format("teacher") in text for text in overlap["warnings"]) == 1
    assert sum(note.format("posterior") in text for text in posterior["warnings"]) == 1
    assert posterior["n_gold"] == 40


def test_the_forecast_leaves_them_out_as_well(tmp_path):
    table, strong, weak, _ = world(n=300, n_gold=150, n_wrong=40)
    run = started(tmp_path / "all", table, strong, weak)
    whole = forecast_stage(run, ForecastSettings(), COMPUTE).summary
    kept = np.arange(300) >= 80
    run = started(tmp_path / "kept", table[kept], strong[kept], weak[kept])
    rest = forecast_stage(run, ForecastSettings(), COMPUTE).summary
    assert "80 gold rows contradict" in whole["warnings"][-1]
    assert whole["options"] == rest["options"]


@pytest.mark.slow
def test_students_of_gold_labels_leave_them_out_as_well(tmp_path):
    table, strong, weak, _ = world(n=400, n_gold=150, n_wrong=40)
    table.loc[300:, "split"] = "test"
    accuracies = []
    for name, kept in (("all", np.arange(400) >= 0), ("rest", np.arange(400) >= 80)):
        run = started(tmp_path / name, table[kept], strong[kept], weak[kept])
        score_stage(run, ScoreSettings(teacher_l2=0.01), COMPUTE)
        settings = GainSettings(methods=("stacked",), seeds=1, controls=False)
        result = gain_stage(run, settings, COMPUTE).summary
        accuracies.append(
            next(o["accuracy"]["value"] for o in result["options"] if o["name"] == "gold")
        )
        assert ("contradict" in str(result["warnings"])) == (name == "all")
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.011)  # by one row of 100


def test_a_teacher_without_two_classes_left_is_refused(tmp_path):
    table, strong, weak, _ = world(n_gold=120)
    run = started(tmp_path, table, strong, weak)
    with pytest.raises(SplitError, match="fewer than two classes without the 120 gold rows"):
        score_stage(run, ScoreSettings(), COMPUTE)
