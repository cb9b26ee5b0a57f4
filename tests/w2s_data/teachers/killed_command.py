"""A program is asked for labels, and whoever asks is killed (kill -9) again and again.

    python -m tests.w2s_data.teachers.killed_command FOLDER KILLS SEED

A kill comes before a line of the asking code that a seed draws, so that the moments do not depend
on the speed of the machine. In a second series, questions in doubt are asked again; in a third,
several batches are asked at a time.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data import load_dataset
from w2s_data.teachers import asking, command, paid
from w2s_data.teachers.asking import Program
from w2s_data.teachers.command import Terms, label_by_asking
from w2s_data.utils.votes import votes

N = 60
BATCH, TOGETHER = 5, 3
TRACED = {module.__file__ for module in (asking, command, paid)}


def ask(folder: Path) -> Any:
    """Label all items, in the way that the folder is named after."""
    texts = [f"{'good' if i % 3 else 'bad'} {i}" for i in range(N)]
    data = load_dataset(pd.DataFrame({"text": texts}), class_names=["negative", "positive"])
    judge = Path(__file__).with_name("judge.py")
    words = [sys.executable, "-S", str(judge), str(folder / "log")]
    terms = Terms(
        batch_size=BATCH,
        ask_in_doubt=folder.name == "ask",
        backoff=0,
        concurrency=TOGETHER if folder.name == "together" else 1,
    )
    return label_by_asking(
        data, Program(shlex.join(words)), terms=terms, folder=folder, show_progress=False
    )


class Killer:
    """Counts the lines that run, and ends the process before one of them."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self, frame: Any, event: str, _argument: Any) -> Any:
        """Trace a function of the asking code."""
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self


def killed(folder: Path, last: int) -> bool:
    """Ask in a child that is killed before a line; return whether it came so far."""
    child = os.fork()
    if child == 0:
        killer = Killer(last)
        threading.settrace(killer)
        sys.settrace(killer)
        ask(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def disturbed(folder: Path, kills: int, rng: np.random.Generator) -> Any:
    """Kill who asks at random moments, and ask to the end; return what came of it."""
    folder.mkdir()
    # So early that many kills come before all items are answered.
    hits = sum(killed(folder, int(rng.integers(1, 1500))) for _ in range(kills))
    read = ask(folder)
    asked = [line.split(" ") for line in (folder / "log").read_text().splitlines()]
    return {
        "killed": hits,
        "asked": [int(name) for _, name in asked],
        "requests": [request for request, _ in asked],
        "in_doubt": read.summary["n_in_doubt"],
        "labels": votes(read.proba).tolist(),
    }


def main() -> None:
    """Print what was asked and the labels in the end, of each series."""
    folder, kills, rng = (
        Path(sys.argv[1]),
        int(sys.argv[2]),
        np.random.default_rng([int(sys.argv[3])]),
    )
    series = ("skip", "ask", "together")
    result = {name: disturbed(folder / name, kills, rng) for name in series}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
