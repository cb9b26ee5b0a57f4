"""The reliability of several teachers of a run, and runs with teachers that abstain."""

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.stages import embed_stage, score_stage
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import ScoreSettings

CLASSES = ("no", "yes")
COMPUTE = Compute(device="cpu", memory=MemoryLimit.parse("2GB"), progress=False)
N, N_GOLD = 300, 80


def world(accuracies=(0.85, 0.7, 0.6), coverage=(1, 0.6, 0.5), seed=0):
    """Return a table with the votes of teachers a, b, c, strong features, and the classes."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(2, size=N)
    strong = rng.normal(size=(N, 5)).astype(np.float32)
    strong[:, :2] += 1.5 * np.eye(2)[codes]
    table = pd.DataFrame(
        {
            "text": [f"item {i}" for i in range(N)],
            "label": np.array(CLASSES)[codes],
            "split": np.where(np.arange(N) < N_GOLD, "labelled", "pool"),
            "source": np.where(np.arange(N) % 2, "web", "mail"),
        }
    )
    table.loc[N - 100 :, "split"] = "test"
    for name, accuracy, share in zip("abc", accuracies, coverage, strict=True):
        said = np.where(rng.random(N) < accuracy, codes, 1 - codes)
        chance = np.where(said, 0.8, 0.2)
        chance[rng.random(N) > share] = 0.5
        table[f"{name}0"], table[f"{name}1"] = 1 - chance, chance
    return table, strong, codes


def scored(folder, table, strong, names="abc"):
    dataset = load_dataset(
        table,
        item="text",
        label="label",
        split="split",
        source="source",
        weak_columns={name: [f"{name}0", f"{name}1"] for name in names},
        class_names=CLASSES,
    )
    run = Run.create(folder, dataset)
    embed_stage(run, EmbedSettings(strong_features=strong), COMPUTE)
    result = score_stage(run, ScoreSettings(), COMPUTE)
    return run, result.summary


def test_a_scored_run_holds_the_reliability_of_its_teachers(tmp_path):
    table, strong, codes = world()
    run, summary = scored(tmp_path / "run", table, strong)
    found = summary["reliability"]
    assert found["n_gold"] == N_GOLD
    pool = (table["split"] == "pool").to_numpy()
    for teacher in found["teachers"]:
        chance = table[f"{teacher['name']}1"].to_numpy()
        said = chance != 0.5
        assert teacher["coverage"] == said[pool].mean()
        gold = said[:N_GOLD]
        right = ((chance > 0.5) == codes)[:N_GOLD][gold].mean()
        assert teacher["accuracy"]["value"] == right
        assert teacher["coefficient"] == summary["posterior"]["weights"][teacher["name"]]
        assert [part["name"] for part in teacher["by_class"]] == list(CLASSES)
        assert [part["name"] for part in teacher["by_source"]] == ["mail", "web"]
    assert [(p["first"], p["second"]) for p in found["pairs"]] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert run.read_summary("reliability.json")["teachers"] == found["teachers"]


def test_a_single_teacher_has_no_reliability_beside_others(tmp_path):
    table, strong, _ = world()
    run, summary = scored(tmp_path / "run", table, strong, names="a")
    assert "reliability" not in summary
    assert not (run.path / "reliability.json").exists()


@pytest.mark.parametrize("last", [0, 1])
def test_where_nobody_votes_nothing_is_believed(tmp_path, last):
    """All abstain on the gold rows, or on all but one, and on some of the pool."""
    table, strong, _ = world()
    silent = np.r_[: N_GOLD - last, N_GOLD : N_GOLD + 20]
    table.loc[silent, [f"{name}{c}" for name in "abc" for c in "01"]] = 0.5
    run, summary = scored(tmp_path / "run", table, strong)
    scores = run.read_table("scores.parquet").iloc[silent]
    assert (scores["confidence"] == 0).all()
    assert (scores["region"] == "hard-only").all()
    assert scores[["trust", "weak_label", "weak_correct"]].isna().all(axis=None)
    found = summary["reliability"]
    assert found["teachers"][0]["n_gold"] == last
    assert any("all teachers abstain on them" in note for note in found["notes"]) == (last == 0)


@pytest.mark.slow
def test_a_teacher_that_never_speaks_changes_nothing(tmp_path):
    table, strong, _ = world(coverage=(1, 1, 1))
    table[["z0", "z1"]] = 0.5
    runs = [scored(tmp_path / names, table, strong, names=names) for names in ("abc", "azbc")]
    (plain, before), *others = runs
    for run, after in others:
        for name in ("scores.parquet", "posterior.parquet"):
            pd.testing.assert_frame_equal(run.read_table(name), plain.read_table(name))
        kept = [t for t in after["reliability"]["teachers"] if t["name"] != "z"]
        assert kept == before["reliability"]["teachers"]
        weights = dict(after["posterior"]["weights"])
        del weights["z"]
        assert weights == before["posterior"]["weights"]
