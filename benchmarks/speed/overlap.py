"""Speed and memory of the overlap detector, side by side with what it is compared to.

    python benchmarks/speed/overlap.py

Change point against ruptures.Binseg; scoring against the bare matrix products it needs and
against the published algorithm in plain numpy; growth of time and memory over N.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import (
    D,
    Row,
    compared,
    growth_rows,
    growth_table,
    in_fresh_process,
    interleaved,
    points,
    table,
)

from w2s_data.overlap.alignment import MAX_ANCHORS
from w2s_data.overlap.changepoint import change_point
from w2s_data.overlap.detector import OverlapDetector

PUBLISHED_SIZES = (5_000, 20_000, 50_000)
PRODUCT_ROWS = 512  # at a time: float32 products on a CPU are fastest so
SIZES = (12_500, 25_000, 50_000, 100_000, 200_000, 400_000, 1_000_000)


def change_points(quick: bool = False) -> list[Row]:
    """Exact change point, sort included, against ruptures, which looks at every fifth index."""
    import ruptures

    rows = []
    for n in (10_000,) if quick else (10_000, 100_000):
        values = np.random.default_rng(0).random(n)
        signal = np.sort(values).reshape(-1, 1)
        calls = {
            "ours": partial(change_point, values),
            "theirs": lambda s=signal: ruptures.Binseg(model="l2").fit(s).predict(1),
        }
        times = interleaved(calls, 3 if n <= 10_000 else 1)
        row = compared(
            f"change point of {n:,} values", times["ours"], "ruptures.Binseg", times["theirs"]
        )
        rows.append(row)
    return rows


def bare_products(n_rows: int, n_anchors: int = MAX_ANCHORS) -> Callable[[], None]:
    """The matrix products alone, in float32."""
    features = torch.randn(n_rows, D)
    bank = torch.randn(D, n_anchors)
    out = torch.empty(PRODUCT_ROWS, n_anchors)

    def run() -> None:
        for start in range(0, n_rows, PRODUCT_ROWS):
            rows = features[start : start + PRODUCT_ROWS]
            torch.mm(rows, bank, out=out[: len(rows)])

    return run


def against_products(quick: bool = False) -> list[Row]:
    """Each precision, and the default with intervals, against bare float32 products."""
    n = 10_000 if quick else 50_000
    features, proba = points(n)
    detectors = {
        f"{precision}{more}": OverlapDetector(
            random_state=0, device="cpu", n_resamples=replicates, precision=precision
        ).fit(features, proba)
        for precision, replicates, more in (
            *((each, 0, "") for each in ("float32", "bfloat16", "int8")),
            ("auto", 200, ", 200 replicates"),
        )
    }
    exact = detectors["float32"]
    aligned = int((exact.regions_ != 0).sum())
    calls: dict[str, Callable[[], object]] = {"products": bare_products(aligned)}
    calls |= {name: partial(each.fit, features, proba) for name, each in detectors.items()}
    times = interleaved(calls, 3 if quick else 7)
    other = f"bare products, {aligned:,} x {exact.n_anchors_:,} x {D}, float32"
    return [
        compared(f"scoring {n:,} points, {name}", times[name], other, times["products"])
        for name in detectors
    ]


def published(features: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """The published algorithm in plain numpy and ruptures: margin confidence, change points, and
    the largest absolute cosine from a dense matrix of all points by all hard-only points.
    """
    import ruptures

    def threshold(values: np.ndarray) -> float:
        ordered = np.sort(values)
        found = ruptures.Binseg(model="l2").fit(ordered.reshape(-1, 1)).predict(n_bkps=1)
        return float(ordered[found[0]])

    ordered = np.sort(proba, axis=1)
    confidence = ordered[:, -1] - ordered[:, -2]
    hard = confidence <= threshold(confidence)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = np.abs(unit[~hard] @ unit[hard].T).max(axis=1)
    regions = np.zeros(len(features), dtype=np.int8)
    regions[~hard] = np.where(similarity >= threshold(similarity), 2, 1)
    return regions


def _scored(n: int, mode: str) -> Callable[[], object]:
    features, proba = points(n)
    if mode == "published":
        published(features[:2000], proba[:2000])
        return lambda: published(features, proba)
    n_resamples = 0 if mode == "plain" else 200
    detector = OverlapDetector(random_state=0, device="cpu", n_resamples=n_resamples)
    detector.fit(features[:2000], proba[:2000])
    return lambda: detector.fit(features, proba)


def against_published(quick: bool = False) -> list[Row]:
    """Default mode against the published algorithm, both without intervals."""
    rows = []
    for n in PUBLISHED_SIZES[: 1 if quick else None]:
        ours, theirs = (in_fresh_process(_scored, n, mode) for mode in ("plain", "published"))
        name = "published algorithm, dense numpy"
        rows.append(
            Row(f"scoring {n:,} points", ours[0], name, theirs[0], theirs[0] / ours[0],
                ours[1], theirs[1])
        )  # fmt: skip
        rows.append(Row(f"{name}, {n:,}", *theirs[:1], memory_mb=theirs[1], size=n, curve=name))
    return rows


def growth(quick: bool = False) -> list[Row]:
    """Time and memory over N, each fit in a process of its own, with 200 replicates."""
    sizes = SIZES[:2] if quick else SIZES
    return growth_rows("scoring, default mode", sizes, partial(_scored, mode="default"))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Small sizes only.")
    quick = parser.parse_args().quick
    for part in (change_points, against_products, against_published, growth):
        rows = part(quick)
        print(f"\n{part.__doc__}\n\n{table(rows)}")
    print(f"\n{growth_table(rows)}")


if __name__ == "__main__":
    main()
