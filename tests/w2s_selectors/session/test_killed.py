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


KILLS = int(os.environ.get("W2S_TEST_KILLS", "20"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(("processes", "kills"), [(1, KILLS), (2, KILLS), (2, 0)])
def test_killed_at_random_moments(tmp_path: Path, processes: int, kills: int) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "selectors"), str(ROOT / "reports")])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    module = "tests.w2s_selectors.session.killed"
    command = [sys.executable, "-m", module, str(tmp_path), str(kills), "0", str(processes)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | threads | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300 + 2 * kills,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{kills} 0"
    n_committed = len(list((tmp_path / "checkpoint" / "rounds").glob("round-*.parquet")))
    resumed = select(tmp_path / "services", tmp_path / "checkpoint")
    whole = select(tmp_path / "undisturbed", None)
    if processes == 1:
        assert 0 < n_committed < len(whole.trace)
    pd.testing.assert_frame_equal(resumed.trace, whole.trace)
    np.testing.assert_array_equal(resumed.scores, whole.scores)
    assert resumed.ids == whole.ids
    assert len(set(resumed.chosen_ids)) == len(resumed.chosen_ids) == 900
    n_repeated = 0
    for name in ("fine", "noisy"):
        service = Service(tmp_path / "services" / name, name)
        undisturbed = Service(tmp_path / "undisturbed" / name, name)
        assert service.charged() == undisturbed.charged()
        items = [item for answer in service.charged() for item in answer]
        assert len(items) == len(set(items))
        assert set(items) == {item for item in resumed.chosen_ids if item.startswith(name)}
        n_repeated += len(service.asked()) - len(set(service.asked()))
    # Only a question that a kill left without an answer reaches a service again.
    assert n_repeated <= kills
    left = [path.name for path in (tmp_path / "checkpoint").rglob(".*") if path.name != ".lock"]
    assert left == []
