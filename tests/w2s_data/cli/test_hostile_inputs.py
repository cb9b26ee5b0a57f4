"""Hundreds of inputs that nobody should give: an exit code, one line, and no other numbers.

W2S_HOSTILE_INPUTS sets how many are tried, W2S_HOSTILE_FIRST the number of the first.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.w2s_data.cli.hostile import clean_commands, make_case
from w2s_data.utils.io import read_json

COUNT = int(os.environ.get("W2S_HOSTILE_INPUTS", "20"))
FIRST = int(os.environ.get("W2S_HOSTILE_FIRST", "0"))
SECONDS = 300  # of one command, on a machine that others use too
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


class HangError(BaseException):
    """A command that took too long; no handler of the program catches it."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of the clean data: `scored`, and `whole` with all stages."""
    from w2s_data.cli import main

    folder = tmp_path_factory.mktemp("clean")
    for arguments in clean_commands(folder):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    for page in folder.glob("*/report.html"):  # large, and made again by every command
        page.unlink()
    return folder


@pytest.mark.parametrize("number", range(FIRST, FIRST + COUNT))
def test_hostile_input(w2s: Any, clean: Path, tmp_path: Path, number: int) -> None:
    case = make_case(number, tmp_path, clean / "whole")
    begun = time.monotonic()

    def late(*_: Any) -> None:
        raise HangError(f"{case.arguments} takes longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        code, out, err = w2s(*case.arguments)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    told = f"case {number} ({time.monotonic() - begun:.1f} s): {case.arguments!a}\n{err}"
    assert code in (0, 1, 2), told
    assert "Traceback" not in err, told
    assert CONTROL.search(out + err) is None, told
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == (code == 2), told
    if code == 2:
        assert err.splitlines()[-1] == errors[0], told
    if case.same is not None:
        assert code == 0, told
        same_numbers(case.same, clean / "scored", told)
    shutil.rmtree(tmp_path / "run", ignore_errors=True)


def same_numbers(run: Path, clean: Path, told: str) -> None:
    here, there = (read_json(folder / "overlap.json") for folder in (run, clean))
    for name in ("density", "weak_accuracy", "n_scored"):
        assert here.get(name) == there.get(name), f"{name}: {told}"
    here, there = (pd.read_parquet(folder / "scores.parquet") for folder in (run, clean))
    assert here["id"].tolist() == there["id"].tolist(), told
    assert here["region"].tolist() == there["region"].tolist(), told
    np.testing.assert_array_equal(here["confidence"], there["confidence"], told)
    weak = [(t["weak_correct"].astype(str)).tolist() for t in (here, there)]
    assert weak[0] == weak[1], told
