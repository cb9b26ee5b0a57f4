"""`w2s run` and `w2s demo` as a user meets them: stages, what is skipped, what stops them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from w2s_data.cli import run_pipeline
from w2s_data.cli.config import config_keys, load_config
from w2s_data.cli.pipeline import example_path
from w2s_data.errors import InputError
from w2s_data.run import Run

ROOT = Path(__file__).parents[3]
N = 400
STAGES = ("embed", "score", "forecast", "select", "gain", "groups")
QUICK = """
[data]
path = "data.parquet"
item = "x"
label = "label"
source = "site"
split_sizes = { labelled = 80, test = 0.25 }

[run]
output = "run"
memory = "2GB" # recorded, and else what happens to be free

[weak]
features = "weak.npy"

[score]
l2 = 1

[forecast]
l2 = 1.0

[select]
budget = 60
batch = 10

[gain]
methods = ["naive"]
seeds = 2
epochs = 3
controls = false
"""
SYNTHETIC = """
[data]
path = "example:gaussian_overlap?n=200"

[run]
output = "run"

[gain]
methods = ["naive", "confidence"]
seeds = 2
epochs = 20
"""


def write_data(folder: Path) -> Path:
    """Vectors from three sites, weak features beside them, and a configuration."""
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=N)
    x = rng.normal(size=(N, 8)) + 1.5 * label[:, None]
    sites = rng.choice(["north", "south", "west"], N)
    pd.DataFrame({"x": list(x), "label": label, "site": sites}).to_parquet(folder / "data.parquet")
    np.save(folder / "weak.npy", (x[:, :2] + rng.normal(size=(N, 2))).astype(np.float32))
    (folder / "w2s.toml").write_text(QUICK)
    return folder


def states(err: str) -> dict[str, str]:
    """Each stage and how it ended, from the lines on standard error."""
    known = {*STAGES, "report"}
    lines = [line.split() for line in err.splitlines() if line.split()[:1]]
    return {words[0]: words[1] for words in lines if words[0] in known and len(words) > 1}


def artefacts(run: Path) -> dict[str, bytes]:
    """The files of a run whose bytes follow from data and settings."""
    told = ("*.parquet", "*.json", "neighbors.faiss", "features/*/part-*")
    files = {path for pattern in told for path in run.glob(pattern)} - {run / "manifest.json"}
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A folder whose configuration was run once."""
    folder = write_data(tmp_path_factory.mktemp("pipeline"))
    run_pipeline(folder / "w2s.toml", show_progress=False)
    return folder


@pytest.fixture
def folder(first, tmp_path):
    """A copy of it."""
    shutil.copytree(first, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.slow
def test_every_stage_is_in_the_run_and_the_second_time_skipped(w2s, folder):
    before = artefacts(folder / "run")
    assert set(Run.open(folder / "run").manifest["stages"]) >= {"items", *STAGES}
    code, out, err = w2s("run", folder / "w2s.toml")
    assert code == 0
    assert states(err) == {**dict.fromkeys(STAGES, "fresh"), "report": "done"}
    assert out.splitlines()[-1] == f"report: {folder / 'run' / 'report.html'}"
    assert out.startswith("verdict: ")
    assert artefacts(folder / "run") == before
    assert w2s("-q", "run", folder / "w2s.toml") == (0, out, "")


@pytest.mark.slow
def test_what_changes_runs_again_and_nothing_else(w2s, folder):
    code, _, err = w2s("run", folder / "w2s.toml", "--set", "gain.seeds=1")
    assert code == 0
    changed = dict.fromkeys(("gain", "groups", "report"), "done")  # groups know the student
    assert states(err) == {**dict.fromkeys(STAGES, "fresh"), **changed}
    assert json.loads((folder / "run/gain.json").read_text())["seeds"] == [0]


@pytest.mark.slow
def test_stages_do_not_differ_from_the_commands(w2s, folder, tmp_path):
    made = tmp_path / "by-hand"
    weak = ("--weak-features", folder / "weak.npy")
    roles = ("--item", "x", "--label", "label", "--source", "site")
    sizes = ("--split-sizes", "labelled=80,test=0.25")
    weak += ("--memory", "2GB")
    w2s("score", folder / "data.parquet", *roles, *sizes, *weak, "--l2", 1, "-o", made)
    w2s("forecast", made, *weak, "--l2", 1.0)
    w2s("select", made, *weak, "--budget", 60, "--batch", 10)
    given = ("--methods", "naive", "--seeds", 2, "--epochs", 3, "--no-controls")
    w2s("gain", made, *weak, *given)
    w2s("groups", made, *weak)
    assert w2s("report", made)[0] == 0
    by_hand, by_run = artefacts(made), artefacts(folder / "run")
    assert by_hand.keys() == by_run.keys()
    for name in by_hand:
        if name.endswith(".parquet"):
            pd.testing.assert_frame_equal(
                *map(pd.read_parquet, (made / name, folder / "run" / name))
            )
        else:
            assert by_hand[name] == by_run[name], name


@pytest.mark.slow
def test_stages_that_do_not_apply_are_skipped_with_the_reason(w2s, tmp_path):
    (tmp_path / "w2s.toml").write_text(SYNTHETIC + "[groups]\nenabled = false\n")
    code, _, err = w2s("run", tmp_path / "w2s.toml")
    assert code == 0
    skipped = [line for line in err.splitlines() if "skipped" in line]
    assert [line.split()[0] for line in skipped] == ["groups", "forecast", "select"]
    for line, words in zip(
        skipped, ("enabled = false", "weak features are missing", "no sources"), strict=True
    ):
        assert words in line
    assert states(err)["gain"] == "done"


@pytest.mark.slow
def test_one_source_and_a_test_split_without_labels_are_skipped_too(w2s, tmp_path):
    write_data(tmp_path)
    table = pd.read_parquet(tmp_path / "data.parquet")
    table["split"] = np.resize(["labelled", "pool", "test", "pool"], N)
    table.loc[table["split"] == "test", "label"] = None
    table.assign(site="north").to_parquet(tmp_path / "data.parquet")
    config = tmp_path / "w2s.toml"
    config.write_text(QUICK.replace("split_sizes = { labelled = 80, test = 0.25 }", ""))
    off = ("--set", "groups.enabled=false", "--set", "forecast.enabled=false")
    code, _, err = w2s("run", config, "--set", "data.split=split", *off)
    assert code == 0
    assert states(err)["select"] == states(err)["gain"] == "skipped"
    assert "all items of the pool are from 'north'" in err
    assert "have no label to be measured against" in err


@pytest.mark.slow
def test_a_stage_that_fails_keeps_the_others_and_the_report(w2s, folder):
    (folder / "run/report.html").unlink()
    scores = (folder / "run/scores.parquet").read_bytes()
    code, out, err = w2s("run", folder / "w2s.toml", "--set", "select.stop=est")
    assert code == 2
    assert states(err) == {
        **dict.fromkeys(("embed", "score", "forecast"), "fresh"),
        "select": "failed",
        "report": "done",
    }
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert "did you mean 'west'" in last
    assert out.splitlines()[-1] == f"report: {folder / 'run' / 'report.html'}"
    assert (folder / "run/report.html").is_file()
    assert (folder / "run/scores.parquet").read_bytes() == scores
    with pytest.raises(InputError, match="did you mean 'west'"):
        run_pipeline(load_config(folder / "w2s.toml", ["select.stop=est"]), show_progress=False)


def start(folder: Path) -> subprocess.Popen[str]:
    """`w2s run` in a process of its own."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "selectors"), str(ROOT / "reports")])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, "-c", "from w2s_data.cli import main; main()", "run", "w2s.toml"],
        cwd=folder,
        env=os.environ | threads | {"PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what it runs in the background with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(path: Path) -> None:
    """Wait until another process has made a file."""
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_random_moments_and_resumed(first, tmp_path):
    write_data(tmp_path)
    moments = random.Random(0)
    for _ in range(3):
        process = start(tmp_path)
        wait_for(tmp_path / "run/manifest.json")
        time.sleep(moments.uniform(0, 3))
        process.kill()
        process.communicate()
    run_pipeline(tmp_path / "w2s.toml", show_progress=False)
    assert artefacts(tmp_path / "run") == artefacts(first / "run")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_interrupted(tmp_path):
    write_data(tmp_path)
    process = start(tmp_path)
    wait_for(tmp_path / "run/manifest.json")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in err
    assert "interrupted" in states(err).values()


@pytest.mark.slow
def test_demo_is_the_example_that_is_printed(w2s, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = w2s("demo")
    assert code == 0
    assert states(err) == dict.fromkeys((*STAGES, "report"), "done")
    for channel in ("clean", "blurred", "rotated", "occluded"):
        assert f"source {channel}" in out
    assert out.splitlines()[-1] == "report: runs/demo/report.html"
    code, example, _ = w2s("run", "--example")
    assert code == 0
    Path("w2s.toml").write_text(example)
    code, out, err = w2s("run", "w2s.toml", "--output", "runs/demo")
    assert code == 0
    assert set(states(err).values()) == {"fresh", "done"}
    assert states(err)["gain"] == "fresh"


@pytest.mark.slow
def test_open_shows_the_page_or_says_that_it_cannot(w2s, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: bool(asked.append(uri)))
    code, _, err = w2s("report", folder / "run", "--open")
    assert code == 0
    assert "no browser could be started" in err
    assert asked == [(folder / "run/report.html").resolve().as_uri()]


def test_sections_and_keys_are_the_options_of_the_commands():
    keys = config_keys()
    assert {"path", "item", "label", "split_sizes", "weak_columns"} <= set(keys["data"])
    assert {"encoder", "features", "components"} == set(keys["weak"]) == set(keys["strong"])
    assert {"output", "seed", "device", "overwrite"} <= set(keys["run"])
    assert {"methods", "seeds", "tuning", "l2", "device"} <= set(keys["gain"])
    assert {"output", "open"} <= set(keys["report"])
    for stage in ("score", "select"):
        assert keys[stage].keys().isdisjoint({*keys["data"], "output", "seed", "weak"})


def test_values_are_read_as_the_commands_spell_them(tmp_path):
    (tmp_path / "models").mkdir()
    config = load_config(
        {
            "data": {
                "path": "example:digits",
                "split-sizes": {"labelled": 50, "test": 0.2},
                "weak_columns": {"small": ["p0", "p1"], "large": ["q0", "q1"]},
            },
            "run": {"device": "cpu", "seed": 3},
            "weak": {"encoder": "pixels:3", "components": 0.99},
            "gain": {"methods": ["naive", "bayes"], "device": "cuda", "learning_rate": 1},
            "groups": {"enabled": False},
        }
    )
    assert config.options["embed"] == {
        "data": "example:digits",
        "split_sizes": "labelled=50,test=0.2",
        "weak_columns": "small=p0,p1;large=q0,q1",
        "device": "cpu",
        "seed": 3,
        "weak": "pixels:3",
    }
    assert config.options["gain"] == {
        "methods": "naive,bayes",
        "device": "cuda",
        "seed": 3,
        "learning_rate": 1.0,
    }
    assert config.options["forecast"] == {"seed": 3, "weak_components": "0.99"}
    assert config.off == ("groups",)
    (tmp_path / "c.toml").write_text(
        '[data]\npath = "org/name"\n[strong]\nencoder = "models@3"\n[run]\noutput = "r"\n'
        '[weak]\nfeatures = "w.npy"\n'
    )
    located = load_config(tmp_path / "c.toml", ["weak.features=x.npy", "gain.methods=naive,bayes"])
    assert located.options["embed"] == {
        "data": "org/name",
        "strong": str(tmp_path / "models@3"),
        "output": tmp_path / "r",
        "weak_features": tmp_path / "x.npy",
    }
    assert located.options["gain"]["methods"] == "naive,bayes"


HEAD = '[data]\npath = "example:digits"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[gian]\n", ["bad.toml: there is no section 'gian'; did you mean 'gain'?"]),
        ("[gain]\nsedes = 1", ["bad.toml, [gain]: there is no key 'sedes'; did you mean 'seeds'?"]),
        ("[gain]\nsource = 'x'", ["no key 'source' here; it belongs to [data]"]),
        ("[gain]\nseeds = 'two'", ["[gain]: seeds must be a whole number; got 'two'"]),
        ("[gain]\nseeds = true", ["[gain]: seeds must be a whole number; got True"]),
        ("[gain]\nmethods = 3", ["methods must be a list of texts; got 3"]),
        ("[gain]\nlearning_rate = 'fast'", ["learning_rate must be a number; got 'fast'"]),
        ("[select]\ncosts = ['a']", ["costs must be a table of numbers"]),
        ("[score]\nl2 = true", ["l2 must be a number or 'cv'; got True"]),
        ("[score]\nreference = 1", ["reference must be true or false; got 1"]),
        ("[weak]\nfeatures = 1", ["[weak]: features must be a path; got 1"]),
        ("[weak]\nencoder = 1", ["[weak]: encoder must be a text; got 1"]),
        ("[groups]\nenabled = 'no'", ["enabled must be true or false; got 'no'"]),
        ("[gain\nseeds = 1", ["bad.toml' is not TOML", "line 3, column 6"]),
    ],
)
def test_bad_configuration(w2s, tmp_path, content, words):
    (tmp_path / "bad.toml").write_text(HEAD + content)
    refused(w2s("run", tmp_path / "bad.toml"), words)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.toml"]


def refused(result, words):
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        ("gain = 3", [], ["gain is a section, [gain]; got 3"]),
        ("[run]\nseed = 1", [], ["[data]: path is missing"]),
        (HEAD, ["--set", "gain.seeds=x"], ["--set, [gain]: seeds must be a whole number"]),
        (
            HEAD,
            ["--set", "gian.seeds=1"],
            ["--set: there is no section 'gian'; did you mean 'gain'"],
        ),
        (HEAD, ["--set", "gain.seeds"], ["--set reads SECTION.KEY=VALUE", "'gain.seeds'"]),
    ],
)
def test_bad_file_or_override(w2s, tmp_path, content, arguments, words):
    (tmp_path / "bad.toml").write_text(content)
    refused(w2s("run", tmp_path / "bad.toml", *arguments), words)


def test_the_guide_shows_the_example():
    guide = (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")
    _, _, rest = guide.partition("<!-- example -->\n```toml\n")
    assert rest.partition("```\n")[0] == example_path().read_text(encoding="utf-8")


def test_no_configuration(w2s, tmp_path):
    refused(w2s("run", tmp_path / "no.toml"), ["no.toml", "No such file", "w2s run --example"])
    refused(w2s("run"), ["w2s run --example > w2s.toml"])
