"""A selection that is killed at random moments ends with the trace of one that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.w2s_selectors.pools import Service
from tests.w2s_selectors.session.killed import select

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_twenty_random_moments(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "selectors"), str(ROOT / "reports")])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "tests.w2s_selectors.session.killed", str(tmp_path), "20", "0"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | threads | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "20"
    n_committed = len(list((tmp_path / "checkpoint" / "rounds").glob("round-*.parquet")))
    resumed = select(tmp_path / "services", tmp_path / "checkpoint")
    whole = select(tmp_path / "undisturbed", None)
    assert 0 < n_committed < len(whole.trace)
    pd.testing.assert_frame_equal(resumed.trace, whole.trace)
    np.testing.assert_array_equal(resumed.scores, whole.scores)
    assert resumed.ids == whole.ids
    assert len(set(resumed.chosen_ids)) == len(resumed.chosen_ids) == 900
    for name in ("fine", "noisy"):
        charged = Service(tmp_path / "services" / name, name).charged()
        assert charged == Service(tmp_path / "undisturbed" / name, name).charged()
        items = [item for answer in charged for item in answer]
        assert len(items) == len(set(items))
        assert set(items) == {item for item in resumed.chosen_ids if item.startswith(name)}
