"""The run directory: what survives, what is refused, what is run again."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.sealing import seal
from w2s_data import load_dataset
from w2s_data.errors import RunError
from w2s_data.run import Run
from w2s_data.stages.graph import EMBED, FORECAST, GAIN, GROUPS, SCORE
from w2s_data.summaries import OverlapSummary, ValueOverlapSummary
from w2s_data.utils.writer import StageWriter


@pytest.fixture(autouse=True)
def any_summary(monkeypatch, summaries_follow_their_models):
    """Summaries of these tests are as short as can be."""
    monkeypatch.setattr(StageWriter, "write_summary", summaries_follow_their_models)


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
    assert again.read_summary("overlap.json") == {"schema": SCORE.schema, "density": None}


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


def change(run, name):
    """Edit a file of a run, which keeps its size."""
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)


@pytest.fixture
def scored(dataset, tmp_path):
    """A run with features and scores, written by hand."""
    run = Run.create(tmp_path / "run", dataset)
    with run.stage(EMBED, {}):
        pass
    with run.stage(SCORE, {}) as stage:
        stage.write_table("scores.parquet", pd.DataFrame({"id": dataset.ids, "x": range(20)}))
        stage.write_summary("overlap.json", {"density": 0.25})
    return run.path


@pytest.mark.parametrize("name", ["scores.parquet", "overlap.json"])
def test_a_changed_file_is_named_with_its_stage_and_the_way_out(scored, name):
    change(scored, name)
    run = Run.open(scored)
    read = run.read_table if name.endswith("parquet") else run.read_summary
    said = (
        rf"{name}' has changed since stage 'score' wrote it \(20.*\): run `w2s score .*run` again"
    )
    with pytest.raises(RunError, match=said):
        read(name)
    (scored / name).unlink()
    with pytest.raises(RunError, match=f"{name}' is missing since stage 'score'"):
        read(name)


def test_a_stage_refuses_changed_inputs_and_repeats_itself_where_its_own_output_changed(scored):
    change(scored, "overlap.json")
    run = Run.open(scored)
    assert run.earlier(SCORE, {}) is None
    for use in (lambda: run.earlier(GAIN, {}), lambda: run.stage(GAIN, {}).__enter__()):
        with pytest.raises(RunError, match=r"overlap\.json' has changed"):
            use()
    change(scored, "items.parquet")
    with pytest.raises(RunError, match=r"items\.parquet' has changed .* `w2s score DATA -o .*run`"):
        run.earlier(SCORE, {})


def test_a_copied_run_is_believed_and_left_as_it_is(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "copy", copy_function=shutil.copyfile)
    before = (tmp_path / "copy" / "manifest.json").read_bytes()
    run = Run.open(tmp_path / "copy")
    assert run.earlier(SCORE, {}).summary["density"] == 0.25
    assert len(run.dataset()) == 20
    assert (run.path / "manifest.json").read_bytes() == before


def test_an_edit_that_keeps_size_and_time_is_seen_by_the_thorough_only(scored):
    state = (scored / "overlap.json").stat()
    text = (scored / "overlap.json").read_text()
    (scored / "overlap.json").write_text(text.replace("0.25", "0.99"))
    os.utime(scored / "overlap.json", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert Run.open(scored).read_summary("overlap.json")["density"] == 0.99
    with pytest.raises(RunError, match="has changed"):
        Run.open(scored, thorough=True).read_summary("overlap.json")


def test_a_file_that_no_stage_names_is_not_read(scored):
    (scored / "gain.json").write_text('{"schema": 1}')
    with pytest.raises(RunError, match=r"has no gain\.json yet"):
        Run.open(scored).read_summary("gain.json")


def test_tables_of_other_length_or_without_columns(scored):
    run = Run.open(scored)
    with pytest.raises(RunError, match=r"scores\.parquet' lacks the columns 'region'"):
        run.read_table("scores.parquet", ["region"])
    pd.read_parquet(scored / "scores.parquet").head(7).to_parquet(scored / "scores.parquet")
    seal(scored)
    with pytest.raises(RunError, match="has 7 rows for 20 items: run `w2s score"):
        Run.open(scored).read_table("scores.parquet", per_item=True)


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema": 7}', "3", '{"schema": null}'])
def test_summaries_that_are_none(scored, content):
    (scored / "overlap.json").write_text(content)
    seal(scored)
    with pytest.raises(RunError, match=r"overlap\.json' is not a summary of schema 1: run `w2s"):
        Run.open(scored).read_summary("overlap.json", 1)


def test_a_summary_is_read_by_its_model(scored):
    run = Run.open(scored)
    assert run.read_summary(OverlapSummary) == run.read_summary("overlap.json")
    with pytest.raises(RunError, match=r"overlap\.json is not a ValueOverlapSummary: its model is"):
        run.read_summary(ValueOverlapSummary)
    with pytest.raises(KeyError, match="Run is not the model of a summary"):
        run.read_summary(Run)


def test_the_files_of_a_stage_appear_together(dataset, tmp_path):
    run = Run.create(tmp_path / "run", dataset)
    with run.stage(SCORE, {}) as stage:
        stage.write_summary("overlap.json", {})
        assert not (run.path / "overlap.json").exists()
    assert (run.path / "overlap.json").is_file()


def test_another_process_wrote_a_stage_in_the_meantime(scored):
    first, second = Run.open(scored), Run.open(scored)
    with first.stage(GAIN, {}) as stage:
        stage.write_summary("gain.json", {})
    with second.stage(GROUPS, {}) as stage:
        stage.write_summary("groups.json", {})
    assert {"gain", "groups"} <= Run.open(scored).manifest["stages"].keys()
    first.seed = 5
    with first.stage(FORECAST, {}):
        pass
    assert {"gain", "groups", "forecast"} <= first.manifest["stages"].keys()
    assert Run.open(scored).seed == 5


def test_a_run_made_again_by_another_process_is_not_written(scored, table):
    run = Run.open(scored)
    Run.create(scored, load_dataset(table.tail(10), label="label"), overwrite=True)
    with pytest.raises(RunError, match="was made again from other data"), run.stage(SCORE, {}):
        pass


def damaged(**changes):
    """A change of a manifest, as a function of it."""

    def apply(manifest):
        for place, value in changes.items():
            *path, last = place.split("__")
            part = manifest
            for key in path:
                part = part[key]
            if value is None:
                del part[last]
            else:
                part[last] = value
        return manifest

    return apply


RECORD = {"sha256": "0" * 64, "size": 1, "mtime_ns": 1}
DAMAGE = {
    "no stages": damaged(stages=None),
    "no data": damaged(data=None),
    "no classes": damaged(data__class_names=None),
    "classes as a text": damaged(data__class_names="no"),
    "a count as a text": damaged(data__n_items="20"),
    "an unknown kind": damaged(data__kind="sound"),
    "stages as a list": damaged(stages=[]),
    "an unknown stage": damaged(stages__scor={}),
    "a stage as a number": damaged(stages__score=3),
    "no key": damaged(stages__score__key=None),
    "files by hash alone": damaged(stages__score__files={"overlap.json": "0" * 64}),
    "a short hash": damaged(stages__score__files={"overlap.json": {**RECORD, "sha256": "0"}}),
    "a file above": damaged(stages__score__files={"../overlap.json": RECORD}),
    "a file elsewhere": damaged(stages__score__files={"/etc/hostname": RECORD}),
    "a file of Windows": damaged(stages__score__files={"C:\\overlap.json": RECORD}),
    "no name": damaged(stages__score__files={"": RECORD}),
    "a seed as a text": damaged(seed="0"),
    "a seed below 0": damaged(seed=-1),
    "a schema as a text": damaged(schema="3"),
    "a schema that is true": damaged(schema=True),
    "features as a list": damaged(features=[]),
    "a list": lambda manifest: [manifest],
    "a number": lambda _: 3,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_manifest_of_another_shape_is_one_line(scored, name):
    manifest = json.loads((scored / "manifest.json").read_text())
    (scored / "manifest.json").write_text(json.dumps(DAMAGE[name](manifest)))
    with pytest.raises(RunError, match=r"manifest\.json' as the manifest of a run") as error:
        Run.open(scored)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("depth", [600, 100_000])
def test_a_manifest_nested_too_deeply_is_one_line(scored, depth):
    nested = '{"a":' * depth + "1" + "}" * depth
    text = (scored / "manifest.json").read_text().replace('"settings": {}', f'"settings": {nested}')
    (scored / "manifest.json").write_text(text)
    with pytest.raises(RunError, match="nested too deeply"):
        Run.open(scored)


def test_classes_in_another_order_do_not_turn_the_weak_labels(table, tmp_path, rng):
    proba = rng.dirichlet([1, 1], 20)
    wide = table.assign(p_no=proba[:, 0], p_yes=proba[:, 1])
    run = Run.create(
        tmp_path / "run",
        load_dataset(wide, item="text", label="label", weak_columns=["p_no", "p_yes"]),
    )
    manifest = json.loads((run.path / "manifest.json").read_text())
    manifest["data"]["class_names"].reverse()
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="are in columns of other classes"):
        Run.open(run.path).dataset()


def test_unfinished_files_of_dead_processes_are_removed_also_below(scored):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (scored / "features/strong").mkdir(parents=True)
    own = f"{os.getpid()}@{platform.node()}"
    left = [
        scored / f".scores.parquet.{dead.pid}@{platform.node()}.partial",
        scored / f".scores.parquet.{dead.pid}.partial",
        scored / f"features/strong/.part-00000.parquet.{dead.pid}.partial",
    ]
    # Files of a live process, of another machine, and of one with the number of this process.
    kept = [scored / f".a.{own}.partial", scored / ".a.7@elsewhere.partial"]
    reused = scored / f".b.{own}.partial"
    for path in (*left, *kept, reused):
        path.write_bytes(b"half")
    os.utime(reused, (1e9, 1e9))
    Run.open(scored)
    assert [path.exists() for path in (*left, *kept, reused)] == [False] * 3 + [True] * 2 + [False]
    os.utime(kept[1], (1e9, 1e9))
    Run.open(scored)
    assert not kept[1].exists()
