"""Labels of a million stored vectors, beside the bare product with the student's weights.

    python benchmarks/speed/apply.py [SCRATCH]

The bare product reads the same memory map in blocks of the same size and multiplies each with the
weights of all seeds; reading is the pass over the map alone. The student does both, and softmax,
mean over seeds and checks of its input; `apply_student` also writes the table.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from w2s_data.features.matrix import DEFAULT_BLOCK_BYTES, ArrayFeatures, row_blocks
from w2s_data.finetune.levels.linear import HeadModel, Scaling

N_SEEDS, ROUNDS = 5, 5


def stored(folder: Path, n_rows: int, n_columns: int) -> Path:
    """Write random vectors, unless they are there."""
    path = folder / f"vectors-{n_rows}-{n_columns}.npy"
    if not path.exists():
        shape = (n_rows, n_columns)
        rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        rng = np.random.default_rng(0)
        for part in row_blocks(shape, DEFAULT_BLOCK_BYTES):
            size = part.stop - part.start
            rows[part] = rng.standard_normal((size, n_columns), dtype=np.float32)
        rows.flush()
    return path


def student(n_columns: int, n_classes: int) -> HeadModel:
    """Make heads of random weights."""
    rng = np.random.default_rng(1)
    coef = rng.normal(0, 0.1, (N_SEEDS, n_columns, n_classes)).astype(np.float32)
    intercept = rng.normal(size=(N_SEEDS, n_classes)).astype(np.float32)
    return HeadModel(coef, intercept, Scaling(rng.normal(0, 0.1, n_columns), np.ones(n_columns)))


def read(path: Path) -> None:
    """Pass over the map."""
    for _, block in ArrayFeatures(np.load(path, mmap_mode="r")).blocks():
        block.max()


def multiply(path: Path, weights: np.ndarray) -> None:
    """Multiply every block with the weights of all seeds, and keep nothing."""
    for _, block in ArrayFeatures(np.load(path, mmap_mode="r")).blocks():
        block @ weights


def label(path: Path, heads: HeadModel) -> None:
    """Compute probabilities, averaged over the seeds, as `apply_student` does."""
    for rows, block in ArrayFeatures(np.load(path, mmap_mode="r")).blocks():
        heads.mean_proba(block, rows.start)


def seconds(work: Callable[[], None]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure side by side, in interleaved rounds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scratch", nargs="?", default=tempfile.gettempdir(), type=Path)
    parser.add_argument("--rows", default=1_000_000, type=int)
    options = parser.parse_args()
    print("| vectors | classes | bare product | reading | labels | labels / (product + reading) |")
    print("|---|---|---|---|---|---|")
    for n_columns in (128, 384):
        path = stored(options.scratch, options.rows, n_columns)
        for n_classes in (2, 10):
            heads = student(n_columns, n_classes)
            weights = np.concatenate(list(heads.coef), axis=1)
            works = {
                "product": lambda path=path, weights=weights: multiply(path, weights),
                "reading": lambda path=path: read(path),
                "labels": lambda path=path, heads=heads: label(path, heads),
            }
            rounds = [{n: seconds(work) for n, work in works.items()} for _ in range(ROUNDS)]
            middle = {n: statistics.median(r[n] for r in rounds) for n in works}
            ratio = statistics.median(r["labels"] / (r["product"] + r["reading"]) for r in rounds)
            times = " | ".join(f"{middle[n]:.2f} s" for n in works)
            print(f"| {options.rows:,} x {n_columns} | {n_classes} | {times} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
