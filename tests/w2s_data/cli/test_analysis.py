"""Commands that add an analysis to a scored run: groups and forecast."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.sealing import seal
from w2s_data import NeighborIndex
from w2s_data.cli import main
from w2s_data.neighbors import index as neighbors

N = 400


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A scored run of vectors with sources and a group that the pool holds more often."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("analysis")
    label = rng.integers(2, size=N)
    split = np.repeat(["labelled", "pool", "test"], [120, 200, 80])
    rural = rng.random(N) < np.where(split == "labelled", 0.15, 0.45)
    weak = rng.normal(size=(N, 6)) + np.outer(label, [1.5, 0, 0, 0, 0, 0])
    strong = np.hstack([weak[:, :3], rng.normal(size=(N, 6))])
    strong[:, 4] += 2.5 * label
    strong[:, 8] += 4 * rural
    weak[:, 5] += 4 * rural
    np.save(folder / "weak.npy", weak.astype(np.float32))
    pd.DataFrame(
        {
            "x": list(strong),
            "label": label,
            "split": split,
            "site": np.where(rural, "rural", "urban"),
            "origin": rng.choice(["web", "crowd"], N),
        }
    ).to_parquet(folder / "data.parquet")
    arguments = ["score", folder / "data.parquet", "--item", "x", "--label", "label"]
    arguments += ["--split", "split", "--group", "site", "--source", "origin"]
    arguments += ["--weak-features", folder / "weak.npy", "-o", folder / "run"]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 0
    return folder


@pytest.fixture
def run(scored, tmp_path):
    """A copy of the scored run, and the file of its weak features."""
    shutil.copytree(scored / "run", tmp_path / "run")
    return tmp_path / "run", scored / "weak.npy"


@pytest.fixture
def unseen_teacher(w2s, scored, tmp_path):
    """A run with ready-made weak labels, whose teacher has no features."""
    table = pd.read_parquet(scored / "data.parquet")
    table.assign(p0=1 - 0.8 * table["label"], p1=0.8 * table["label"]).to_parquet(
        tmp_path / "labelled.parquet"
    )
    arguments = ["--item", "x", "--label", "label", "--split", "split", "--group", "site"]
    arguments += ["--weak-columns", "p0,p1", "-o", tmp_path / "unseen"]
    assert w2s("score", tmp_path / "labelled.parquet", *arguments)[0] == 0
    return tmp_path / "unseen"


class TestGroups:
    def test_tables_and_files(self, w2s, run):
        folder, _ = run
        code, out, _ = w2s("groups", folder)
        assert code == 0
        for word in ("rural", "urban", "crowd", "leaking", "of the labelled set", "run:"):
            assert word in " ".join(out.split())
        groups = json.loads((folder / "groups.json").read_text())
        rural = next(record for record in groups["groups"] if record["group"] == "rural")
        assert rural["eta_labelled"]["low"] < rural["eta_labelled"]["value"] < 0.25
        assert rural["eta_pool"]["value"] > 0.25
        assert {record["source"] for record in groups["sources"]} == {"web", "crowd"}
        assert rural["largest_class"] in ("0", "1")
        spurious = json.loads((folder / "spurious.json").read_text())
        assert spurious["worst_group"] == "rural"
        points = pd.read_parquet(folder / "groups.parquet")
        items = pd.read_parquet(folder / "items.parquet", columns=["id"])
        assert points["id"].equals(items["id"])
        assert points["agreement"].between(0, 1).all()

    def test_a_second_time_nothing_runs(self, w2s, run):
        folder, _ = run
        first = w2s("groups", folder)
        before = (folder / "manifest.json").read_bytes()
        second = w2s("groups", folder)
        assert "groups: nothing has changed" in second[2]
        assert second[1] == first[1]
        assert (folder / "manifest.json").read_bytes() == before

    def test_the_index_is_kept_and_used_again(self, w2s, run):
        folder, _ = run
        w2s("groups", folder)
        index = folder / "neighbors.faiss"
        saved = index.read_bytes()
        assert NeighborIndex.load(index).shape_ == (N, 9)
        code, _, err = w2s("groups", folder, "--duplicates", "0.9")
        assert code == 0
        assert "built again" not in err
        assert index.read_bytes() == saved

    def test_a_damaged_index_is_built_again(self, w2s, run):
        folder, _ = run
        w2s("groups", folder)
        saved = (folder / "neighbors.faiss").read_bytes()
        (folder / "neighbors.faiss").write_bytes(saved[:100])
        code, _, err = w2s("groups", folder)
        assert code == 0
        assert "built again" in err
        assert (folder / "neighbors.faiss").read_bytes() == saved

    def test_without_weak_features_the_cost_is_unknown(self, w2s, unseen_teacher):
        code, out, _ = w2s("groups", unseen_teacher)
        assert code == 0
        assert "Unknown: weak features are missing" in " ".join(out.split())

    def test_few_labelled_rows_say_what_would_do(self, w2s, run, rng, tmp_path):
        folder, _ = run
        np.save(tmp_path / "wide.npy", rng.normal(size=(N, 150)).astype(np.float32))
        w2s("embed", folder, "--weak-features", tmp_path / "wide.npy")
        code, _, err = w2s("groups", folder)
        assert code == 2
        assert "has no scores of these items and features" in err
        w2s("score", folder)
        code, out, _ = w2s("groups", folder)
        assert code == 0
        assert "120 labelled rows do not determine a fit" in " ".join(out.split())
        assert "weak_components" in out

    def test_an_ended_search_goes_on_after_its_last_block(self, w2s, run, tmp_path, monkeypatch):
        folder, _ = run
        whole = shutil.copytree(folder, tmp_path / "whole")
        assert w2s("groups", whole)[0] == 0
        monkeypatch.setattr(neighbors, "SEARCH_ROWS", 90)
        searched, rows = neighbors.nearest_others, []

        def ending(searcher, block, advance):
            if len(rows) == 3:
                raise KeyboardInterrupt
            rows.extend([len(block[0])])
            return searched(searcher, block, advance)

        monkeypatch.setattr(neighbors, "nearest_others", ending)
        assert w2s("groups", folder)[0] == 130
        assert len(list(folder.glob("groups/*/0-*.npz"))) == 3
        rows[:] = [0] * 10  # another count, so that nothing ends it
        assert w2s("groups", folder)[0] == 0
        assert sum(rows) == N - 3 * 90
        assert not (folder / "groups").exists()
        for name in ("groups.parquet", "groups.json", "duplicates.parquet"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes()


class TestForecast:
    def test_table_and_files(self, w2s, run):
        folder, _ = run
        code, out, _ = w2s("forecast", folder)
        assert code == 0
        for word in ("teacher", "student", "ceiling", "gain", "chance that", "features:"):
            assert word in out
        forecast = json.loads((folder / "forecast.json").read_text())
        assert (forecast["n"], forecast["N"], forecast["level"]) == (120, 200, 0.95)
        for name in ("teacher", "student", "ceiling", "gain"):
            found = forecast[name]
            assert found["low"] <= found["value"] <= found["high"]
        discrepancy = json.loads((folder / "discrepancy.json").read_text())
        assert (discrepancy["d_w"], discrepancy["d_s"]) == (6, 9)
        code, again, err = w2s("forecast", folder)
        assert "forecast: nothing has changed" in err
        assert again == out

    def test_settings_count(self, w2s, run):
        folder, _ = run
        first = w2s("forecast", folder)
        second = w2s("forecast", folder, "--level", "0.5")
        third = w2s("forecast", folder, "--weak-components", "3")
        assert "50% interval" in second[1]
        assert first[1] != third[1]
        assert json.loads((folder / "discrepancy.json").read_text())["d_w"] == 3

    def test_labels_of_the_pool_are_not_used(self, w2s, run):
        folder, _ = run
        first = w2s("forecast", folder)
        items = pd.read_parquet(folder / "items.parquet")
        items.loc[items["split"] == "pool", "label"] = None
        items.to_parquet(folder / "items.parquet", index=False)
        seal(folder)
        for file in ("forecast.json", "discrepancy.json"):
            (folder / file).unlink()
        assert w2s("forecast", folder)[1] == first[1]


class TestBadInput:
    @pytest.mark.parametrize("command", ["groups", "forecast"])
    def test_no_run(self, w2s, tmp_path, command):
        (tmp_path / "data.csv").write_text("text,label\na,0\nb,1\n")
        for place in ("nowhere", "data.csv"):
            code, _, err = w2s(command, tmp_path / place)
            assert code == 2
            assert "is not a run directory" in err
            assert len(err.strip().splitlines()) == 1

    def test_embedded_only(self, w2s, run):
        folder, _ = run
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["stages"]["score"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
        code, _, err = w2s("groups", folder)
        assert code == 2
        assert "w2s score" in err

    def test_forecast_without_weak_features(self, w2s, unseen_teacher):
        code, out, _ = w2s("forecast", unseen_teacher)  # its weak labels are ready-made
        assert code == 0
        assert "features: Unknown: weak features are missing" in " ".join(out.split())

    @pytest.mark.parametrize(
        ("command", "option", "value", "word"),
        [
            ("groups", "--discovery", "gasp", "'gasp' is not one of 'auto', 'gaps'"),
            ("groups", "--n-groups", "many", "--n-groups must be a whole number above 0 or 'auto'"),
            ("groups", "--duplicates", "2", "--duplicates must be a cosine above -1, at most 1"),
            (
                "forecast",
                "--teacher-l2",
                "much",
                "--teacher-l2 must be a number from 0 to 1e9 or 'cv'",
            ),
            ("forecast", "--level", "2", "--level must be above 0 and below 1"),
            (
                "forecast",
                "--weak-components",
                "all",
                "--weak-components must be a whole number above 0",
            ),
        ],
    )
    def test_option_values(self, w2s, run, command, option, value, word):
        folder, _ = run
        before = (folder / "manifest.json").read_bytes()
        code, _, err = w2s(command, folder, option, value)
        assert code == 2
        assert word in err
        assert (folder / "manifest.json").read_bytes() == before


def test_near_duplicates_are_listed_those_across_splits_first(w2s, scored, tmp_path):
    table = pd.read_parquet(scored / "data.parquet")
    copies = [(0, "labelled", 0), (130, "test", 0), (140, "pool", 1), (150, "pool", 0)]
    extra = pd.DataFrame([table.iloc[row] for row, _, _ in copies]).reset_index(drop=True)
    extra["split"] = [split for _, split, _ in copies]
    extra["label"] = [
        int(label) ^ turned for label, (_, _, turned) in zip(extra["label"], copies, strict=True)
    ]
    extra["x"] = [x + 1e-4 * np.arange(len(x)) for x in extra["x"]]
    pd.concat([table, extra], ignore_index=True).to_parquet(tmp_path / "data.parquet")
    arguments = ["--item", "x", "--label", "label", "--split", "split"]
    weak = np.load(scored / "weak.npy")
    np.save(tmp_path / "weak.npy", np.vstack([weak, weak[[row for row, _, _ in copies]]]))
    arguments += ["--weak-features", tmp_path / "weak.npy"]
    run = tmp_path / "run"
    assert w2s("score", tmp_path / "data.parquet", *arguments, "-o", run)[0] == 0
    assert w2s("groups", run, "--duplicates", "0.9999")[0] == 0
    pairs = pd.read_parquet(run / "duplicates.parquet")
    assert list(zip(pairs["id_a"], pairs["id_b"], strict=True))[:2] == [
        ("130", "401"),
        ("140", "402"),
    ]
    assert {("0", "400"), ("150", "403")} == set(zip(pairs["id_a"], pairs["id_b"], strict=True)) - {
        ("130", "401"),
        ("140", "402"),
    }
    assert pairs["leaks"].tolist() == [True, False, False, False]
    assert pairs["labels_differ"].tolist() == [False, True, False, False]
    assert (pairs["similarity"] > 0.9999).all()
    counts = json.loads((run / "groups.json").read_text())["duplicates"]
    assert (counts["n_pairs"], counts["n_leaking"], counts["n_labels_differ"]) == (4, 1, 1)
