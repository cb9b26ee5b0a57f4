"""How time and memory of each stage grow with the number of items, up to a million.

    python benchmarks/speed/scaling.py /scratch/folder         # 100,000 to 1,000,000 items
    python benchmarks/speed/scaling.py /scratch/folder --sizes 20000 50000 --stages score groups

Features are written to the folder block by block (1.5 GB for a million items), each stage is the
command `w2s` in a process of its own, and its memory is sampled from outside: anonymous memory,
which leaves out the pages of the memory-mapped features. The published algorithm is run at sizes
that it can bear and extrapolated along its own slope.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_data import OverlapDetector, load_dataset

D_STRONG, D_WEAK = 384, 32
BLOCK = 50_000
SOURCES, GROUPS, TOPICS = 5, 20, 200
STAGES = ("score", "groups", "forecast", "select", "gain")
SAMPLING_SECONDS = 0.02
BOOT = "from w2s_data.cli import main; main()"


@dataclass(frozen=True)
class Measured:
    """Cost of one command: seconds in all and in its stage, and its peak memory in MB."""

    seconds: float
    stage_seconds: float
    peak_mb: float


def generate(
    folder: Path, n: int, seed: int = 0, d_strong: int = D_STRONG, d_weak: int = D_WEAK
) -> None:
    """Write features like those of a sentence encoder, and a table of items, block by block.

    A point has one of 200 topics, around which points gather, and carries an easy pattern, a hard
    pattern or both; the weak model is sure of those with the easy one. Weak features know the easy
    pattern only.
    """
    if (folder / "items.parquet").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    strong = np.lib.format.open_memmap(folder / "strong.npy", "w+", np.float32, (n, d_strong))
    weak = np.lib.format.open_memmap(folder / "weak.npy", "w+", np.float32, (n, d_weak))
    scale = np.logspace(0, -1, d_strong, dtype=np.float32)
    topics = rng.standard_normal((TOPICS, d_strong), dtype=np.float32) * scale
    writer = None
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        label = rng.integers(2, size=size)
        kind = rng.choice(3, size=size, p=(0.4, 0.35, 0.25))  # hard-only, easy-only, overlap
        sign = (2 * label - 1).astype(np.float32)
        block = rng.standard_normal((size, d_strong), dtype=np.float32) * scale
        block += topics[rng.integers(TOPICS, size=size)]
        block[:, 0] += 0.5 + (kind != 1)
        block[:, 1] += sign * (kind != 1)
        block[:, 2] += sign * (kind != 0)
        strong[start : start + size] = block
        thin = rng.standard_normal((size, d_weak), dtype=np.float32)
        thin[:, 0] += 2 * sign * (kind != 0)
        weak[start : start + size] = thin
        sure = np.where(kind == 0, rng.beta(4, 4, size), rng.beta(8, 1.5, size))
        positive = np.where(label == 1, sure, 1 - sure)
        split = rng.choice(4, size=size, p=(0.1, 0.7, 0.1, 0.1))
        number = np.arange(start, start + size)
        table = pa.table(
            {
                "id": np.char.add("item-", number.astype(str)),
                "text": np.char.add("a sentence of usual length, number ", number.astype(str)),
                "label": np.array(["no", "yes"])[label],
                "split": np.array(["labelled", "pool", "validation", "test"])[split],
                "source": np.char.add("source-", rng.integers(SOURCES, size=size).astype(str)),
                "group": np.char.add("group-", rng.integers(GROUPS, size=size).astype(str)),
                "p_no": 1 - positive,
                "p_yes": positive,
            }
        )
        writer = writer or pq.ParquetWriter(folder / "partial.parquet", table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
    strong.flush()
    weak.flush()
    (folder / "partial.parquet").rename(folder / "items.parquet")


def command(folder: Path, stage: str, memory: str | None) -> list[str]:
    """The words of one `w2s` command."""
    run = str(folder / "run")
    roles = ["--id", "id", "--item", "text", "--label", "label", "--split", "split"]
    roles += ["--source", "source", "--group", "group", "--weak-columns", "p_no,p_yes"]
    features = ["--strong-features", str(folder / "strong.npy")]
    both = [*features, "--weak-features", str(folder / "weak.npy")]
    words = {
        "score": ["score", str(folder / "items.parquet"), *roles, *both, "-o", run, "--overwrite"],
        "groups": ["groups", run],
        "forecast": ["forecast", run],
        "select": ["select", run, "--budget", "2000", "--batch-size", "100"],
        "gain": ["gain", run, "--methods", "naive,confidence", "--seeds", "2"],
    }[stage]
    return ["--quiet", *words, *(["--memory", memory] if memory else [])]


def measure(words: list[str], run: Path, stage: str) -> Measured:
    """Run a command and sample its anonymous memory until it ends."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", BOOT, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _anonymous_mb(process.pid))
        time.sleep(SAMPLING_SECONDS)
    spent = time.perf_counter() - start
    if process.returncode:
        said = process.stderr.read().decode() if process.stderr else ""
        raise SystemExit(f"`w2s {' '.join(words)}` ended with {process.returncode}:\n{said}")
    stages = json.loads((run / "manifest.json").read_text())["stages"]
    name = "selection" if stage == "select" else stage
    return Measured(spent, stages.get(name, stages.get(stage, {})).get("seconds", np.nan), peak)


def _anonymous_mb(pid: int) -> float:
    """Memory of a process without the pages of files it maps (Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0.0
    found = status.partition("RssAnon:")[2].split()
    return int(found[0]) / 1024 if found else 0.0


def idle_mb() -> float:
    """Anonymous memory of a process that has imported what scoring imports, and does nothing."""
    text = (
        "import torch, pandas, pyarrow.parquet, plotly, w2s_reports, w2s_data.stages\n"
        "from pathlib import Path\n"
        "print(int(Path('/proc/self/status').read_text().split('RssAnon:')[1].split()[0]) / 1024)"
    )
    said = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    return float(said.stdout)


def slope(sizes: list[int], values: list[float]) -> float:
    """Slope on log-log axes."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def growth(folder: Path, sizes: list[int], stages: list[str], memory: str | None) -> None:
    """Time and peak memory of each stage at each size, and their slopes."""
    base = idle_mb()
    print(f"Imports alone: {base:,.0f} MB of anonymous memory.\n")
    print("| stage | items | command, s | stage alone, s | peak memory, MB | of that N-sized, MB |")
    print("|---|---|---|---|---|---|")
    found: dict[str, list[Measured]] = {stage: [] for stage in stages}
    for n in sizes:
        here = folder / str(n)
        generate(here, n)
        for stage in stages:
            got = measure(command(here, stage, memory), here / "run", stage)
            found[stage].append(got)
            print(
                f"| {stage} | {n:,} | {got.seconds:.1f} | {got.stage_seconds:.1f} | "
                f"{got.peak_mb:,.0f} | {got.peak_mb - base:,.0f} |",
                flush=True,
            )
    if len(sizes) > 1:
        print("\n| stage | slope of the command's time | of the stage's | of N-sized memory |")
        print("|---|---|---|---|")
        for stage, results in found.items():
            time_slope = slope(sizes, [r.seconds for r in results])
            stage_slope = slope(sizes, [r.stage_seconds for r in results])
            memory_slope = slope(sizes, [r.peak_mb - base for r in results])
            print(f"| {stage} | {time_slope:.2f} | {stage_slope:.2f} | {memory_slope:.2f} |")


def _loaded(folder: Path, n: int) -> tuple[np.ndarray, np.ndarray]:
    generate(folder / str(n), n)
    strong = np.load(folder / str(n) / "strong.npy", mmap_mode="r")
    table = pq.read_table(folder / str(n) / "items.parquet", columns=["p_no", "p_yes"])
    return strong, np.column_stack([table[name].to_numpy() for name in table.column_names])


def published(folder: Path, sizes: list[int], target: int) -> None:
    """Time of the published algorithm, extrapolated along its own slope."""
    print("\n| items | default, s | published, s | ratio |")
    print("|---|---|---|---|")
    ours, theirs = [], []
    for n in sizes:
        strong, proba = _loaded(folder, n)
        for make, into in ((OverlapDetector, ours), (OverlapDetector.reference, theirs)):
            start = time.perf_counter()
            make(random_state=0, device="cpu", n_resamples=0).fit(strong, proba)
            into.append(time.perf_counter() - start)
        print(f"| {n:,} | {ours[-1]:.2f} | {theirs[-1]:.2f} | {theirs[-1] / ours[-1]:.1f} |")
    power = slope(sizes, theirs)
    expected = theirs[-1] * (target / sizes[-1]) ** power
    print(
        f"\nSlope of the published algorithm: {power:.2f}; at {target:,} items that makes "
        f"{expected / 3600:.1f} hours."
    )


def agreement(n: int) -> None:
    """Share of points that 4,096 anchors put into the same region as all of them.

    On mixtures whose points are of known types: where nothing parts easy-only from overlap, as in
    the features of `generate`, any threshold is as good as another, and few points agree.
    """
    for missing in ("noise", "zero"):
        data = load_dataset(f"example:gaussian_overlap?n={2 * n}&missing={missing}")
        pool = data.rows("pool")
        found = [
            OverlapDetector(n_anchors=index, random_state=0, device="cpu", n_resamples=0).fit(
                data.features[pool], data.weak_proba[pool]
            )
            for index in ("auto", "full")
        ]
        same = np.mean(found[0].regions_ == found[1].regions_)
        print(
            f"\nAgreement with all anchors, gaussian_overlap ({missing}), {len(pool):,} points: "
            f"{same:.2%}; the split explains {found[1].alignment_explained_:.0%} of the variance."
        )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="Scratch folder, about 2 GB for a million items.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--memory", default=None, help="Handed to each command, e.g. 4GB.")
    parser.add_argument("--published", type=int, nargs="*", default=[5_000, 20_000, 50_000])
    parser.add_argument("--agreement", type=int, default=100_000, help="Points; 0 leaves it out.")
    parser.add_argument("--keep", action="store_true", help="Leave the features in the folder.")
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    try:
        growth(given.folder, given.sizes, given.stages, given.memory)
        if given.published:
            published(given.folder, given.published, max(given.sizes))
        if given.agreement:
            agreement(given.agreement)
    finally:
        if not given.keep:
            for n in {*given.sizes, *given.published}:
                shutil.rmtree(given.folder / str(n), ignore_errors=True)


if __name__ == "__main__":
    main()
