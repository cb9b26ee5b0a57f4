"""Teachers that answer, follow rules or are asked, from their tables to the files of a run."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.data.weak import proba_of
from w2s_data.errors import InputError
from w2s_data.stages.teacher_settings import TeachSettings, parse_teacher, read_teacher
from w2s_data.stages.teaching import teach_stage
from w2s_data.utils.stage import WEAK_PROBA
from w2s_data.utils.votes import votes

CLASSES = ("negative", "positive")
COMPUTE = Compute(device="cpu", progress=False)
TEXTS = ["good one", "bad one", "good two", "dull", "fine", "good three"]
REPLIES = ["Pos.", "neg", "pos", "?", None, "neg"]
JUDGE = """
import json, sys
for line in sys.stdin:
    open({log!r}, "a").write(line)
    asked = json.loads(line)
    label = "positive" if "good" in asked["item"] else "It is negative"
    print(json.dumps({{"id": asked["id"], "label": label}}))
"""


@pytest.fixture
def run(tmp_path):
    """A run of six texts, two of them labelled."""
    table = pd.DataFrame(
        {
            "text": TEXTS,
            "label": ["positive", "negative", *[None] * 4],
            "split": ["labelled"] * 2 + ["pool"] * 4,
            "reply": REPLIES,
        }
    )
    data = load_dataset(table, label="label", split="split", class_names=CLASSES, keep=["reply"])
    made = Run.create(tmp_path / "run", data)
    made.extra = data.extra
    return made


def taught(run, teachers):
    """The summary of each teacher, and the votes of all."""
    summary = teach_stage(run, TeachSettings(teacher=teachers), COMPUTE).summary
    stacked = proba_of(run.read_table(WEAK_PROBA, per_item=True), CLASSES)
    return {one["name"]: one for one in summary["teachers"]}, votes(stacked).T.tolist()


def test_all_kinds_label_the_items_of_a_run(run, tmp_path):
    (tmp_path / "rules.py").write_text(
        "def label(text): return 'negative' if 'dull' in text else None", encoding="utf-8"
    )
    log = tmp_path / "log"
    (tmp_path / "judge.py").write_text(JUDGE.format(log=str(log)), encoding="utf-8")
    teachers = {
        "llm": {"answers": "reply", "map": {"(?i)^pos": "positive", "(?i)^neg": "negative"}},
        "words": {"rules": {"positive": ["good"], "negative": ["bad", "/^d/"]}},
        "own": {"rules": "rules.py:label"},
        "judge": {"command": f"{shlex.quote(sys.executable)} judge.py", "price": 0.5},
    }
    read = {name: read_teacher(name, table, tmp_path) for name, table in teachers.items()}
    records, own = taught(run, read)
    assert own == [
        *([1, 0, 1, -1, -1, 0], [1, 0, 1, 0, -1, 1]),
        *([-1, -1, -1, 0, -1, -1], [1, 0, 1, 0, 0, 1]),
    ]
    assert records["llm"]["summary"]["n_unmatched"] == 1
    assert records["words"]["summary"]["rules"][0]["n_gold"] == 1
    assert records["judge"]["summary"]["spent"] == 3.0
    assert records["judge"]["settings"]["command"] == f"{Path(sys.executable).name} judge.py"
    # A change of one keeps the others, and nothing is asked again.
    read["llm"] = read_teacher("llm", {"answers": "reply", "map": {"(?i)^pos": "positive"}})
    _, changed = taught(run, read)
    assert changed == [[1, -1, 1, -1, -1, -1], *own[1:]]
    read["judge"] = read["judge"].model_copy(
        update={"map": {"good|pos": "positive", "neg": "negative"}}
    )
    assert taught(run, read)[1][3] == own[3]
    assert len(log.read_text().splitlines()) == 6


def test_changed_file_of_rules_is_read_again(run, tmp_path):
    for answer in CLASSES:
        (tmp_path / "rules.py").write_text(f"def label(text): return '{answer}'", encoding="utf-8")
        teacher = read_teacher("own", {"rules": "rules.py:label"}, tmp_path)
        assert taught(run, {"own": teacher})[1] == [[CLASSES.index(answer)] * 6]


def test_functions_of_python_are_rules(run):
    def length(text):
        return CLASSES[len(text) > 5]

    assert taught(run, {"length": {"rules": length}})[1] == [[1, 1, 1, 0, 0, 1]]
    # The run keeps what it labelled, and notices another function of the same name.
    kept = teach_stage(run, None, COMPUTE).summary["teachers"][0]
    assert kept["settings"]["rules"].startswith("tests.w2s_data.stages.test_labellers:")
    for limit, expected in ((7, [1, 0, 1, 0, 0, 1]), (8, [0, 0, 0, 0, 0, 1])):
        code = f"lambda text: {CLASSES!r}[len(text) > {limit}]"
        assert taught(run, {"length": {"rules": eval(code)}})[1] == [expected]


def test_rules_are_written_in_a_shell():
    text = 'words=rules:{positive=["good","/a{2,}/"],negative=["bad"]}'
    rules = {"positive": ["good", "/a{2,}/"], "negative": ["bad"]}
    assert parse_teacher(text) == ("words", {"rules": rules})
    assert parse_teacher("own=rules:rules.py:label") == ("own", {"rules": "rules.py:label"})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"answers": "reply", "map": {"(": "positive"}},
            r"'t': map: the pattern '\(' is not a reg",
        ),
        ({"answers": "reply", "map": {"a": "good"}}, r"'t': map gives 'a' the class 'good'"),
        ({"answers": "reply"}, r"'t': column 'reply': none of 5 answers fits a class"),
        ({"answers": "nothing"}, r"'t': column 'nothing' is not "),
        ({"rules": "rules.py:label"}, r"'t': file 'rules.py' not found"),
        ({"rules": {"positive": ["zzz"]}}, r"'t': none of 1 rules \('zzz'\) votes on any"),
        ({"command": "no-such-program"}, r"'t': .* there is no program 'no-such-program'"),
        ({"url": "ftp://host"}, r"'t': url must begin with http"),
        ({"url": "http://host", "headers": {"api-key": "x"}}, r"'t': header 'api-key' holds a sec"),
        ({"command": "true", "budget": 1.0}, r"'t': budget requires price"),
        ({"command": "false"}, r"'t': command 'false' failed with exit code 1"),
        ({"finetune": "no/such/model"}, r"'t': .*no/such/model"),
        (
            {"finetune": "x", "tuning": "full", "rank": 2},
            r"'t': rank is a setting of tuning 'lora'",
        ),
    ],
)
def test_teachers_that_cannot_label_are_one_line(run, table, message):
    settings = {**table, "retries": 0} if "command" in table else table
    with pytest.raises(InputError, match=message) as refused:
        taught(run, {"t": settings})
    assert "\n" not in str(refused.value)


def test_program_runs_only_when_its_teacher_is_taught(run, tmp_path):
    mark = tmp_path / "mark"
    teacher = read_teacher("t", {"command": f"touch {mark}"}, tmp_path)
    teacher.check(run.dataset())
    assert not mark.exists()


def test_secrets_are_not_recorded(run, monkeypatch):
    monkeypatch.setenv("KEY_OF_A_TEST", "value-that-nobody-may-see")
    table = {
        "url": "http://127.0.0.1:9/",
        "headers": {"Authorization": "Bearer env:KEY_OF_A_TEST"},
        "retries": 0,
    }
    with pytest.raises(InputError, match="cannot be reached"):
        taught(run, {"t": table})
    taught(run, {"llm": {"answers": "reply", "map": {"(?i)pos": "positive"}}})
    written = b"".join(path.read_bytes() for path in run.path.rglob("*") if path.is_file())
    assert b"value-that-nobody-may-see" not in written


def test_models_of_teachers_that_were_changed_are_deleted(run):
    old = run.path / "teachers" / "finetuned-0123456789abcdef" / "model"
    old.mkdir(parents=True)
    taught(run, {"words": {"rules": {"positive": ["good"]}}})
    assert not old.parent.exists()


def test_labels_agree_with_the_files_of_each_teacher(run):
    taught(run, {"words": {"rules": {"positive": ["good"]}}})
    table = pd.read_parquet(run.path / "teachers" / "words.parquet")
    assert np.allclose(table["words / positive"], [1, 0.5, 1, 0.5, 0.5, 1])
