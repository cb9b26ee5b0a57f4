"""The labelling loop as a user meets it: next, a table filled in, run; tables that do not fit."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.cli.test_score import sentences
from w2s_data import Run
from w2s_data.cli import main
from w2s_data.stages.graph import SCORE

CONFIG = """
[data]
path = "data.csv"
item = "text"
id = "id"
label = "label"
split = "split"
weak_columns = ["p_neg", "p_pos"]
[run]
output = "run"
[strong]
encoder = "tfidf"
[forecast]
enabled = false
[select]
enabled = false
[groups]
enabled = false
[report]
map = false
[gain]
methods = ["naive"]
seeds = 2
epochs = 3
"""
N, N_GOLD, N_POOL = 240, 40, 150


@pytest.fixture
def project(tmp_path, rng, monkeypatch):
    """A folder with data and a configuration; gives the true labels by id."""
    monkeypatch.chdir(tmp_path)
    texts, labels = sentences(N, rng)
    p = np.clip(np.where(labels == "pos", 0.65, 0.35) + rng.normal(0, 0.2, N), 0.01, 0.99)
    split = np.repeat(["labelled", "pool", "test"], [N_GOLD, N_POOL, N - N_GOLD - N_POOL])
    frame = pd.DataFrame({"id": [f"r{i}" for i in range(N)], "text": texts, "split": split})
    frame["label"] = np.where(split == "pool", None, labels)
    frame.assign(p_neg=1 - p, p_pos=p).to_csv("data.csv", index=False)
    (tmp_path / "w2s.toml").write_text(CONFIG)
    return dict(zip(frame["id"], labels, strict=True))


def w2s(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["-q", *map(str, arguments)])
    return stop.value.code


def score():
    """Make the run without its slower stages."""
    columns = ("--item", "text", "--id", "id", "--label", "label", "--split", "split")
    weak = ("--weak-columns", "p_neg,p_pos", "--strong", "tfidf")
    assert w2s("score", "data.csv", *columns, *weak, "-o", "run") == 0


@pytest.mark.slow
def test_two_rounds_from_a_configuration(project, capsys):
    assert w2s("run", "w2s.toml") == 0
    measured = []
    for number in (1, 2):
        gain = json.loads(Path("run/gain.json").read_text())
        measured.append(next(s for s in gain["students"] if s["name"] == "naive"))
        assert w2s("next", "run", "--budget", 20) == 0
        printed = capsys.readouterr().out
        assert f"table to fill in: run/next-{number}.csv" in printed
        assert "its column label: 'neg', 'pos'" in printed
        assert f"--labels run/next-{number}.csv" in printed
        table = pd.read_csv(f"run/next-{number}.csv")
        table["label"] = table["id"].map(project)
        table.to_csv(f"round-{number}.csv", index=False)
        assert w2s("run", "w2s.toml", "--labels", f"round-{number}.csv") == 0
    run = Run.open("run")
    assert len(run.dataset().rows("labelled")) == N_GOLD + 40
    for known, student in zip(run.labelling().rounds[:2], measured, strict=True):
        accuracy = student["scores"]["accuracy"]["value"]
        assert known["results"]["students"]["naive"]["value"] == accuracy
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "<bdi>round-2.csv</bdi>" in page
    capsys.readouterr()
    assert w2s("doctor", "run") == 0


@pytest.mark.slow
def test_a_scored_run_takes_labels_too_and_exports_them(project, capsys):
    score()
    rows = [key for key in project if 60 <= int(key[1:]) < 70]
    pd.DataFrame({"id": rows, "label": [project[key] for key in rows]}).to_csv("f.csv")
    assert w2s("score", "run", "--labels", "f.csv") == 0
    assert len(Run.open("run").dataset().rows("labelled")) == N_GOLD + 10
    more = [key for key in project if 70 <= int(key[1:]) < 75]
    pd.DataFrame({"id": more, "label": [project[key] for key in more]}).to_csv("g.csv")
    stages = ("forecast", "select", "gain", "groups", "report")
    off = [part for stage in stages for part in ("--set", f"{stage}.enabled=false")]
    assert w2s("run", "run", "--labels", "g.csv", *off) == 0
    run = Run.open("run")
    assert len(run.dataset().rows("labelled")) == N_GOLD + 15
    assert run.follows(SCORE)
    capsys.readouterr()
    assert w2s("export", "run", "--to", "labels.jsonl") == 0
    printed = capsys.readouterr().out
    assert "labels: labels.jsonl" in printed
    assert "gold" in printed
    exported = pd.read_json("labels.jsonl", lines=True)
    assert exported.set_index("id")["label"][rows].tolist() == [project[key] for key in rows]


@pytest.mark.slow
def test_a_table_that_does_not_fit_is_one_line_and_loses_nothing(project, capsys):
    score()
    before = {path: path.read_bytes() for path in Run.open("run").path.glob("*.parquet")}
    right = {"id": ["r60"], "label": [project["r60"]]}
    other = "neg" if project["r0"] == "pos" else "pos"
    for content, message in (
        (right | {"id": ["r999"]}, "the run has no id 'r999'"),
        (right | {"label": ["positive"]}, "there is no class 'positive'; did you mean 'pos'?"),
        (right | {"label": [None]}, "has no label filled in"),
        ({"id": ["r60", "r60"], "label": ["neg", "pos"]}, "labels id 'r60' twice"),
        ({"id": ["r0"], "label": [other]}, f"labels id 'r0' as '{other}', and it was labelled"),
        ({"id": ["r239"], "label": ["neg"]}, "id 'r239' is in the test split"),
        ({"key": ["r60"], "label": ["neg"]}, "there is no column 'id'"),
    ):
        pd.DataFrame(content).to_csv("bad.csv", index=False)
        capsys.readouterr()
        assert w2s("score", "run", "--labels", "bad.csv") == 2
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        assert "'bad.csv'" in error
        assert message in error
    assert w2s("score", "run", "--labels", "absent.csv") == 2
    assert {path: path.read_bytes() for path in before} == before
    capsys.readouterr()
    assert w2s("gain", "run", "--labels", "bad.csv") == 2
    assert "`w2s score RUN --labels FILE` add labels" in capsys.readouterr().err
