"""Measuring the gain of heads: four methods, five seeds and their controls on 20,000 x 384.

Run ``python benchmarks/speed/gain.py``; it prints a Markdown table against a plain numpy loop over
as many heads. ``--before FOLDER`` compares with another checkout of the package instead, each in a
process of its own and in turn, and prints wall clock and CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import D, Row, compared, interleaved, table

METHODS = ("naive", "confidence", "crossfit", "stacked")
# Two references, then by method: 1, 1, 5 folds and 4 students, 2.
TRAININGS = 15
N, LABELLED, TEST, SEEDS, BATCH, EPOCHS = 20_000, 1_000, 2_000, 5, 128, 20
ROUNDS = 5


def task(n: int) -> dict[str, np.ndarray]:
    """Arguments of `measure_gain`: features that correlate, two classes, and a noisy teacher."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    rows = n + LABELLED + TEST
    features = (rng.normal(size=(rows, D)) * np.logspace(0, -1.5, D)) @ rotation
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    direction = rng.normal(size=(D, 2))
    logits = scaled @ direction / 5
    weak = scaled @ (direction + rng.normal(size=(D, 2))) / 10
    proba = np.exp(weak - weak.max(axis=1, keepdims=True))
    return {
        "features": features.astype(np.float32),
        "weak_proba": proba / proba.sum(axis=1, keepdims=True),
        "labels": (logits + rng.gumbel(size=logits.shape)).argmax(axis=1),
        "splits": np.repeat(["pool", "labelled", "test"], [n, LABELLED, TEST]),
    }


def measured(given: dict[str, np.ndarray]) -> object:
    """Measure the gain."""
    from w2s_data.finetune import measure_gain

    return measure_gain(**given, methods=METHODS, seeds=SEEDS, device="cpu", progress=False)


def plain_loop(given: dict[str, np.ndarray]) -> np.ndarray:
    """Train as many heads one after another, by Adam on batches, in numpy."""
    pool = given["splits"] == "pool"
    rows = given["features"][pool]
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    labels = given["weak_proba"][pool].astype(np.float32)
    n = len(rows)
    for seed in range(TRAININGS * SEEDS):
        rng = np.random.default_rng(seed)
        weights, intercept = np.zeros((D, 2), np.float32), np.zeros(2, np.float32)
        state = [np.zeros_like(each) for each in (weights, weights, intercept, intercept)]
        step, n_steps = 0, EPOCHS * -(-n // BATCH)
        for _ in range(EPOCHS):
            order = rng.permutation(n)
            for start in range(0, n, BATCH):
                own = order[start : start + BATCH]
                x, y = rows[own], labels[own]
                proba = np.exp(x @ weights + intercept)
                residual = (proba / proba.sum(axis=1, keepdims=True) - y) / len(own)
                gradients = x.T @ residual + 1e-3 * weights, residual.sum(axis=0)
                rate = 1e-3 * (1 + np.cos(np.pi * step / n_steps)) / 2
                step += 1
                for k, (value, slope) in enumerate(
                    zip((weights, intercept), gradients, strict=True)
                ):
                    first, second = state[2 * k], state[2 * k + 1]
                    first += 0.1 * (slope - first)
                    second += 0.001 * (slope**2 - second)
                    size = np.sqrt(second / (1 - 0.999**step)) + 1e-8
                    value -= rate * first / (1 - 0.9**step) / size
    return weights


def against_numpy(quick: bool = False) -> list[Row]:
    """The gain against a plain loop over the same number of heads."""
    n = 2_000 if quick else N
    given = task(n)
    measured(task(200))  # imports
    calls = {"ours": partial(measured, given), "theirs": partial(plain_loop, given)}
    times = interleaved(calls, 1 if quick else ROUNDS, warm_up=False)
    what = f"gain, {len(METHODS)} methods, {SEEDS} seeds, {n:,} x {D}"
    return [compared(what, times["ours"], f"numpy, {TRAININGS * SEEDS} heads", times["theirs"])]


def one_turn(folder: Path, n: int) -> tuple[float, float]:
    """Seconds and CPU seconds of a gain by the package in a folder, in a process of its own."""
    code = (
        "import sys, time; from gain import measured, task; measured(task(200)); given = task("
        f"{n}); t, c = time.perf_counter(), time.process_time(); measured(given); "
        "print(time.perf_counter() - t, time.process_time() - c)"
    )
    paths = os.pathsep.join(map(str, (folder, Path(__file__).parent)))
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,  # where python -c looks first
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, cpu = map(float, run.stdout.split()[-2:])
    return wall, cpu


def against_before(before: Path, n: int, rounds: int) -> None:
    """Print the times of this checkout and of another one, in turn, and their ratios."""
    here = Path(__file__).parents[2]
    turns = [(one_turn(here, n), one_turn(before, n)) for _ in range(rounds)]
    for place, kind in enumerate(("seconds", "CPU seconds")):
        now, then = ([turn[which][place] for turn in turns] for which in (0, 1))
        ratio = statistics.median(a / b for a, b in zip(now, then, strict=True))
        print(
            f"{kind}: {statistics.median(now):.1f} here, {statistics.median(then):.1f} before; "
            f"median ratio {ratio:.3f}",
            flush=True,
        )


def main() -> None:
    """Print the comparison that was asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--before", type=Path, help="folder of another checkout")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("-n", type=int, default=N, help="rows of the pool")
    options.add_argument("--quick", action="store_true")
    arguments = options.parse_args()
    if arguments.before is None:
        print(table(against_numpy(arguments.quick)))
    else:
        against_before(arguments.before.resolve(), arguments.n, arguments.rounds)


if __name__ == "__main__":
    main()
