"""Labels of a million stored vectors, beside the bare product with the student's weights.

    python benchmarks/speed/apply.py [SCRATCH]

The bare product reads the same memory map in blocks of the same size and multiplies each with the
weights of all seeds; reading is the pass over the map alone. The student does both, and softmax,
mean over seeds and checks of its input; `apply_student` also writes the table, as Parquet.
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
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from w2s_data import Run, apply_student, audit
from w2s_data.compute.context import Compute
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


def finished_run(folder: Path, n_columns: int, n_classes: int) -> Run:
    """Make a small run of vectors, which keeps a student of as many seeds."""
    rng = np.random.default_rng(2)
    labels = rng.integers(n_classes, size=600)
    vectors = rng.normal(size=(len(labels), n_columns)) + 3 * np.eye(n_columns)[labels]
    names = [f"class {c}" for c in range(n_classes)]
    noise = rng.dirichlet(np.ones(n_classes), len(labels))
    weak = pd.DataFrame(0.6 * np.eye(n_classes)[labels] + 0.4 * noise, columns=names)
    table = weak.assign(item=list(vectors), label=np.array(names)[labels])
    return audit(
        table,
        columns={"item": "item", "label": "label", "weak_columns": names},
        output=folder / f"run-{n_columns}-{n_classes}",
        gain={"methods": ["naive"], "seeds": N_SEEDS, "epochs": 5, "controls": False},
        report={"map": False},
        progress=False,
        **dict.fromkeys(("forecast", "groups", "select"), False),
    )


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


def apply(path: Path, run: Run) -> None:
    """Label the vectors as a user does, who gets a table."""
    to = run.path / "applied.parquet"
    apply_student(run, path, student="naive", to=to, compute=Compute(progress=False))


def seconds(work: Callable[[], None]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measured(path: Path, heads: HeadModel, run: Run) -> str:
    """Return median times, and labels / (product + reading), as cells of a table."""
    weights = np.concatenate(list(heads.coef), axis=1)
    works = {
        "product": lambda: multiply(path, weights),
        "reading": lambda: read(path),
        "labels": lambda: label(path, heads),
        "with table": lambda: apply(path, run),
    }
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    ratio = statistics.median(r["labels"] / (r["product"] + r["reading"]) for r in rounds)
    times = (f"{statistics.median(r[name] for r in rounds):.2f} s" for name in works)
    return " | ".join([*times, f"{ratio:.2f}"])


def main() -> None:
    """Measure side by side, in interleaved rounds, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scratch", nargs="?", default=tempfile.gettempdir(), type=Path)
    parser.add_argument("--rows", default=1_000_000, type=int)
    options = parser.parse_args()
    print("| vectors | classes | bare product | reading | labels | with table | ratio of labels |")
    print("|---|---|---|---|---|---|---|")
    for n_columns in (128, 384):
        path = stored(options.scratch, options.rows, n_columns)
        for n_classes in (2, 10):
            with tempfile.TemporaryDirectory() as folder:
                run = finished_run(Path(folder), n_columns, n_classes)
                line = measured(path, student(n_columns, n_classes), run)
            print(f"| {options.rows:,} x {n_columns} | {n_classes} | {line} |")


if __name__ == "__main__":
    main()
