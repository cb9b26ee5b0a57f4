"""Several processes train one student, as `accelerate launch` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.w2s_data.finetune.test_adapters import reviews
from tests.w2s_data.finetune.tiny import save_tiny_model
from w2s_data.finetune.levels.saved import load_whole

ROOT = Path(__file__).parents[3]
PLACES = ("alone", "together", "divided")


def run(folder, method):
    """Results of each process, by the folder that they train in."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "selectors"), str(ROOT / "reports")])
    done = subprocess.run(
        [sys.executable, "-m", "tests.w2s_data.finetune.together", str(folder), method],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {
        place: [dict(np.load(file)) for file in sorted((folder / place).glob("*.npz"))]
        for place in PLACES
    }


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_train_and_measure_as_one(tmp_path):
    method = "raven"  # which learns weights of its own, by gradients that are summed too
    save_tiny_model(tmp_path / "tiny", n_layers=2)
    results = run(tmp_path, method)
    (alone,), together = results["alone"], [*results["together"], *results["divided"]]
    # FSDP leaves each process half of every weight.
    assert [int(own["held"] / alone["held"] * 100) for own in together] == [100, 100, 50, 50]
    for own in together:
        for name in ("proba", "loss", "weights", "measured"):
            # Adam turns the rounding of a gradient that is 0 into steps of full size.
            np.testing.assert_allclose(own[name], alone[name], atol=2e-3)
        np.testing.assert_allclose(own["loss"][0], alone["loss"][0], atol=1e-4)
    assert np.ptp(alone["proba"][0, :, 0]) > 0.02  # it has learned something
    assert np.ptp(alone["weights"]) > 1e-3
    # The first process measures, and the second has received its result.
    np.testing.assert_array_equal(together[0]["measured"], together[1]["measured"])
    assert np.ptp(alone["measured"][:, 0]) > 0.01
    for place in PLACES:
        assert len(list((tmp_path / place / "checkpoint").rglob("*.safetensors"))) == 1
        assert len(list((tmp_path / place / "measured").glob("*.safetensors"))) == 5
        # Whole weights in the folder of one process, whichever had them.
        model, _ = load_whole(tmp_path / place / "saved")
        proba = model.proba(reviews(np.random.default_rng(0), 75)[0])
        np.testing.assert_allclose(proba, alone["proba"], atol=2e-3)
