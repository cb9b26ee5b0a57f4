"""Commands believe a file only as its stage left it, and let one process write a run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.disturbed import STAGES, write_data
from w2s_data.cli import main
from w2s_data.stages import inspect_run
from w2s_data.utils.manifest import MANIFEST

HOLD = """
import sys, time
from pathlib import Path
from w2s_data.utils.lock import writing
with writing(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A run with scores, a forecast and a gain, all from texts."""
    folder = tmp_path_factory.mktemp("trust")
    write_data(folder)
    with contextlib.chdir(folder):
        for name in ("embed", "score", "forecast", "gain"):
            with pytest.raises(SystemExit) as stop:
                main(["-q", *STAGES[name]])
            assert not stop.value.code
    return folder / "run"


def again(command, run):
    """The arguments of a command on a run."""
    return (command, run, *STAGES[command][2:])


def refused(result, *words):
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def edit(path, before, after):
    """Replace a part of a text file by another one of the same length."""
    text = path.read_text()
    assert before in text
    assert len(before) == len(after)
    path.write_text(text.replace(before, after, 1))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["score", "forecast", "gain", "groups", "select", "report"])
def test_rows_of_the_items_in_another_order(w2s, run, command):
    items = pd.read_parquet(run / "items.parquet")
    items.iloc[::-1].to_parquet(run / "items.parquet", index=False)
    refused(
        w2s("-q", *again(command, run)), "items.parquet' has changed since stage 'items' wrote it"
    )
    assert {p.repair.split(":")[0] for p in inspect_run(run)} == {
        "make the run again from its data"
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", ["forecast", "gain", "groups", "select"])
@pytest.mark.parametrize("role", ["strong", "weak"])
def test_features_that_are_not_those_that_were_embedded(w2s, run, command, role):
    edit(run / "features" / role / MANIFEST, '"rows": 360', '"rows": 359')
    refused(w2s("-q", *again(command, run)), f"{role}/manifest.json' has changed", "w2s embed")


@pytest.mark.slow
def test_a_shard_of_other_vectors(w2s, run):
    shard = run / "features/strong/part-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    refused(w2s("-q", "groups", run), "part-00000.parquet' is damaged", "embed")
    (problem,) = inspect_run(run)
    assert "features/strong/part-00000.parquet is missing or damaged" in str(problem)


@pytest.mark.slow
def test_a_gate_does_not_pass_an_edited_number(w2s, run):
    density = json.loads((run / "overlap.json").read_text())["density"]["value"]
    assert w2s("-q", "report", run, "--no-map", "--fail-on", f"density<{density / 2}")[0] == 0
    assert w2s("-q", "report", run, "--no-map", "--fail-on", f"density<{density + 0.01}")[0] == 1
    state = (run / "overlap.json").stat()
    number = f'"value": {density}'
    edit(run / "overlap.json", number, f'"value": 0.{"9" * (len(number) - 11)}')
    os.utime(run / "overlap.json", ns=(state.st_atime_ns, state.st_mtime_ns))
    gate = ("report", run, "--no-map", "--fail-on", f"density<{density + 0.01}")
    refused(w2s("-q", *gate), "overlap.json' has changed since stage 'score'", f"w2s score {run}")
    refused(w2s("-q", *gate, "--format", "json", "--to", "-"), "overlap.json' has changed")
    code, out, _ = w2s("doctor", run)
    assert code == 1
    assert "problem: overlap.json has changed since stage 'score' wrote it" in out
    # The command that is named repairs it.
    assert w2s("-q", "score", run)[0] == 0
    assert w2s("doctor", run)[:2] == (0, "healthy: yes\n")
    assert w2s("-q", *gate)[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "command", "stage"),
    [
        ("forecast.json", "gain", "forecast"),
        ("scores.parquet", "select", "score"),
        ("weak_proba.parquet", "gain", "score"),
        ("predictions.parquet", "groups", "gain"),
        ("gain.json", "groups", "gain"),
    ],
)
def test_changed_inputs_of_a_stage(w2s, run, file, command, stage):
    with (run / file).open("ab") as opened:
        opened.write(b" ")
    result = w2s("-q", *again(command, run))
    refused(result, f"{file}' has changed", f"run `w2s {stage} {run}", "` again")


@pytest.mark.slow
def test_a_file_of_features_elsewhere(w2s, run, tmp_path):
    n = len(pd.read_parquet(run / "items.parquet"))
    vectors = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    np.save(tmp_path / "weak.npy", vectors)
    assert w2s("-q", "embed", run, "--weak-features", tmp_path / "weak.npy")[0] == 0
    os.utime(tmp_path / "weak.npy", (1e9, 1e9))
    assert w2s("-q", "score", run)[0] == 0
    np.save(tmp_path / "weak.npy", -vectors)
    refused(w2s("-q", "forecast", run), "weak.npy' has changed since the run was embedded")
    assert "weak.npy', the weak features, has changed" in str(inspect_run(run)[0])


@pytest.mark.slow
def test_vectors_of_the_items(w2s, tmp_path):
    run = tmp_path / "vectors"
    assert w2s("-q", "score", "example:gaussian_overlap?n=200", "-o", run)[0] == 0
    vectors = np.load(run / "items.npy")
    np.save(run / "items.npy", vectors[::-1])
    refused(w2s("-q", "gain", run), "items.npy' has changed since stage 'items'")
    # The same command makes the items again.
    assert w2s("-q", "score", "example:gaussian_overlap?n=200", "-o", run)[0] == 0
    np.testing.assert_array_equal(np.load(run / "items.npy"), vectors)


@pytest.mark.slow
def test_a_copied_run_is_read_by_every_command(w2s, scored, tmp_path):
    shutil.copytree(scored, tmp_path / "copy", copy_function=shutil.copyfile)
    for command in ("gain", "report"):
        assert w2s("-q", *again(command, tmp_path / "copy"))[0] == 0
    assert w2s("doctor", tmp_path / "copy")[:2] == (0, "healthy: yes\n")


@pytest.mark.slow
def test_the_doctor_names_each_problem_and_its_repair(w2s, run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert w2s("doctor", run)[:2] == (0, "healthy: yes\n")
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert w2s("-q", "score", run, "--teacher-l2", "7")[0] == 0
    (run / "gain.parquet").unlink()
    student = next((run / "gain").rglob("*.safetensors"))
    student.write_bytes(student.read_bytes()[:-1] + b"x")
    (run / ".scores.parquet.1@.partial").write_bytes(b"half")
    os.utime(run / ".scores.parquet.1@.partial", (1, 1))
    (run / "groups.json").write_text("{}")
    code, out, _ = w2s("doctor", run)
    assert code == 1
    *problems, last = out.splitlines()
    assert last == "healthy: no"
    assert all(line.startswith("problem: ") for line in problems)
    for words in (
        ("gain.parquet is missing since stage 'gain'", f"run `w2s gain {run} --methods"),
        ("stage 'gain' is older than its inputs", f"run `w2s gain {run} --methods"),
        (f"{student.relative_to(run)} is damaged", "delete it, and run `w2s gain"),
        ("groups.json is of no finished stage", f"run `w2s groups {run}` again"),
    ):
        assert any(all(word in line for word in words) for line in problems), words
    for name in ("nowhere", "data.csv"):
        refused(w2s("doctor", run.parent / name), "is not a run directory")
    (run / MANIFEST).write_text("{}")
    code, out, _ = w2s("doctor", run)
    assert code == 1
    assert out.startswith("problem: cannot read")


@pytest.mark.slow
def test_a_command_that_shall_not_wait_says_for_whom(w2s, run):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        said = f"is being written by process {holder.pid} (-c "
        for command in ("gain", "score", "select"):
            refused(w2s("-q", *again(command, run), "--no-wait"), f"the run {str(run)!r} {said}")
        code, out, err = w2s("-q", "report", run, "--no-wait")
        assert code == 0
        assert f"no map: the run {str(run)!r} {said}" in err
        assert out == f"report: {run / 'report.html'}\n"
        code, out, _ = w2s("doctor", run)
        assert code == 0
        assert out.startswith(f"written by: process {holder.pid} (-c ")
    finally:
        holder.kill()
        holder.communicate()
    assert w2s("-q", *again("gain", run), "--no-wait")[0] == 0
