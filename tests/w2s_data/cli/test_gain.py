"""`w2s gain` as a user meets it: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run
from w2s_data.cli import main
from w2s_data.stages.graph import GAIN, GROUPS
from w2s_data.stages.training import methods_from

N = 500
QUICK = ("--seeds", 2, "--epochs", 3, "--no-controls")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A scored run of two weak models and of groups."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("gain")
    label = rng.integers(2, size=N)
    strong = rng.normal(size=(N, 10))
    strong[:, 0] += 2.5 * label
    weak = {
        f"p{m}{c}": np.where(c, p, 1 - p)
        for m in range(2)
        for p in [np.clip(0.5 + 0.2 * (2 * label - 1) + rng.normal(0, 0.25, N), 0.02, 0.98)]
        for c in (0, 1)
    }
    pd.DataFrame(
        {
            "x": list(strong),
            "label": label,
            "site": rng.choice(["north", "south"], N),
            "split": rng.choice(["labelled", "pool", "test"], N, p=[0.1, 0.6, 0.3]),
            **weak,
        }
    ).to_parquet(folder / "data.parquet")
    arguments = ["score", folder / "data.parquet", "--item", "x", "--label", "label"]
    arguments += ["--split", "split", "--group", "site", "--weak-columns", "p00,p01"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in [*arguments, "-o", folder / "run"]])
    assert stop.value.code == 0
    return folder / "run"


def test_table_and_files(w2s, run):
    code, out, _ = w2s("gain", run, "--methods", "naive,enhanced:share=0.8", "--seeds", 2)
    assert code == 0
    words = ("Gain over the teacher", "naive", "enhanced:share=0.8", "ceiling:", "gap recovered")
    for word in words:
        assert word in out
    summary = json.loads((run / "gain.json").read_text())
    assert summary["schema"] == GAIN.schema
    by_name = {s["name"]: s for s in summary["students"] if not s["control_of"]}
    gain = by_name["naive"]["gains"]["accuracy"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert set(by_name["naive"]["groups"]) == {"north", "south"}
    assert "random_subset" in {s["name"] for s in summary["students"] if s["control_of"]}
    table = pd.read_parquet(run / "gain.parquet")
    assert set(table.loc[table["student"] == "naive", "seed"]) == {0, 1}


def test_a_second_time_nothing_runs_and_more_methods_take_up_what_is_there(w2s, run):
    first = w2s("gain", run, "--methods", "naive", *QUICK)
    again = w2s("gain", run, "--methods", "naive", *QUICK)
    assert "gain: nothing has changed" in again[2]
    assert again[1] == first[1]
    [folder] = (run / "gain").iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    code, out, _ = w2s("gain", run, "--methods", "naive,confidence", *QUICK)
    assert code == 0
    assert "confidence" in out
    untouched = [path for path, when in before.items() if path.stat().st_mtime_ns == when]
    assert len(untouched) >= len(before) - 1  # but for the list of what is there


def test_the_forecast_stands_beside_the_gain(w2s, run, tmp_path):
    np.save(tmp_path / "weak.npy", np.random.default_rng(0).normal(size=(N, 3)).astype(np.float32))
    w2s("score", run, "--weak-features", tmp_path / "weak.npy")
    w2s("forecast", run)
    code, out, _ = w2s("gain", run, "--methods", "naive", *QUICK)
    assert code == 0
    assert "forecast:" in out
    assert json.loads((run / "gain.json").read_text())["forecast"]["student"] == "naive"


def test_a_method_that_fails_leaves_the_others(w2s, run):
    code, out, _ = w2s("gain", run, "--methods", "naive,cosupervised:stages=1-2", *QUICK)
    assert code == 0
    assert "failed: cosupervised:stages=1-2" in out
    assert "naive" in out


def test_methods_with_parameters():
    found = methods_from(["bayes", "enhanced:share=0.3:hard=true", "cosupervised:stages=1-2-4"])
    assert [type(method).__name__ for method in found.values()] == [
        "Bayes",
        "Enhanced",
        "CoSupervised",
    ]
    assert found["cosupervised:stages=1-2-4"].stages == (1, 2, 4)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--methods", "naiv"], "did you mean 'naive'"),
        (["--methods", "naive:hard"], "a method is NAME or NAME:PARAMETER=VALUE"),
        (["--methods", "enhanced:part=1"], "enhanced has no parameter 'part'"),
        (["--methods", "enhanced:share=2"], "share must be a number in (0, 1]"),
        (["--seeds", 0], "--seeds must be at least 1 and at most 1,000; got 0"),
        (["--tuning", "heads"], "'heads' is not one of 'head', 'lora', 'full'"),
        (["--tuning", "full"], "pass model (folder or hub name)"),
    ],
)
def test_bad_input(w2s, run, arguments, word):
    before = (run / "manifest.json").read_bytes()
    code, _, err = w2s("gain", run, *arguments)
    assert code == 2
    assert word in err.splitlines()[-1]
    assert (run / "manifest.json").read_bytes() == before


def test_without_gold_labels_in_the_test_split(w2s, scored, tmp_path):
    table = pd.read_parquet(scored.parent / "data.parquet")
    table.loc[table["split"] == "test", "label"] = None
    table.to_parquet(tmp_path / "data.parquet")
    arguments = ["--item", "x", "--label", "label", "--split", "split"]
    arguments += ["--weak-columns", "p00,p01", "-o", tmp_path / "new"]
    assert w2s("score", tmp_path / "data.parquet", *arguments)[0] == 0
    code, _, err = w2s("gain", tmp_path / "new", *QUICK)
    assert code == 2
    assert "test" in err


def test_several_test_splits_side_by_side(w2s, scored, tmp_path):
    table = pd.read_parquet(scored.parent / "data.parquet")
    test = np.flatnonzero(table["split"] == "test")
    table.loc[test[:80], "split"] = "Test_OOD"
    table["domain"] = np.where(np.arange(N) % 2, "web", "crowd")
    table.to_parquet(tmp_path / "data.parquet")
    run = tmp_path / "run"
    arguments = ["--item", "x", "--label", "label", "--split", "split", "--source", "domain"]
    arguments += ["--weak-columns", "p00,p01", "-o", run]
    assert w2s("score", tmp_path / "data.parquet", *arguments)[0] == 0
    code, out, _ = w2s("gain", run, "--methods", "naive", *QUICK)
    assert code == 0
    flat = " ".join(out.split())
    assert f"on {len(test) - 80} test items of test," in flat
    for word in ("test_ood", "worst split", "least right on test split"):
        assert word in flat
    summary = json.loads((run / "gain.json").read_text())
    assert [(s["name"], s["n"]) for s in summary["splits"]] == [
        ("test", len(test) - 80), ("test_ood", 80),
    ]  # fmt: skip
    seeds = pd.read_parquet(run / "gain.parquet")
    assert {"split_test", "split_test_ood", "worst_split"} <= {*seeds.columns}
    items = pd.read_parquet(run / "predictions.parquet")
    assert items["test_split"].isin(["test", "test_ood"]).sum() == len(test)
    assert "Test split by test split" in (run / "report.html").read_text()

    # The same students, cut up by source; other names need no training.
    before = {path.name: path.stat().st_mtime_ns for path in (run / "gain").glob("*/*.safetensors")}
    code, out, _ = w2s("gain", run, "--methods", "naive", *QUICK, "--test-by", "source")
    assert code == 0
    by_source = json.loads((run / "gain.json").read_text())
    assert [s["name"] for s in by_source["splits"]] == ["crowd", "web"]
    assert (by_source["main_split"], by_source["n_test"]) == ("", len(test))
    after = {path.name: path.stat().st_mtime_ns for path in (run / "gain").glob("*/*.safetensors")}
    assert after == before


def test_test_by_needs_its_column(w2s, run):
    code, _, err = w2s("gain", run, *QUICK, "--test-by", "source")
    assert code == 2
    assert "the data have none: name the column that holds them with source=" in " ".join(
        err.split()
    )
    code, _, err = w2s("gain", run, *QUICK, "--test-by", "sorce")
    assert code == 2
    assert "'source'" in err


@pytest.mark.slow
def test_several_weak_models_and_what_is_kept_of_each_item(w2s, scored, tmp_path):
    models = ("--weak-columns", "north=p00,p01", "--weak-columns", "south=p10,p11")
    arguments = ["--item", "x", "--label", "label", "--split", "split", "--group", "site"]
    arguments += [*models, "-o", tmp_path / "run"]
    assert w2s("score", scored.parent / "data.parquet", *arguments)[0] == 0
    run = tmp_path / "run"
    assert json.loads((run / "manifest.json").read_text())["data"]["weak_names"] == [
        "north",
        "south",
    ]
    assert w2s("gain", run, "--methods", "raven,naive", *QUICK)[0] == 0
    summary = json.loads((run / "gain.json").read_text())
    assert len(summary["diagnostics"]["raven"]["weights"]["mean"][0]) == 2
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert predictions["id"].tolist() == pd.read_parquet(run / "items.parquet")["id"].tolist()
    test = predictions["split"] == "test"
    for student in summary["students"]:
        right = predictions.loc[test, f"{student['name']} / right"].mean()
        assert right == pytest.approx(student["scores"]["accuracy"]["value"], abs=1e-7)


@pytest.mark.parametrize("models", [["a=p00,p01", "p10,p11"], ["a=p00", "a=p10"], ["=p00"], ["a="]])
def test_weak_models_without_names_are_refused(w2s, scored, tmp_path, models):
    given = [part for model in models for part in ("--weak-columns", model)]
    arguments = ["--item", "x", "--label", "label", *given]
    code, _, err = w2s("score", scored.parent / "data.parquet", *arguments, "-o", tmp_path / "run")
    assert code == 2
    assert "MODEL=COLUMN" in err.splitlines()[-1]


@pytest.mark.slow
def test_groups_after_a_gain_know_the_student(w2s, run):
    w2s("groups", run)
    before = json.loads((run / "groups.json").read_text())
    assert before["student"] is None
    assert all(group["student_accuracy"]["value"] is None for group in before["groups"])
    w2s("gain", run, "--methods", "naive", "--epochs", 3, "--seeds", 1, "--no-controls")
    found = Run.open(run)
    assert found.follows(GROUPS)  # not out of date by it
    code, out, _ = w2s("groups", run)
    assert code == 0
    assert "student" in out
    after = json.loads((run / "groups.json").read_text())
    assert after["student"] == "naive"
    predictions = pd.read_parquet(run / "predictions.parquet")
    items = pd.read_parquet(run / "items.parquet")
    for group in after["groups"]:
        rows = items["group"] == group["group"]
        right = predictions.loc[rows, "naive / right"].mean()
        assert group["student_accuracy"]["value"] == pytest.approx(right, abs=1e-6)
    assert "nothing has changed" in w2s("groups", run)[2]
    assert "nothing has changed" in w2s("gain", run, "--methods", "naive", "--epochs", 3,
                                        "--seeds", 1, "--no-controls")[2]  # fmt: skip
