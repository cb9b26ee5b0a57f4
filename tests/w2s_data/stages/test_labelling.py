"""The labelling loop over a run: rows to label, rounds of labels, and labels to train on."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.stages.test_posterior import scored, world
from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.errors import InputError, MissingExtraError, WriteError
from w2s_data.stages import (
    embed_stage,
    export_stage,
    load_config,
    next_stage,
    open_run,
    score_stage,
)
from w2s_data.stages.graph import SCORE
from w2s_data.stages.inspection import inspect_run
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.posterior import posterior_of
from w2s_data.stages.settings import (
    DataSettings,
    ExportSettings,
    NextSettings,
    RunSettings,
    ScoreSettings,
)

COMPUTE = Compute(device="cpu", progress=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A scored run of three classes and its true classes, which tests copy."""
    folder = tmp_path_factory.mktemp("base")
    table, strong, codes = world(n=300, n_gold=60, n_classes=3)
    table.loc[table["split"] == "pool", "label"] = None
    table["source"] = np.where(np.arange(300) % 3 == 0, "web", "crm")
    run, _ = scored(folder, table, strong, source="source")
    return run.path, codes


@pytest.fixture
def run(base, tmp_path):
    shutil.copytree(base[0], tmp_path / "run")
    return Run.open(tmp_path / "run")


def filled(table, run, codes, n=None):
    """Fill in the true labels of the first n rows."""
    names = np.array(run.dataset().class_names)
    rows = pd.Index(run.dataset().ids).get_indexer(pd.Index(table["id"].astype(str)))
    table["label"] = names[codes[rows]]
    table.loc[len(table) if n is None else n :, "label"] = None
    return table


def test_next_asks_for_pool_rows_that_are_wrong_more_often(run, base):
    codes = base[1]
    result = next_stage(run, NextSettings(budget=30), COMPUTE)
    table = pd.read_csv(result.summary["path"], dtype={"id": str})
    assert list(table.columns) == [
        *("id", "item", "label", "source", "weak_label", "guess", "trust", "why")
    ]
    assert table["label"].isna().all()
    dataset = run.dataset()
    rows = pd.Index(dataset.ids).get_indexer(pd.Index(table["id"]))
    assert set(rows) <= set(dataset.rows("pool"))
    assert table["item"].tolist() == dataset.table["item"].iloc[rows].tolist()
    proba = posterior_of(run, dataset)
    wrong = proba.argmax(axis=1) != codes
    assert wrong[rows].mean() > 1.5 * wrong[dataset.rows("pool")].mean()
    assert sum(row["chosen"] for row in result.summary["by_class"]) == 30
    assert {row["name"] for row in result.summary["by_source"]} == {"web", "crm"}
    assert result.summary["doubt"] > result.summary["pool_doubt"]
    again = next_stage(run, NextSettings(budget=30), COMPUTE)
    assert again.fresh
    assert again.summary == result.summary


def test_a_pool_smaller_than_the_budget_is_asked_for_as_a_whole(run):
    summary = next_stage(run, NextSettings(budget=1_000), COMPUTE).summary
    assert summary["n"] == 240
    assert summary["warnings"] == ["the pool has 240 rows: all of them are in the table"]


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_the_table_has_the_format_of_its_name(run, tmp_path, suffix):
    path = tmp_path / "sub" / f"next.{suffix}"
    next_stage(run, NextSettings(budget=5, to=path), COMPUTE)
    read = {"tsv": pd.read_table, "parquet": pd.read_parquet}.get(
        suffix, lambda p: pd.read_json(p, lines=True)
    )
    assert len(read(path)) == 5
    with pytest.raises(InputError, match=r"must end in one of .csv, .tsv, .jsonl, .parquet"):
        next_stage(run, NextSettings(to=tmp_path / "next.xlsx"), COMPUTE)


def test_labels_that_were_filled_in_are_not_overwritten(run, base, tmp_path):
    path = tmp_path / "next.csv"
    settings = NextSettings(budget=10, to=path)
    next_stage(run, settings, COMPUTE)
    filled(pd.read_csv(path), run, base[1], n=3).to_csv(path, index=False)
    before = path.read_bytes()
    with pytest.raises(WriteError, match="has 3 labels that the run does not know"):
        next_stage(run, settings, COMPUTE)
    assert path.read_bytes() == before
    path.write_text("my,notes\n1,2\n")
    with pytest.raises(WriteError, match="is not an empty table of labels"):
        next_stage(run, settings, COMPUTE)


@pytest.mark.slow
def test_rounds_move_rows_and_keep_what_was_measured_before(run, base):
    codes, folder = base[1], run.path
    for number in (1, 2):
        path = next_stage(run, NextSettings(budget=20), COMPUTE).summary["path"]
        assert path.endswith(f"next-{number}.csv")
        filled(pd.read_csv(path), run, codes, n=15).to_csv(path, index=False)
        run = open_run(DataSettings(path=str(folder), labels=(path,)), RunSettings())
        assert len(run.dataset().rows("labelled")) == 60 + 15 * number
        assert not run.follows(SCORE)
        score_stage(run, ScoreSettings(teacher_l2=0.01), COMPUTE)
    rounds = Run.open(folder).labelling().rounds
    assert [known["n_labelled"] for known in rounds] == [60, 75, 90]
    assert [len(known["labels"]) for known in rounds] == [0, 15, 15]
    notes = [note for note in Run.open(folder).dataset().notes if "models doubt" in note]
    assert len(notes) == 1
    assert notes[0].startswith("warning: 30 of the 90 labelled rows were chosen")
    assert "whose accuracies are those of the labelled rows, is too low for the pool" in notes[0]
    measured = [known["results"] for known in rounds]
    assert measured[2] is None  # its results are those of the run
    assert 0.5 < measured[0]["posterior"]["value"] < 1
    assert measured[1]["posterior"] != measured[0]["posterior"]
    assert inspect_run(folder) == []
    # The same tables once more are no news.
    tables = tuple(str(folder / f"next-{number}.csv") for number in (1, 2))
    key = run.manifest["stages"]["score"]["key"]
    again = open_run(DataSettings(path=str(folder), labels=tables), RunSettings())
    assert again.manifest["stages"]["score"]["key"] == key
    assert len(again.labelling().rounds) == 3


@pytest.mark.slow
def test_a_configuration_that_is_run_again_keeps_its_labels(tmp_path):
    table, strong, codes = world(n=200, n_gold=40)
    table.loc[table["split"] == "pool", "label"] = None
    columns = {"split": "split", "item": "text", "label": "label", "weak_columns": ["p0", "p1"]}
    columns |= {"class_names": ["bird", "cat"]}
    dataset = load_dataset(table, **columns)
    settings = RunSettings(output=tmp_path / "run")

    def opened(*labels, **more):
        run = open_run(DataSettings(path=dataset, labels=labels), settings.model_copy(update=more))
        embed_stage(run, EmbedSettings(strong_features=strong), COMPUTE)
        score_stage(run, None, COMPUTE)
        return run

    opened()
    names = np.array(["bird", "cat"])
    labels = pd.DataFrame({"id": dataset.ids[50:60], "label": names[codes[50:60]]})
    run = opened(labels)
    assert len(run.dataset().rows("labelled")) == 50
    assert run.follows(SCORE)
    assert len(opened().dataset().rows("labelled")) == 50  # they are the run's by now
    wrong = labels.assign(label=names[1 - codes[50:60]])
    with pytest.raises(InputError, match="and it was labelled"):
        opened(wrong)
    assert len(Run.open(run.path).dataset().rows("labelled")) == 50
    assert len(opened(overwrite=True).dataset().rows("labelled")) == 40


def test_tables_of_labels_are_relative_to_the_configuration(tmp_path):
    path = tmp_path / "w2s.toml"
    path.write_text('[data]\npath = "example:digits"\nlabels = ["a.csv", "b/c.csv"]\n')
    assert load_config(path).data.labels == (tmp_path / "a.csv", tmp_path / "b" / "c.csv")
    assert DataSettings(labels="a.csv,b.csv").labels == (Path("a.csv"), Path("b.csv"))
    with pytest.raises(InputError, match="labels must be"):
        load_config({"data": {"path": "example:digits", "labels": [3]}})


def test_a_run_without_gold_labels_gets_a_random_sample(tmp_path):
    table, strong, _ = world(n=200, n_gold=0)
    table["label"] = None
    run, summary = scored(tmp_path, table, strong)
    assert summary["unknown"]
    summary = next_stage(run, NextSettings(budget=20), COMPUTE).summary
    chosen = pd.read_csv(summary["path"])
    assert not summary["by_posterior"]
    assert set(chosen["why"]) == {"drawn at random"}
    assert len(chosen) == 20


def test_labels_for_the_whole_pool_are_refused_and_the_run_stays_as_it_is(run, base):
    dataset = run.dataset()
    everything = pd.DataFrame({"id": dataset.ids, "label": np.array(dataset.class_names)[base[1]]})
    with pytest.raises(InputError, match="would leave 0 of the 240 rows of the pool"):
        open_run(DataSettings(path=str(run.path), labels=(everything,)), RunSettings())
    assert Run.open(run.path).follows(SCORE)


def test_exported_labels_are_more_often_right_and_say_why(run, base):
    codes = base[1]
    summary = export_stage(run, None, COMPUTE).summary
    table = pd.read_parquet(summary["path"])
    dataset = run.dataset()
    assert len(table) == 300
    names = np.array(dataset.class_names)
    truth = pd.Series(names[codes], index=dataset.ids)[table["id"]].to_numpy()
    gold = table["why"] == "gold"
    assert gold.sum() == 60
    assert (table["label"][gold] == truth[gold]).all()
    assert (table["weight"][gold] == 1).all()
    left = table["label"].isna()
    assert (table["why"][left] == "left out: no evidence").all()
    assert (table["weight"][left] == 0).all()
    trained = ~left & ~gold
    right = table["label"][trained] == truth[trained]
    # Weights say which labels to believe.
    assert table["weight"][trained][right].mean() > table["weight"][trained][~right].mean() + 0.1
    changed = table["why"].str.startswith("weak label changed")
    assert (table["label"][changed] != table["weak_label"][changed]).all()
    was_right = table["weak_label"][changed] == truth[changed]
    assert right[changed].mean() > was_right.mean() + 0.05
    assert sum(row["n"] for row in summary["by_reason"]) == 300
    proba = table[[f"p_{name}" for name in names]].to_numpy()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_without_gold_labels_the_weak_ones_are_kept_and_said_to_be_unchecked(tmp_path):
    table, strong, _ = world(n=200, n_gold=0)
    table["label"] = None
    run, _ = scored(tmp_path, table, strong)
    path = export_stage(run, None, COMPUTE).summary["path"]
    exported = pd.read_parquet(path)
    assert (exported["label"] == exported["weak_label"]).all()
    assert set(exported["why"]) == {"weak label kept: no gold labels to check it"}
    assert exported["trust"].isna().all()


def test_other_formats_hold_the_same_labels_and_the_items(run, tmp_path):
    table = pd.read_parquet(export_stage(run, None, COMPUTE).summary["path"])
    lines = pd.read_json(
        export_stage(run, ExportSettings(format="jsonl"), COMPUTE).summary["path"],
        lines=True,
        dtype={"id": str},
    )
    assert lines["label"].fillna("").tolist() == table["label"].fillna("").tolist()
    assert lines["item"].iloc[0] == "item 0"
    path = export_stage(run, ExportSettings(to=tmp_path / "a.csv"), COMPUTE).summary["path"]
    assert len(pd.read_csv(path)) == 300
    with pytest.raises(InputError, match="'jsonl' does not fit the name"):
        export_stage(run, ExportSettings(format="jsonl", to=tmp_path / "a.csv"), COMPUTE)


@pytest.mark.slow
def test_a_folder_opens_in_the_datasets_library(run, tmp_path):
    datasets = pytest.importorskip("datasets")
    for _ in range(2):  # a saved data set may be replaced
        export_stage(run, ExportSettings(format="hf", to=tmp_path / "hf"), COMPUTE)
    loaded = datasets.load_from_disk(str(tmp_path / "hf"))
    table = pd.read_parquet(run.path / "relabelled.parquet")
    names = loaded.features["label"].names
    assert tuple(names) == run.dataset().class_names
    codes = [None if pd.isna(label) else names.index(label) for label in table["label"]]
    assert loaded["label"][:] == codes
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(WriteError, match="is not a saved data set"):
        export_stage(run, ExportSettings(format="hf", to=tmp_path / "mine"), COMPUTE)


def test_without_the_datasets_library_nothing_is_written(run, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "datasets" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"pip install 'w2s-data\[hub\]'"):
        export_stage(run, ExportSettings(format="hf"), COMPUTE)
    assert not (run.path / "relabelled.parquet").exists()
