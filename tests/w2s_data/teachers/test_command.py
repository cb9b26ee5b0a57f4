"""Programs that are asked for labels."""

import shlex
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.errors import FileFormatError, InputError
from w2s_data.teachers.asking import Program
from w2s_data.teachers.command import Terms, label_by_asking
from w2s_data.utils.votes import votes

JUDGE = Path(__file__).with_name("judge.py")
TEXTS = ["good", "bad", "good one", "worse", "so good", "dull"]
ANSWERS = [1, 0, 1, 0, 1, 0]
QUICK = Terms(retries=0, backoff=0)


@pytest.fixture
def dataset():
    table = pd.DataFrame({"text": TEXTS, "label": ["negative", "positive", *[None] * 4]})
    return load_dataset(table, label="label", split_sizes={"labelled": 2})


@pytest.fixture
def judge(tmp_path):
    """A program with a fault, and the questions that it was asked."""

    def made(fault="", timeout=60.0):
        words = [sys.executable, "-S", str(JUDGE), str(tmp_path / "log"), *([fault] * bool(fault))]
        return Program(shlex.join(words), timeout)

    def asked():
        log = tmp_path / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [tuple(line.split(" ", 1)) for line in lines]

    made.asked = asked
    return made


def test_items_are_asked_in_batches_and_answers_found_by_id(dataset, judge):
    read = label_by_asking(dataset, judge(), terms=Terms(batch_size=4, price=0.5))
    assert votes(read.proba).tolist() == ANSWERS
    assert len(judge.asked()) == 6
    assert read.summary["n_answered"] == 6
    assert read.summary["spent"] == 3.0
    assert read.notes == ()


def test_nothing_is_asked_twice(dataset, judge, tmp_path):
    first = label_by_asking(dataset, judge(), folder=tmp_path)
    again = label_by_asking(dataset, judge(), folder=tmp_path, map={"(?i)POS": "positive"})
    assert len(judge.asked()) == 6
    assert again.summary["n_from_earlier"] == 6
    assert votes(again.proba)[first.proba[:, 1] == 1].tolist() == [1, 1, 1]
    other = label_by_asking(dataset, judge(), folder=tmp_path, terms=Terms(version="2"))
    assert len(judge.asked()) == 12
    assert (other.proba == first.proba).all()


def test_batches_asked_together_give_the_same_labels(dataset, judge, tmp_path):
    terms = Terms(batch_size=1, concurrency=3, price=0.5, budget=2.5)
    read = label_by_asking(dataset, judge(), terms=terms, folder=tmp_path)
    assert sorted(name for _, name in judge.asked()) == [*map(str, range(5))]
    assert votes(read.proba).tolist() == [*ANSWERS[:5], -1]
    assert read.summary["spent"] == 2.5


def test_after_a_failure_no_further_batch_is_asked_and_answers_are_kept(dataset, judge, tmp_path):
    terms = Terms(batch_size=3, concurrency=2, retries=0)
    with pytest.raises(InputError, match="answers are kept"):
        label_by_asking(dataset, judge("fails"), terms=terms, folder=tmp_path)
    before = len(judge.asked())
    read = label_by_asking(dataset, judge(), terms=terms, folder=tmp_path)
    assert votes(read.proba).tolist() == ANSWERS
    assert len(judge.asked()) == before + 6 - read.summary["n_from_earlier"]


def test_equal_items_are_asked_once(judge):
    data = load_dataset(
        pd.DataFrame({"text": ["good"] * 5 + ["bad"]}), class_names=["negative", "positive"]
    )
    read = label_by_asking(data, judge())
    assert votes(read.proba).tolist() == [1] * 5 + [0]
    assert len(judge.asked()) == 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("proba", [[0.1, 0.9]] * 6),
        ("confident", [[0.25, 0.75], [0.75, 0.25]] * 3),
        ("chatty", [[0, 1], [1, 0]] * 3),
        ("silent", [[0, 1], *[[0.5, 0.5]] * 5]),
    ],
)
def test_answers_of_all_forms_are_read(judge, fault, expected):
    data = load_dataset(pd.DataFrame({"text": TEXTS}), class_names=["negative", "positive"])
    assert np.allclose(label_by_asking(data, judge(fault)).proba, expected)


@pytest.mark.parametrize(
    ("fault", "message", "kept"),
    [
        ("fails", r"failed with exit code 1: judge: out of quota", 2),
        ("few", r"answered 5 of 6 questions; no answer has the id '\d'", 5),
        ("ids", r"answered id 'other', which was not asked; the first id that was is '\d'", 2),
        ("text", r"wrote a line that is not JSON: 'Loading the model'; write an answer per", 2),
        ("numbers", r"proba of id '\d' must sum to 1", 0),
    ],
)
def test_command_that_goes_wrong_is_one_line_and_keeps_its_answers(
    dataset, judge, tmp_path, fault, message, kept
):
    with pytest.raises(InputError, match=message) as refused:
        label_by_asking(dataset, judge(fault), folder=tmp_path, terms=QUICK)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(f"{kept} answers are kept, and asking goes on after them")
    paid = [name for _, name in judge.asked()[:kept]]
    n_asked = len(judge.asked())
    with suppress(InputError):
        label_by_asking(dataset, judge(fault), folder=tmp_path, terms=QUICK)
    again = [name for _, name in judge.asked()[n_asked:]]
    assert again
    assert fault == "few" or not {*again} & {*paid}


def test_command_that_hangs_is_stopped_and_keeps_its_answers(dataset, judge, tmp_path):
    two = Terms(price=1, budget=2)
    label_by_asking(dataset, judge("hangs"), folder=tmp_path, terms=two)
    # It hangs from its first answer on, or has not even started: both are silence.
    program = judge("hangs", timeout=0.2)
    with pytest.raises(InputError, match=r"wrote nothing for 0.2 s; pass .*; 2 answers are kept"):
        label_by_asking(dataset, program, folder=tmp_path, terms=QUICK)


def test_failed_attempt_is_made_again_with_the_same_requests(dataset, judge):
    read = label_by_asking(dataset, judge("once"), terms=Terms(retries=1, backoff=0))
    assert votes(read.proba).tolist() == ANSWERS
    asked = judge.asked()
    assert len(asked) == 7
    assert asked[0] == asked[1]


def test_budget_is_spent_on_gold_rows_and_the_pool_first(judge, tmp_path):
    table = pd.DataFrame(
        {
            "text": TEXTS,
            "label": ["negative", "positive", None, None, "negative", "positive"],
            "split": ["test", "test", "pool", "pool", "labelled", "labelled"],
        }
    )
    data = load_dataset(table, label="label", split="split")
    terms = Terms(batch_size=1, price=0.1, budget=0.3)
    read = label_by_asking(data, judge(), folder=tmp_path, terms=terms)
    assert votes(read.proba).tolist() == [-1, -1, 1, -1, 1, 0]
    assert read.notes == (
        "3 items abstain, since the budget of 0.3 was spent before they were asked",
    )
    again = label_by_asking(data, judge(), folder=tmp_path, terms=terms)
    assert len(judge.asked()) == 3
    assert again.summary["spent"] == pytest.approx(0.3)


def test_changed_program_keeps_its_answers_and_says_so(dataset, tmp_path):
    script = tmp_path / "own.py"
    script.write_text(JUDGE.read_text())
    program = Program(shlex.join([sys.executable, "-S", str(script), str(tmp_path / "log")]))
    label_by_asking(dataset, program, folder=tmp_path / "kept")
    script.write_text(JUDGE.read_text() + "# better\n")
    read = label_by_asking(dataset, program, folder=tmp_path / "kept")
    assert read.notes[0].startswith("6 answers are from before 'own.py' changed; pass another")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program-here", "cannot be started: No such file or directory"),
        ("'", "cannot be read: No closing quotation"),
        (" ", "command is empty"),
        ("true", r"answered 0 of 6 questions; no answer has the id .* and 3 more"),
    ],
)
def test_command_that_cannot_be_run_is_refused(dataset, command, message):
    with pytest.raises(InputError, match=message):
        label_by_asking(dataset, Program(command), terms=QUICK)


def test_damaged_file_of_answers_is_refused_and_a_torn_line_is_not_read(dataset, judge, tmp_path):
    label_by_asking(dataset, judge(), folder=tmp_path)
    (path,) = tmp_path.glob("answers-*.jsonl")
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    torn = label_by_asking(dataset, judge(), folder=tmp_path)
    assert torn.summary["n_in_doubt"] + torn.summary["n_answered"] == 6
    path.write_bytes(b"{\n" + content)
    with pytest.raises(FileFormatError, match="its answers were paid for: repair the file"):
        label_by_asking(dataset, judge(), folder=tmp_path)


def test_what_a_program_leaves_running_is_not_waited_for(dataset, tmp_path):
    script = tmp_path / "leaves.py"
    script.write_text(
        "import subprocess, sys\n"
        'print(\'{"id": "0", "label": "positive"}\', flush=True)\n'
        "subprocess.Popen(['sleep', '9'], start_new_session=True)\n"
        "sys.exit('gone')\n"
    )
    program = Program(shlex.join([sys.executable, "-S", str(script)]), timeout=0.5)
    with pytest.raises(InputError, match=r"wrote nothing for 0.5 s"):
        label_by_asking(dataset, program, terms=QUICK)
