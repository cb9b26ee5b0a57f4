"""`w2s select` as a user meets it: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data.cli import main
from w2s_data.errors import NotApplicableError
from w2s_data.run import Run
from w2s_data.stages.graph import SCORE, SELECT
from w2s_selectors.stage import select_stage

N = 900


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A scored run with three sources, the labels of one of which are unrelated to its items."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("select")
    label = rng.integers(2, size=N)
    source = rng.choice(["web", "crowd", "spam"], N)
    believed = np.where(source == "spam", rng.integers(2, size=N), label)
    strong = rng.normal(size=(N, 8))
    strong[:, 0] += 3 * label
    p1 = np.clip(np.where(believed == 1, 0.85, 0.15) + rng.normal(0, 0.05, N), 0, 1)
    pd.DataFrame(
        {
            "x": list(strong),
            "label": label,
            "source": source,
            "split": rng.choice(
                ["labelled", "pool", "validation", "test"], N, p=[0.1, 0.5, 0.3, 0.1]
            ),
            "p0": 1 - p1,
            "p1": p1,
        }
    ).to_parquet(folder / "data.parquet")
    arguments = ["score", folder / "data.parquet", "--item", "x", "--label", "label"]
    arguments += ["--split", "split", "--source", "source", "--weak-columns", "p0,p1"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in [*arguments, "-o", folder / "run"]])
    assert stop.value.code == 0
    return folder / "run"


def flat(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


@pytest.mark.slow
def test_the_spam_source_is_stopped(w2s, run):
    code, out, err = w2s("select", run, "--budget", 300, "--batch-size", 20)
    assert code == 0
    assert "objective screen_match" in out  # the validation split is the target
    assert "stopped spam:" in out
    assert "round   3:" in err
    assert err.rstrip().endswith("; stopped: spam")
    assert "round robin" in out
    summary = json.loads((run / "selection.json").read_text())
    assert summary["spent"] == 300
    items = {record["source"]: record["items"] for record in summary["sources"]}
    assert items["spam"] <= 80 < items["web"]
    assert {"evaluated", "strategy"} <= summary["baselines"][0].keys()
    progress = pd.read_parquet(run / "baselines.parquet")
    scores = pd.read_parquet(run / "scores.parquet").set_index("id")
    trace = pd.read_parquet(run / "selection.parquet")
    kept = trace.query("set_aside == 0")
    regions = scores["region"].loc[[name for ids in kept["ids"] for name in ids]]
    assert summary["baselines"][0]["overlap"]["value"] == (regions == "overlap").sum()
    assert summary["items"] == len(regions) == 300 - summary["set_aside"]
    assert set(trace.query("set_aside > 0")["source"]) == {"spam"}
    assert f"{summary['set_aside']} items were bought before their source was stopped" in flat(out)
    assert progress.groupby("strategy")["run"].nunique().to_dict() == {
        "chosen": 1,
        "random": 5,
        "round_robin": 5,
    }
    assert (progress.groupby(["strategy", "run"])["spent"].last() == 300).all()
    chosen = [name for ids in trace["ids"] for name in ids]
    assert len(set(chosen)) == len(chosen) == 300
    pool = pd.read_parquet(run / "items.parquet").query("split == 'pool'")["id"]
    assert set(chosen) <= set(pool)


@pytest.mark.slow
def test_the_export_leaves_out_a_stopped_source_until_it_is_kept(w2s, run):
    select = ("select", run, "--budget", 300, "--batch-size", 20)
    assert w2s("export", run)[0] == 0
    before = pd.read_parquet(run / "relabelled.parquet").set_index("id")
    assert w2s(*select)[0] == 0
    code, out, _ = w2s("export", run)  # runs again, since there is a selection now
    assert code == 0
    after = pd.read_parquet(run / "relabelled.parquet").set_index("id")
    items = pd.read_parquet(run / "items.parquet").set_index("id").loc[after.index]
    left_out = after["why"] == "left out: source stopped by the selection"
    assert left_out.equals((items["source"] == "spam") & (items["split"] == "pool"))
    assert f"{left_out.sum()}" in out
    trace = pd.read_parquet(run / "selection.parquet").query("set_aside > 0")
    bought = [name for ids in trace["ids"] for name in ids]
    assert len(bought) > 0
    assert left_out[bought].all()
    assert after["label"][left_out].isna().all()
    assert (after["weight"][left_out] == 0).all()
    pd.testing.assert_frame_equal(after[~left_out], before[~left_out])
    assert w2s(*select, "--keep", "spam")[0] == 0
    assert w2s("export", run)[0] == 0
    kept = pd.read_parquet(run / "relabelled.parquet").set_index("id")
    pd.testing.assert_frame_equal(kept, before)


@pytest.mark.slow
def test_trust_comes_from_the_scores(w2s, run):
    code, out, _ = w2s("select", run, "--budget", 300, "--batch-size", 20, "--objective", "trust")
    assert code == 0
    assert "objective trust" in out
    assert "right labels" in flat(out)
    summary = json.loads((run / "selection.json").read_text())
    scores = pd.read_parquet(run / "scores.parquet").set_index("id")
    trace = pd.read_parquet(run / "selection.parquet")
    for row in summary["sources"]:
        ids = trace.loc[trace["source"] == row["source"], "ids"]
        trust = scores["trust"].loc[[name for part in ids for name in part]]
        assert row["reward"]["value"] == pytest.approx(trust.mean())
    items = {row["source"]: row["items"] for row in summary["sources"]}
    assert items["spam"] < min(items["web"], items["crowd"])


def test_trust_requires_gold_labels(w2s, scored, tmp_path):
    data = pd.read_parquet(scored.parent / "data.parquet")
    data.loc[data["split"] == "labelled", "label"] = None
    data.to_parquet(tmp_path / "data.parquet")
    code, _, err = w2s(
        *("select", tmp_path / "data.parquet", "--item", "x", "--label", "label"),
        *("--split", "split", "--source", "source", "--weak-columns", "p0,p1"),
        *("--budget", 300, "--objective", "trust", "-o", tmp_path / "run"),
    )
    assert code == 2
    assert "objective 'trust' requires the trust of each item, and a posterior" in flat(err)
    assert Run.open(tmp_path / "run").follows(SCORE)  # what was computed before is kept


@pytest.mark.slow
def test_a_second_time_nothing_runs_and_a_larger_budget_goes_on(w2s, run):
    arguments = ["select", run, "--batch-size", 20, "--objective", "screen"]
    first = w2s(*arguments, "--budget", 200)
    again = w2s(*arguments, "--budget", 200)
    assert "select: nothing has changed" in again[2]
    assert again[1] == first[1]
    before = pd.read_parquet(run / "selection.parquet")
    w2s(*arguments, "--budget", 300)
    after = pd.read_parquet(run / "selection.parquet")
    drop = ["set_aside", "reason"]  # of the last judgement, which came later
    pd.testing.assert_frame_equal(
        after.iloc[: len(before)].drop(columns=drop), before.drop(columns=drop)
    )
    assert after["spent"].iloc[-1] == 300


@pytest.mark.slow
def test_a_run_that_is_scored_again_starts_a_selection_of_its_own(w2s, run):
    arguments = ["select", run, "--batch-size", 20, "--budget", 200, "--objective", "trust"]
    assert w2s(*arguments)[0] == 0
    assert w2s("score", run, "--reference")[0] == 0
    assert w2s(*arguments)[0] == 0
    assert len(list((run / "selection").iterdir())) == 2


@pytest.mark.slow
def test_restart_gives_the_same_selection(w2s, run):
    arguments = ["select", run, "--batch-size", 20, "--budget", 200]
    first = w2s(*arguments)
    tables = ("selection.parquet", "baselines.parquet")
    before = [(run / name).read_bytes() for name in tables]
    again = w2s(*arguments, "--restart")
    assert "select: nothing has changed" not in again[2]
    assert again[1] == first[1]
    assert [(run / name).read_bytes() for name in tables] == before


def test_policies_costs_and_overruling(w2s, run):
    code, out, _ = w2s(
        *("select", run, "--budget", 100, "--batch-size", 10, "--unit", "money"),
        *("--costs", "web=0.5,crowd=2", "--objective", "overlap", "--policy", "kl_ucb"),
        *("--stop", "spam", "--target", "none"),
    )
    assert code == 0
    assert "of 100 money" in out
    summary = json.loads((run / "selection.json").read_text())
    by_name = {record["source"]: record for record in summary["sources"]}
    assert by_name["spam"]["items"] == 0
    assert by_name["web"]["cost"] == 0.5
    assert summary["policy"] == "KLUCB(exploration=0.0)"


@pytest.mark.slow
def test_data_is_scored_first(w2s, scored, tmp_path):
    code, out, _ = w2s(
        *("select", scored.parent / "data.parquet", "--item", "x", "--label", "label"),
        *("--split", "split", "--source", "source", "--budget", 150, "--batch-size", 10),
        *("--weak-features", weak_features(tmp_path), "-o", tmp_path / "new"),
    )
    assert code == 0
    assert "Overlap density" in out
    assert "150 items for 150" in out
    assert Run.open(tmp_path / "new").follows(SELECT)


def weak_features(folder):
    """A file of weak features."""
    np.save(folder / "weak.npy", np.random.default_rng(1).normal(size=(N, 4)).astype(np.float32))
    return folder / "weak.npy"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--budget", 20], "raise the budget, or lower batch_size to 6"),
        (["--budget", -5], "--budget must be above 0; got -5"),
        (["--budget", 300, "--policy", "tompson"], "'tompson' is not one of"),
        (["--budget", 300, "--objective", "overlp"], "'overlp' is not one of"),
        (["--budget", 300, "--stop", "wb"], "there is no source 'wb'"),
        (["--budget", 300, "--costs", "web"], "--costs must be numbers by name, NAME=NUMBER"),
        (["--budget", 300, "--costs", "web=-1"], "cost"),
        (["--budget", 300, "--unit", "euro"], "'euro' is not one of 'items', 'money'"),
        (["--budget", 300, "--target", "labelled"], "'labelled' is not one of"),
        (["--budget", 300, "--target", "test"], "a target needs 200 items or more; the test split"),
    ],
)
def test_bad_input(w2s, run, arguments, word):
    before = (run / "manifest.json").read_bytes()
    code, _, err = w2s("select", run, *arguments)
    assert code == 2
    assert word in err.splitlines()[-1]
    assert (run / "manifest.json").read_bytes() == before


def test_no_sources_in_a_pool_of_a_few_rows(w2s, tmp_path):
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    split = ["pool"] * 3 + ["labelled"] * 37 + ["test"] * 20
    table = pd.DataFrame({"x": list(rng.normal(size=(60, 3)) + 2 * label[:, None])})
    table.assign(label=label, split=split).to_parquet(tmp_path / "few.parquet")
    np.save(tmp_path / "weak.npy", np.stack(table["x"])[:, :2])
    roles = ("--item", "x", "--label", "label", "--split", "split")
    weak = ("--weak-features", tmp_path / "weak.npy")
    assert w2s("score", tmp_path / "few.parquet", *roles, *weak, "-o", tmp_path / "run")[0] == 0
    with pytest.raises(NotApplicableError, match="the data set has no sources"):
        select_stage(Run.open(tmp_path / "run"))


def test_no_sources(w2s, tmp_path):
    w2s("score", "example:gaussian_overlap?n=300", "-o", tmp_path / "run")
    code, _, err = w2s("select", tmp_path / "run", "--budget", 100)
    assert code == 2
    assert "the data set has no sources" in err
