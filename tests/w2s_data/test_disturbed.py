"""Nothing is lost where commands are killed, or run at the same time on one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# All stages and signals take 100 kills, all pairs 50; see the head of `disturbed.py`.
KILLS = int(os.environ.get("W2S_TEST_KILLS", "3"))
PAIRS = int(os.environ.get("W2S_TEST_PAIRS", "2"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(300 + 60 * (KILLS + PAIRS))
def test_kills_and_commands_at_the_same_time():
    path = os.pathsep.join([str(ROOT), str(ROOT / "selectors"), str(ROOT / "reports")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.w2s_data.disturbed", str(KILLS), str(PAIRS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["faults of kills"] == result["faults of pairs"] == []
    assert sum(result["killed"].values()) == KILLS
    assert sum(result["together"].values()) == PAIRS
