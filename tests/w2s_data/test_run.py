"""The run directory: what survives, what is refused, what is run again."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tests.sealing import seal
from w2s_data import load_dataset
from w2s_data.errors import RunError
from w2s_data.run import Run
from w2s_data.stages.graph import EMBED, SCORE


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "text": [f"item {i}" for i in range(20)],
            "label": ["no", "yes"] * 10,
            "source": ["web"] * 12 + ["crowd"] * 8,
        }
    )


@pytest.fixture
def dataset(table):
    return load_dataset(table, label="label", source="source")


def names(folder):
    """Names in a run directory, without that of the lock."""
    return {entry.name for entry in folder.iterdir()} - {".lock"}


def test_data_set_survives(dataset, tmp_path):
    Run.create(tmp_path / "run", dataset)
    again = Run.open(tmp_path / "run").dataset()
    pd.testing.assert_frame_equal(again.table, dataset.table, check_dtype=False)
    assert again.class_names == ("no", "yes")
    assert again.fingerprint == dataset.fingerprint


@pytest.mark.parametrize("n_models", [None, 1, 3])
def test_weak_labels_survive(table, tmp_path, rng, n_models):
    proba = rng.dirichlet([1, 1], (20, n_models or 1))
    names = [[f"m{m}_{c}" for c in ("no", "yes")] for m in range(n_models or 1)]
    wide = table.assign(
        **{column: proba[:, m, c] for m, pair in enumerate(names) for c, column in enumerate(pair)}
    )
    columns = names[0] if n_models is None else {f"m{m}": pair for m, pair in enumerate(names)}
    dataset = load_dataset(wide, item="text", label="label", weak_columns=columns)
    Run.create(tmp_path / "run", dataset)
    again = Run.open(tmp_path / "run").dataset()
    np.testing.assert_array_equal(again.weak_proba, dataset.weak_proba)
    assert again.weak_names == dataset.weak_names


def test_vectors_survive(tmp_path, rng):
    vectors = rng.normal(size=(20, 3)).astype(np.float32)
    frame = pd.DataFrame({"vector": list(vectors), "label": [0, 1] * 10})
    dataset = load_dataset(frame, item="vector", label="label")
    Run.create(tmp_path / "run", dataset)
    np.testing.assert_array_equal(Run.open(tmp_path / "run").dataset().features, vectors)


def test_reopening_keeps_stages(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)
    with run.stage(SCORE, {"a": 1}) as stage:
        stage.write_summary("overlap.json", {"density": np.nan})
    again = Run.create(tmp_path / "run", dataset)
    assert again.is_fresh(SCORE, {"a": 1})
    assert not again.is_fresh(SCORE, {"a": 2})
    assert again.read_summary("overlap.json") == {"schema": 1, "density": None}


def test_a_damaged_file_is_not_fresh(dataset, tmp_path, caplog):
    run = Run.create(tmp_path / "run", dataset)
    with run.stage(SCORE, {}) as stage:
        stage.write_summary("overlap.json", {})
    (run.path / "overlap.json").write_text("{} ")
    assert not run.is_fresh(SCORE, {})
    assert "overlap.json is missing or damaged" in caplog.text


def test_a_stage_that_fails_is_not_named(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)

    def fail():
        with run.stage(SCORE, {}) as stage:
            stage.write_summary("overlap.json", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "score" not in Run.open(run.path).manifest["stages"]
    assert names(run.path) == {"items.parquet", "manifest.json"}


def test_a_stage_depends_on_its_inputs(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)
    with run.stage(EMBED, {"model": "a"}), run.stage(SCORE, {}):
        pass
    with run.stage(SCORE, {}):
        pass
    assert run.is_fresh(SCORE, {})
    with run.stage(EMBED, {"model": "b"}):
        pass
    assert not run.is_fresh(SCORE, {})


def test_another_data_set_is_refused(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)
    table = pd.DataFrame({"text": list("abcdefgh") * 3, "label": [0, 1] * 12, "id": range(50, 74)})
    other = load_dataset(table, label="label", id="id")
    before = (run.path / "manifest.json").read_bytes()
    with pytest.raises(RunError, match="belongs to another data set"):
        Run.create(run.path, other)
    assert (run.path / "manifest.json").read_bytes() == before
    assert len(Run.create(run.path, other, overwrite=True).dataset()) == 24


def test_a_grown_data_set_is_welcome(table, tmp_path):
    Run.create(tmp_path / "run", load_dataset(table.head(14), label="label"))
    grown = Run.create(tmp_path / "run", load_dataset(table, label="label"))
    assert grown.manifest["data"]["n_items"] == 20


def test_other_files_are_not_touched(dataset, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="not a run directory"):
            Run.create(tmp_path, dataset, overwrite=overwrite)
    with pytest.raises(RunError, match="not a run directory"):
        Run.create(tmp_path / "thesis.txt", dataset)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_run_killed_before_its_manifest_can_be_made_again(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)
    (run.path / "manifest.json").rename(run.path / ".manifest.json.7.partial")
    assert len(Run.create(run.path, dataset).dataset()) == 20
    assert names(run.path) == {"items.parquet", "manifest.json"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '"text"'])
def test_damaged_manifest(dataset, tmp_path, content):
    Run.create(tmp_path / "run", dataset)
    (tmp_path / "run" / "manifest.json").write_text(content)
    with pytest.raises(RunError, match="manifest"):
        Run.open(tmp_path / "run")


@pytest.mark.parametrize(
    ("schema", "message"), [(99, "newer version"), (2, "earlier version .*: score the data again")]
)
def test_another_schema(dataset, tmp_path, schema, message):
    run = Run.create(tmp_path / "run", dataset)
    manifest = json.loads((run.path / "manifest.json").read_text())
    (run.path / "manifest.json").write_text(json.dumps({**manifest, "schema": schema}))
    with pytest.raises(RunError, match=message):
        Run.open(run.path)


def test_no_run_here(tmp_path):
    with pytest.raises(RunError, match="w2s score DATA -o RUN"):
        Run.open(tmp_path)


def test_missing_and_damaged_tables(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)
    with pytest.raises(RunError, match=r"no scores\.parquet yet"):
        run.read_table("scores.parquet")
    (run.path / "items.parquet").write_bytes(b"PAR1")
    seal(run.path)
    run = Run.open(run.path)
    with pytest.raises(RunError, match=r"items\.parquet' as Parquet"):
        run.dataset()


def test_manifest_says_what_made_it(dataset, tmp_path):
    manifest = Run.create(tmp_path / "run", dataset, source="data.csv", seed=7).manifest
    assert manifest["seed"] == 7
    assert manifest["data"]["source"] == "data.csv"
    assert {"python", "numpy", "torch"} <= manifest["versions"].keys()
    assert manifest["stages"]["items"]["files"].keys() == {"items.parquet"}
