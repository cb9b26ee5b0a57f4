"""Whoever asks a program for labels may be killed at any moment."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.w2s_data.teachers.killed_command import BATCH, TOGETHER, N

TRUTH = [1 if i % 3 else 0 for i in range(N)]


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The outcomes of asking with many kills, in a process without threads."""
    folder = str(tmp_path_factory.mktemp("killed"))
    result = subprocess.run(
        [sys.executable, "-m", "tests.w2s_data.teachers.killed_command", folder, "12", "0"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(("series", "at_a_time"), [("skip", 1), ("together", TOGETHER)])
def test_no_item_is_asked_twice_however_often_the_caller_is_killed(found, series, at_a_time):
    skipped = found[series]
    assert skipped["killed"] >= 6
    assert max(Counter(skipped["asked"]).values()) == 1
    labels = skipped["labels"]
    assert all(own in (-1, true) for own, true in zip(labels, TRUTH, strict=True))
    assert labels.count(-1) == skipped["in_doubt"] <= at_a_time * BATCH * skipped["killed"]


def test_questions_in_doubt_are_asked_again_with_the_same_request(found):
    asked = found["ask"]
    assert asked["killed"] >= 6
    assert asked["labels"] == TRUTH
    assert asked["in_doubt"] == 0
    # Who answers a request from memory is paid once for each item.
    assert len({*asked["requests"]}) == N
    assert len({*zip(asked["requests"], asked["asked"], strict=True)}) == N
