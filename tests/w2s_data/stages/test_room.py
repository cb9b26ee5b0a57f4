"""Limits on memory: commands keep within them, or say first how much they need."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from w2s_data import load_dataset
from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.errors import InputError
from w2s_data.run import Run
from w2s_data.stages import embed_stage, score_stage
from w2s_data.stages.graph import GAIN, GROUPS, SCORE
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.room import check_room

LIMIT = 600 * 10**6
SLACK = 1.05  # a limit is kept up to what the libraries take on another machine
# The peak of the new process alone, which the system's own accounting mixes with its parent's.
BOOT = """
import pathlib
from w2s_data.cli import main
try:
    main()
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print("peak", 1024 * int(status.partition("VmHWM:")[2].split()[0]))
"""


def table(n):
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=n)
    sure = np.where(rng.random(n) < 0.5, rng.beta(4, 4, n), rng.beta(8, 1.5, n))
    positive = np.where(label == 1, sure, 1 - sure)
    return pd.DataFrame(
        {
            "text": [f"a sentence of usual length, number {i}" for i in range(n)],
            "label": label,
            "split": rng.choice(["labelled", "pool", "test"], n, p=[0.1, 0.8, 0.1]),
            "source": rng.choice(["web", "crowd", "books"], n),
            "p0": 1 - positive,
            "p1": positive,
        }
    )


def vectors(folder, labels, d_strong=128, d_weak=32):
    rng = np.random.default_rng(1)
    for name, columns in (("strong", d_strong), ("weak", d_weak)):
        features = rng.normal(size=(len(labels), columns)).astype(np.float32)
        features[:, 0] += 2 * labels + 3
        np.save(folder / f"{name}.npy", features)


def peak(*words):
    ended = subprocess.run(
        [sys.executable, "-c", BOOT, "--quiet", *map(str, words)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak from /proc")
def test_commands_keep_within_their_limit(tmp_path):
    data = table(60_000)
    data.to_parquet(tmp_path / "items.parquet")
    vectors(tmp_path, data["label"].to_numpy())
    roles = ["--item", "text", "--label", "label", "--split", "split", "--source", "source"]
    roles += ["--weak-columns", "p0,p1", "--strong-features", tmp_path / "strong.npy"]
    roles += ["--weak-features", tmp_path / "weak.npy"]
    run, memory = tmp_path / "run", ["--memory", LIMIT]
    commands = {
        "score": [tmp_path / "items.parquet", *roles, "-o", run],
        "forecast": [run],
        "select": [run],
        "groups": [run],
    }
    shares = {name: peak(name, *words, *memory) / LIMIT for name, words in commands.items()}
    few = ["--methods", "naive,crossfit", "--seeds", 2, "--epochs", 1]
    # torch's optimizers alone take what a limit of 600 MB leaves.
    shares["gain"] = peak("gain", run, *few, "--memory", 1.2 * LIMIT) / (1.2 * LIMIT)
    assert {name: share for name, share in shares.items() if share > SLACK} == {}


def test_a_limit_that_cannot_be_kept_is_refused_with_what_is_needed():
    dataset = load_dataset(table(2000), item="text", label="label", weak_columns=["p0", "p1"])
    assert check_room(SCORE, dataset, MemoryLimit(LIMIT)) > 0
    with pytest.raises(
        InputError, match=r"gain of 2,000 items needs about 572 MB.* set memory to 601MB or more"
    ):
        check_room(GAIN, dataset, MemoryLimit(520 * 10**6))


def test_room_counts_items_classes_texts_and_features():
    data = table(2000)
    few = load_dataset(data, item="text", label="label")
    long = load_dataset(data.assign(text=data["text"] * 50), item="text", label="label")
    limit = MemoryLimit(LIMIT)
    assert check_room(GROUPS, few, limit) - check_room(GROUPS, few, limit, 128) == 128 * 2000
    texts = 49 * data["text"].str.len().sum()
    assert check_room(SCORE, few, limit) - check_room(SCORE, long, limit) == pytest.approx(
        texts, rel=0.01
    )
    many = load_dataset(data.assign(label=np.arange(2000) % 20), item="text", label="label")
    assert check_room(SCORE, few, limit) > check_room(SCORE, many, limit)


def test_a_stage_refuses_before_it_begins(tmp_path):
    data = table(400)
    vectors(tmp_path, data["label"].to_numpy(), 8, 4)
    roles = {"label": "label", "split": "split", "source": "source"}
    dataset = load_dataset(data, item="text", weak_columns=["p0", "p1"], **roles)
    run = Run.create(tmp_path / "run", dataset)
    small = Compute(device="cpu", memory=MemoryLimit(400 * 10**6))
    embed_stage(run, EmbedSettings(strong_features=tmp_path / "strong.npy"), small)
    with pytest.raises(InputError, match="score of 400 items needs about 450 MB"):
        score_stage(run, None, small)
    assert "score" not in run.manifest["stages"]
