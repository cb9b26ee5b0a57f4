"""A measurement of fine-tuned students that is killed (kill -9) at random moments and repeated.

    python -m tests.w2s_data.killed KILLS [SEED]

Each kill has a copy of the run for itself, and one run takes several in turn; every run must
then have the same weights, tables and results as one that nothing disturbed.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.w2s_data.disturbed import MODELS, start, warm_up, write_data
from tests.w2s_data.finetune.tiny import save_tiny_model

EMBED = ("embed", "data.csv", "--label", "label", "--source", "site", "-o", "run", *MODELS)
GAIN = (
    *("gain", "run", "--tuning", "full", "--model", "tiny", "--methods", "naive,stacked"),
    *("--seeds", "1", "--epochs", "4", "--no-controls"),
    *("--save-every", "7"),  # steps; the usual minutes are longer than these trainings
)
KEPT = (".safetensors", ".parquet", ".json")


def finish(folder: Path, words: Sequence[str]) -> None:
    """Run a command to its end."""
    child = start(folder, words)
    if child.wait():
        raise RuntimeError(f"{words[0]} failed: {child.text()}")


def kill_after(folder: Path, seconds: float) -> bool:
    """Start the measurement and kill it after some seconds; return whether it was still running."""
    child = start(folder, GAIN)
    time.sleep(seconds)
    os.kill(child.pid, signal.SIGKILL)
    code = child.wait()
    if code > 0:
        raise RuntimeError(f"gain failed: {child.text()}")
    return code == -signal.SIGKILL


def files(run: Path) -> dict[str, bytes]:
    """Content of the files with weights, tables and results; the manifest has times of day."""
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.suffix in KEPT and path.name != "manifest.json"
    }


def disturbed(bench: Path, moments: Sequence[float]) -> tuple[int, dict[str, bytes]]:
    """Kill a measurement at some moments and finish it; return the kills and the run's files."""
    # Always the same folder: the path of the model is part of a student.
    shutil.rmtree(bench / "work", ignore_errors=True)
    shutil.copytree(bench / "start", bench / "work")
    hit = sum([kill_after(bench / "work", moment) for moment in moments])
    finish(bench / "work", GAIN)
    return hit, files(bench / "work" / "run")


def main() -> None:
    """Print how often a training was killed, and how many files then differed."""
    kills, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    warm_up()
    for module in ("accelerate", "transformers.models.bert.modeling_bert"):
        importlib.import_module(module)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        bench = Path(folder)
        (bench / "start").mkdir()
        write_data(bench / "start")
        save_tiny_model(bench / "start" / "tiny", n_layers=2)
        finish(bench / "start", EMBED)
        finish(bench / "start", ("score", "run"))
        started = time.monotonic()
        _, wanted = disturbed(bench, [])
        seconds = time.monotonic() - started
        moments = rng.uniform(0, seconds, size=kills).tolist()
        moments[0] /= 2  # a machine that is free again may end before a later moment
        plans = [[moment] for moment in moments]
        if kills > 1:
            plans.append(moments)
        runs = [disturbed(bench, plan) for plan in plans]
    result = {
        "seconds": round(seconds, 1),
        "weights": sum(name.endswith(".safetensors") for name in wanted),
        "killed": sum(hit for hit, _ in runs),
        "files that differ": sorted(
            {
                name
                for _, own in runs
                for name in own.keys() | wanted.keys()
                if own.get(name) != wanted.get(name)
            }
        ),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
