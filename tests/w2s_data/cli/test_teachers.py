"""Teachers as a user meets them: a table of the TOML, --teacher, Python, new rows."""

import json

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.cli.test_labels import w2s
from tests.w2s_data.stages.test_teaching import CLASSES, table
from w2s_data import Run, audit, load_dataset
from w2s_data.errors import InputError
from w2s_data.stages.applying import apply_student
from w2s_data.stages.config import load_config
from w2s_data.stages.teacher_settings import parse_teacher
from w2s_data.teachers import Teacher

TOML = """
[data]
path = "data.csv"
[teachers.small]
encoder = "tfidf:16"
[teachers.north-east]
encoder = "tfidf:16"
train_on = { source = ["north"], classes = ["art", "sea"], share = 0.5, label_noise = 0.2 }
[teachers.tuned]
finetune = "models/minilm-2-layers"
tuning = "full"
[teachers.judge]
answers = "reply"
map = { "(?i)^pos" = "positive", "(?i)^neg" = "negative" }
[teachers.rules]
rules = "rules.py:label"
[teachers.crowd]
label = "crowd"
confidence = "sure"
"""


def test_the_configuration_has_a_table_per_teacher(tmp_path):
    path = tmp_path / "w2s.toml"
    path.write_text(TOML)
    overrides = ["teachers.small.encoder=tfidf:32", "teachers.north-east.train_on.share=0.25"]
    config = load_config(path, overrides)
    assert [one.kind for one in config.teachers.values()] == [
        *("encoder", "encoder", "finetune", "answers", "rules", "columns"),
    ]
    assert config.teachers["small"].encoder == "tfidf:32"
    assert config.teachers["north-east"].train_on.share == 0.25
    assert config.teachers["judge"].map["(?i)^pos"] == "positive"
    # Files lie beside the configuration, wherever the command is run.
    assert config.teachers["rules"].rules == f"{tmp_path}/rules.py:label"
    with pytest.raises(InputError, match="teacher 'small': l2 must be a number"):
        load_config(path, ["teachers.small.l2=much"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("small=tfidf:16", {"encoder": "tfidf:16"}),
        ("m=models/a-b@6", {"encoder": "models/a-b@6"}),
        (
            "a=tfidf:16,source=north+east,share=.5",
            {"encoder": "tfidf:16", "train_on": {"source": ["north", "east"], "share": 0.5}},
        ),
        (
            "a=tfidf,specialists=halves,l2=.1",
            {"encoder": "tfidf", "specialists": "halves", "l2": 0.1},
        ),
        ("crowd=columns:p_neg+p_pos", {"columns": ["p_neg", "p_pos"]}),
        ("crowd=label:said,confidence=sure", {"label": "said", "confidence": "sure"}),
        ("rules=rules:rules.py:label", {"rules": "rules.py:label"}),
        ("tuned=finetune:models/minilm-2-layers", {"finetune": "models/minilm-2-layers"}),
        ("ask=command:python ask.py --n=1,x=2", {"command": "python ask.py --n=1,x=2"}),
    ],
)
def test_a_shell_names_teachers_in_one_word(text, expected):
    assert parse_teacher(text) == (text.partition("=")[0], expected)


def test_teach_adds_teachers_and_says_what_it_lacks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table(80).to_csv("data.csv", index=False)
    columns = ["--item", "text", "--label", "label", "--split", "split", "--source", "source"]
    small = ["--teacher", "small=tfidf:4,l2=0.1"]
    assert w2s("teach", "data.csv", *columns, "-o", "none") == 2
    assert "no teacher to ask: give one with --teacher" in capsys.readouterr().err
    weak = ["--weak-label", "crowd"]
    assert w2s("teach", "data.csv", *columns, *weak, "-o", "run", *small) == 2
    assert "use either ready-made weak labels or teachers" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    crowd = ["--teacher", "crowd=label:crowd,confidence=sure"]
    assert w2s("teach", "data.csv", *columns, "-o", "run", *small, *crowd) == 0
    said = capsys.readouterr().out
    assert "small" in said
    assert "20 rows" in said
    assert w2s("teach", "run", "--teacher", "p=columns:p_art") == 2
    assert "pass the data file instead of the run" in capsys.readouterr().err
    assert w2s("teach", "run", "--drop", "crowd", "--teacher", "half=tfidf:4,share=.5,l2=0.1") == 0
    written = json.loads((tmp_path / "run" / "teachers.json").read_text())
    assert [(one["name"], one["n_taught"]) for one in written["teachers"]] == [
        ("small", 20), ("half", 10),
    ]  # fmt: skip
    assert w2s("teach", "data.csv", *columns, "-o", "run", "--teacher", "x=columns:p_arts") == 2
    assert "there is no column 'p_arts'; did you mean 'p_art'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_hierarchy_teaches_by_its_levels_and_labels_new_rows(tmp_path):
    frame = table(160)
    strong = np.eye(4, 5)[frame["label"].map(CLASSES.index)]
    strong = strong + np.random.default_rng(0).normal(0, 0.3, strong.shape)
    data = load_dataset(frame, item="text", label="label", split="split", keep=["crowd"])
    off = dict.fromkeys(("forecast", "select", "groups"), False)
    run = audit(
        data,
        strong="tfidf:6",
        teachers={
            "own": Teacher(encoder="strong", l2=0.1, specialists="halves"),
            "crowd": Teacher(label="crowd"),
        },
        output=tmp_path / "run",
        gain={"methods": ["naive", "cosupervised"], "seeds": 1, "epochs": 2},
        report={"map": False},
        progress=False,
        **off,
    )
    methods = run.manifest["stages"]["gain"]["settings"]["methods"]
    assert "stages=(2, 2)" in methods["cosupervised"]
    gain = json.loads((run.path / "gain.json").read_text())
    assert gain["teacher_names"] == ["own", "crowd", "own/1of2", "own/2of2"]
    page = (run.path / "report.html").read_text()
    assert "own/1of2" in page
    new = pd.DataFrame({"text": frame["text"][:20]})
    applied = apply_student(Run.open(run.path), new, to=tmp_path / "new.csv")
    assert next(note for note in applied.notes if "abstains" in note).startswith(
        "teacher 'crowd' abstains on the new rows: column 'crowd' is not among"
    )
    own = applied.to_frame()
    assert own["weak_label"].notna().all()
    assert own["trust"].between(0, 1).all()
    with_crowd = apply_student(
        Run.open(run.path), new.assign(crowd=frame["crowd"][:20]), to=tmp_path / "all.csv"
    )
    assert not [note for note in with_crowd.notes if "abstains" in note]
