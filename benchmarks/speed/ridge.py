"""`RidgeProbe` against scikit-learn's ridge regression: the same solution, and the time to it.

Run ``python benchmarks/speed/ridge.py``; it prints a Markdown table. scikit-learn's `Ridge` solves
for one penalty with its default solver; the probe also chooses among 45 penalties.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.linear_model import Ridge, RidgeCV

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import D, Row, compared, interleaved, table

from w2s_data import RidgeProbe

N = 100_000
ROUNDS = 5
CLOSE = 1e-6  # of predictions, relative to their standard deviation


def task(n: int, kind: type[np.floating]) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, D) that correlate as those of a sentence encoder do, and noisy targets."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(D, D)))[0]
    features = (rng.normal(size=(n, D)) * np.logspace(0, -1.5, D)) @ rotation + 0.3
    targets = features @ rng.normal(size=D) + rng.normal(size=n)
    return features.astype(kind), targets


def compare(n: int, kind: type[np.floating], rounds: int) -> list[Row]:
    """Time both in turn, on features of one precision; refuse predictions that differ."""
    features, targets = task(n, kind)
    penalty = RidgeProbe().fit(features, targets).penalty_
    exact = Ridge(penalty).fit(features.astype(np.float64), targets).predict(features)
    probe = RidgeProbe(penalty).fit(features, targets)
    apart = float(np.abs(probe.predict(features) - exact).max() / exact.std())
    if apart > CLOSE:
        raise SystemExit(f"the probe predicts {apart:.1e} beside scikit-learn in float64")
    calls = {
        "chosen": partial(RidgeProbe().fit, features, targets),
        "one": partial(RidgeProbe(penalty).fit, features, targets),
        "Ridge": partial(Ridge(penalty).fit, features, targets),
    }
    times = interleaved(calls, rounds)
    what = f"ridge, {n:,} x {D}, {kind.__name__}"
    return [
        compared(f"{what}, 45 penalties", times["chosen"], "scikit-learn, one", times["Ridge"]),
        compared(f"{what}, one penalty", times["one"], "scikit-learn, one", times["Ridge"]),
    ]


def choosing(n: int, rounds: int) -> Row:
    """Time the choice of a penalty by rows left out, beside `RidgeCV` on the same penalties."""
    features, targets = task(n, np.float64)
    grid = np.logspace(-2, 4, 45)
    times = interleaved(
        {
            "ours": partial(RidgeProbe(grid).fit, features, targets),
            "theirs": partial(RidgeCV(grid).fit, features, targets),
        },
        rounds,
    )
    what = f"ridge, {n:,} x {D}, 45 penalties by rows left out"
    return compared(what, times["ours"], "RidgeCV", times["theirs"])


def against_sklearn(quick: bool = False) -> list[Row]:
    """Fitting a ridge probe against scikit-learn's, at the same solution."""
    n, rounds = (5_000, 1) if quick else (N, ROUNDS)
    rows = [row for kind in (np.float32, np.float64) for row in compare(n, kind, rounds)]
    return [*rows, choosing(n // 10, rounds)]


if __name__ == "__main__":
    print(table(against_sklearn()))
