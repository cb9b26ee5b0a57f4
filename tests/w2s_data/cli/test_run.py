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

from w2s_data import audit
from w2s_data.cli.pipeline import example_path
from w2s_data.errors import InputError
from w2s_data.run import Run
from w2s_data.stages.config import load_config

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
teacher_l2 = 1

[forecast]
teacher_l2 = 1.0

[select]
budget = 60
batch_size = 10

[gain]
methods = ["naive"]
seeds = 2
epochs = 3
controls = false

[report]
map = false # which a second process draws, see test_ahead.py
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

[report]
map = false
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
    audit(config=folder / "w2s.toml", progress=False)
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
    memory = ("--memory", "2GB")
    score = (*roles, *sizes, *weak, *memory, "--teacher-l2", 1, "-o", made)
    w2s("score", folder / "data.parquet", *score)
    w2s("forecast", made, *memory, "--teacher-l2", 1.0)
    w2s("select", made, *memory, "--budget", 60, "--batch-size", 10)
    given = ("--methods", "naive", "--seeds", 2, "--epochs", 3, "--no-controls")
    w2s("gain", made, *memory, *given)
    w2s("groups", made, *memory)
    assert w2s("report", made, "--no-map")[0] == 0
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
    assert [line.split()[0] for line in skipped] == ["groups", "select"]
    for line, words in zip(skipped, ("enabled = false", "no sources"), strict=True):
        assert words in line
    # Ready-made weak labels need no weak features.
    assert states(err)["forecast"] == states(err)["gain"] == "done"


@pytest.mark.slow
def test_notes_on_the_data_are_printed_once(w2s, tmp_path):
    write_data(tmp_path)
    table = pd.read_parquet(tmp_path / "data.parquet")
    spelled = table["label"].astype(str)
    spelled[:20] = "N/A"
    table.assign(label=spelled).to_parquet(tmp_path / "data.parquet")
    stages = ("forecast", "select", "gain", "groups")
    off = [part for stage in stages for part in ("--set", f"{stage}.enabled=false")]
    told = "note: column 'label': 20 rows have no label ('N/A' 20)"
    for n in (1, 0):
        code, out, err = w2s("-q", "run", tmp_path / "w2s.toml", *off)
        assert code == 0
        assert err.count(told) == n
        assert "note: column" not in out


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
    assert "no label to measure by" in err


@pytest.mark.slow
def test_a_stage_that_fails_keeps_the_others_and_the_report(w2s, folder, monkeypatch):
    def fail(*_: object) -> None:
        raise InputError("no such luck")

    monkeypatch.setattr("w2s_selectors.stage.select_stage", fail)
    (folder / "run/report.html").unlink()
    scores = (folder / "run/scores.parquet").read_bytes()
    code, out, err = w2s("run", folder / "w2s.toml")
    assert code == 2
    assert states(err) == {
        **dict.fromkeys(("embed", "score", "forecast"), "fresh"),
        "select": "failed",
        "report": "done",
    }
    assert err.splitlines()[-1] == "error: no such luck"
    assert out.splitlines()[-1] == f"report: {folder / 'run' / 'report.html'}"
    assert (folder / "run/report.html").is_file()
    assert (folder / "run/scores.parquet").read_bytes() == scores
    with pytest.raises(InputError, match="no such luck"):
        audit(config=load_config(folder / "w2s.toml"), progress=False)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("select.stop=est", "[select] stop: there is no source 'est'; did you mean 'west'?"),
        ("gain.methods=naiv", "[gain] there is no method 'naiv'; did you mean 'naive'?"),
        ("gain.methods=enhanced:share=3", "[gain] enhanced: share must be a number in (0, 1]"),
        ("report.fail_on=densty<0.2", "[report] there is no metric 'densty'; did you mean"),
        ("report.baseline=nowhere", "nowhere' is not a run directory"),
        ("strong.encoder=./minilm", "strong: there is no model folder './minilm'"),
        ("run.memory=lots", "memory must be a size such as 4GB"),
    ],
)
def test_what_cannot_run_is_refused_before_the_first_stage(w2s, tmp_path, override, words):
    write_data(tmp_path)
    (tmp_path / "w2s.toml").write_text(QUICK)
    code, out, err = w2s("run", tmp_path / "w2s.toml", "--set", override)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert "done" not in err  # no stage had run


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
    audit(config=tmp_path / "w2s.toml", progress=False)
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
    assert "the same command resumes from here" in err
    assert "interrupted" in states(err).values()


@pytest.mark.slow
def test_demo_is_the_example_that_is_printed(w2s, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, example, _ = w2s("run", "--example")
    assert code == 0
    # With fewer and shorter trainings: only what is run twice must be the same.
    quick = example.replace("seeds = 3", "seeds = 2\nepochs = 3").replace(
        "[report]", "[report]\nmap = false"
    )
    Path("w2s.toml").write_text(quick)
    with monkeypatch.context() as patched:
        patched.setattr("w2s_data.cli.pipeline.example_path", lambda: tmp_path / "w2s.toml")
        code, out, err = w2s("demo")
    assert code == 0
    assert states(err) == dict.fromkeys((*STAGES, "report"), "done")
    for channel in ("clean", "blurred", "rotated", "occluded"):
        assert f"source {channel}" in out
    assert out.splitlines()[-1] == "report: runs/demo/report.html"
    code, out, err = w2s("run", "w2s.toml", "--output", "runs/demo")
    assert code == 0
    assert states(err) == {**dict.fromkeys(STAGES, "fresh"), "report": "done"}


@pytest.mark.slow
def test_open_shows_the_page_or_says_that_it_cannot(w2s, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: bool(asked.append(uri)))
    code, _, err = w2s("report", folder / "run", "--no-map", "--open")
    assert code == 0
    assert "no browser could be started" in err
    assert asked == [(folder / "run/report.html").resolve().as_uri()]


def test_sections_and_keys_are_the_options_of_the_commands(w2s):
    schema = json.loads(w2s("run", "--schema")[1])
    for stage in ("score", "forecast", "select", "gain", "groups"):
        fields = schema["$defs"][f"{stage.rstrip('s').capitalize()}Settings"]["properties"]
        shown = w2s(stage, "--help")[1]
        for key in fields:
            assert f"--{key.replace('_', '-')}" in shown, (stage, key)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"class_names": ["neg", "pos"]}, ("neg", "pos")),
        ({"class_names": ["neg,pos"]}, ("neg", "pos")),  # as a shell hands it over
        ({"class_names": ["Sci, Tech", "World"]}, ("Sci, Tech", "World")),
        ({"class_names": [0, 1]}, ("0", "1")),
        ({"map": ["0=neg,1=pos"]}, {"0": "neg", "1": "pos"}),
        ({"map": ["0=neg", "w:1=pos", "9="]}, {"0": "neg", "w:1": "pos", "9": ""}),
        ({"map": {"0": "a=b", "Sci, Tech": 1}}, {"0": "a=b", "Sci, Tech": "1"}),
        ({"missing": ["-1,?"]}, ("-1", "?")),
        ({"missing": [""]}, ()),
        ({"missing": []}, ()),
        ({"missing": [-1, "?"]}, ("-1", "?")),
    ],
)
def test_classes_of_a_configuration(values, expected):
    config = load_config({"data": {"path": "example:digits", **values}})
    assert getattr(config.data, next(iter(values))) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"map": ["0"]}, "map must be classes by spelling, LABEL=CLASS"),
        ({"map": ["0=neg,0=pos"]}, "'0' is there twice"),
        ({"class_names": ["a", "a"]}, "'a' is there twice"),
        ({"class_names": [["a"], ["b"]]}, "class_names must be a list of names"),
        ({"task": "ranking"}, "task must be one of 'classification', 'regression'"),
    ],
)
def test_classes_that_a_configuration_refuses(values, message):
    with pytest.raises(InputError, match=message):
        load_config({"data": {"path": "example:digits", **values}})


def test_values_of_a_configuration(tmp_path):
    (tmp_path / "models").mkdir()
    config = load_config(
        {
            "data": {
                "path": "example:digits",
                "split-sizes": {"labelled": 50, "test": 0.2},
                "weak_columns": {"small": ["p0", "p1"], "large": ["q0", "q1"]},
            },
            "run": {"device": "cpu", "seed": 3},
            "weak": {"encoder": "pixels:3"},
            "forecast": {"weak_components": 0.99},
            "gain": {"methods": ["naive", "bayes"], "learning_rate": 1},
            "groups": {"enabled": False},
        }
    )
    assert config.data.split_sizes == {"labelled": 50, "test": 0.2}
    assert config.data.weak_columns == {"small": ["p0", "p1"], "large": ["q0", "q1"]}
    assert (config.run.device, config.run.seed) == ("cpu", 3)
    assert config.embed.weak == "pixels:3"
    assert config.gain.methods == ("naive", "bayes")
    assert config.gain.learning_rate == 1.0
    assert config.forecast.weak_components == 0.99
    assert config.off == ("groups",)
    (tmp_path / "c.toml").write_text(
        '[data]\npath = "org/name"\n[strong]\nencoder = "models@3"\n[run]\noutput = "r"\n'
        '[weak]\nfeatures = "w.npy"\n'
    )
    located = load_config(tmp_path / "c.toml", ["weak.features=x.npy", "gain.methods=naive,bayes"])
    assert located.data.path == "org/name"
    assert located.strong.encoder == str(tmp_path / "models@3")
    assert located.run.output == tmp_path / "r"
    assert located.weak.features == tmp_path / "x.npy"
    assert located.gain.methods == ("naive", "bayes")


HEAD = '[data]\npath = "example:digits"\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[gian]\n", ["bad.toml: there is no section 'gian'; did you mean 'gain'?"]),
        ("[gain]\nsedes = 1", ["bad.toml, [gain]: there is no key 'sedes'; did you mean 'seeds'?"]),
        ("[gain]\nsource = 'x'", ["no key 'source' here; it belongs to [data]"]),
        ("[gain]\nseeds = 'two'", ["[gain]: seeds must be a whole number; got 'two'"]),
        ("[gain]\nseeds = true", ["[gain]: seeds must be a whole number; got True"]),
        ("[gain]\nmethods = 3", ["methods must be a list of names; got 3"]),
        (
            "[gain]\nlearning_rate = 'fast'",
            ["learning_rate must be a number above 0, at most 1 or 'auto'; got 'fast'"],
        ),
        ("[select]\ncosts = ['a']", ["costs must be numbers by name"]),
        (
            "[score]\nteacher_l2 = true",
            ["teacher_l2 must be a number from 0 to 1e9 or 'cv'; got True"],
        ),
        ("[score]\nreference = 1", ["reference must be true or false; got 1"]),
        ("[weak]\nfeatures = 1", ["[weak]: features must be a path; got 1"]),
        ("[weak]\nencoder = 1", ["[weak]: encoder must be a text; got 1"]),
        ("[groups]\nenabled = 'no'", ["enabled must be true or false; got 'no'"]),
        ("[gain\nseeds = 1", ["bad.toml' as a configuration in TOML", "line 3, column 6"]),
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
        (HEAD, ["--set", "gain.seeds"], ["SECTION.KEY=VALUE", "'gain.seeds'"]),
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
    refused(w2s("run", tmp_path / "no.toml"), ["no.toml", "no such file"])
    refused(w2s("run"), ["w2s run --example > w2s.toml"])
