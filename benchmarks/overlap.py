"""Speed and memory of the overlap detector, side by side with what it is compared to.

    python benchmarks/overlap.py

Change point against ruptures.Binseg; scoring against the bare matrix products it needs and
against the published algorithm; growth of time and memory over N.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from w2s_data.alignment import SIMILARITY_BYTES
from w2s_data.changepoint import change_point, sorted_change_point
from w2s_data.overlap import MAX_ANCHORS, OverlapDetector

D = 384


def seconds(run: Callable[[], object], repeats: int = 5) -> float:
    """Median wall-clock time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def points(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features like those of a sentence encoder, and probabilities of a weak model."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.4
    features = rng.standard_normal((n, D), dtype=np.float32)
    features *= np.logspace(0, -1, D, dtype=np.float32)
    features[:, 0] += 0.5 + hard
    p = np.where(hard, rng.beta(4, 4, n), rng.beta(8, 1.5, n))
    return features, np.column_stack([1 - p, p])


def bare_products(n_rows: int, n_anchors: int = MAX_ANCHORS) -> float:
    """The matrix products alone, in the detector's own blocks."""
    features = torch.randn(n_rows, D)
    bank = torch.randn(D, n_anchors)
    step = SIMILARITY_BYTES["cpu"] // (4 * n_anchors)
    out = torch.empty(step, n_anchors)

    def run() -> None:
        for start in range(0, n_rows, step):
            rows = features[start : start + step]
            torch.mm(rows, bank, out=out[: len(rows)])

    run()
    return seconds(run, 3)


def change_points() -> None:
    """Exact change point against ruptures."""
    import ruptures

    print("| values | sort | change point beyond the sort | ruptures.Binseg | ratio |")
    print("|---|---|---|---|---|")
    for n in (10_000, 100_000, 1_000_000):
        values = np.random.default_rng(0).random(n)
        ordered = np.sort(values)
        sorting = seconds(lambda values=values: np.sort(values))
        splitting = seconds(lambda ordered=ordered: sorted_change_point(ordered))
        ours = seconds(lambda values=values: change_point(values))
        theirs = ratio = "not run"
        if n <= 100_000:
            signal = ordered.reshape(-1, 1)
            slow = seconds(lambda s=signal: ruptures.Binseg(model="l2").fit(s).predict(1), 1)
            theirs, ratio = f"{slow:.2f} s", f"{slow / ours:,.0f}"
        print(f"| {n:,} | {1e3 * sorting:.1f} ms | {1e3 * splitting:.1f} ms | {theirs} | {ratio} |")


def scoring(n: int = 50_000, rounds: int = 7) -> None:
    """Default mode against the bare products: interleaved, median of each round's ratio."""
    features, proba = points(n)
    detector = OverlapDetector(random_state=0, device="cpu", n_bootstrap=0).fit(features, proba)
    aligned = int((detector.regions_ != 0).sum())
    spent = np.empty((rounds, 3))
    for r in range(rounds):
        for column, n_bootstrap in ((1, 0), (2, 200)):
            detector.set_params(n_bootstrap=n_bootstrap)
            spent[r, column] = seconds(lambda: detector.fit(features, proba), 1)
        spent[r, 0] = bare_products(aligned)
    print(f"\nN = {n:,}, D = {D}, {detector.n_anchors_:,} anchors, {aligned:,} points aligned\n")
    print("| what | seconds | ratio to the bare products |")
    print("|---|---|---|")
    names = ("bare matrix products", "fit without intervals", "fit with 200 replicates")
    ratios = np.median(spent / spent[:, :1], axis=0)
    for name, time_spent, ratio in zip(names, np.median(spent, axis=0), ratios, strict=True):
        print(f"| {name} | {time_spent:.2f} | {ratio:.2f} |")


def _peak_mb(reset: bool = False) -> float:
    """Peak resident memory since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _measured(n: int, mode: str, queue: multiprocessing.Queue[tuple[float, float]]) -> None:
    """Time and peak extra memory of one fit, in a process of its own."""
    features, proba = points(n)
    make = OverlapDetector.reference if mode == "published" else OverlapDetector
    make(random_state=0, device="cpu", n_bootstrap=0).fit(features[:2000], proba[:2000])
    gc.collect()
    before = _peak_mb(reset=True)
    start = time.perf_counter()
    n_bootstrap = 0 if mode == "published" else 200
    make(random_state=0, device="cpu", n_bootstrap=n_bootstrap).fit(features, proba)
    spent = time.perf_counter() - start
    queue.put((spent, _peak_mb() - before))


def in_fresh_process(n: int, mode: str) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measured, args=(n, mode, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def growth(sizes: tuple[int, ...], published: tuple[int, ...]) -> None:
    """Time and memory over N, with the slope on log-log axes."""
    print("\n| N | default, s | extra memory, MB | published, s | ratio |")
    print("|---|---|---|---|---|")
    times = []
    for n in sizes:
        spent, memory = in_fresh_process(n, "default")
        times.append(spent)
        theirs = in_fresh_process(n, "published")[0] if n in published else None
        other = ("-", "-") if theirs is None else (f"{theirs:.1f}", f"{theirs / spent:.1f}")
        print(f"| {n:,} | {spent:.2f} | {memory:.0f} | {other[0]} | {other[1]} |")
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    print(f"\nslope of the time over N: {slope:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Small sizes only.")
    quick = parser.parse_args().quick
    change_points()
    scoring(10_000 if quick else 50_000)
    if quick:
        growth((6_250, 12_500), (6_250,))
    else:
        growth((12_500, 25_000, 50_000, 100_000, 200_000), (12_500, 25_000))
