"""A fine-tuning that is killed ends with the weights of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("W2S_TEST_KILLS", "1"))  # several are also done in turn, see `killed.py`


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(300 + 60 * KILLS)
def test_killed_trainings_end_with_the_same_weights():
    path = os.pathsep.join([str(ROOT), str(ROOT / "selectors"), str(ROOT / "reports")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.w2s_data.killed", str(KILLS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["files that differ"] == []
    assert result["killed"] >= KILLS
    assert result["weights"] > 0
