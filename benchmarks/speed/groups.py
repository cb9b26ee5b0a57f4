"""k-means and the whole group analysis: time and memory.

    python benchmarks/speed/groups.py [kmeans] [analysis]

k-means beside scikit-learn with one start; the analysis of 100,000 x 384 features with 20 groups.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from corpora import load_corpus, minilm_features, parser
from measure import D, Row, in_fresh_process, peak_mb, seconds, table

from w2s_data.groups import GroupAnalyzer
from w2s_data.groups.kmeans import Clusters, kmeans

CORPORA = ("sst2", "customer_reviews", "subj", "trec", "ag_news_test", "mpqa")


def real_rows(n: int, cache: Path) -> np.ndarray:
    """MiniLM features of all corpora and two layers, drawn with a little noise."""
    parts = [minilm_features(load_corpus(c), layer, cache) for c in CORPORA for layer in (0, 6)]
    everything = np.concatenate(parts).astype(np.float32)
    rng = np.random.default_rng(0)
    drawn = everything[rng.integers(len(everything), size=n)]
    noise = rng.standard_normal(drawn.shape, dtype=np.float32)
    return drawn + 0.1 * everything.std(axis=0) * noise


def clustered_rows(n: int) -> np.ndarray:
    """Features in 200 overlapping clusters of different sizes."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, D), dtype=np.float32) * np.logspace(0, -1, D)
    member = np.minimum(rng.geometric(0.02, n) - 1, 199)
    noise = rng.standard_normal((n, D), dtype=np.float32) * np.float32(0.3)
    return (centres[member] + noise).astype(np.float32)


def _clustered(library: str, n: int, k: int) -> Callable[[], object]:
    points = clustered_rows(n)
    if library == "ours":
        kmeans(points[:2000], k)
        return lambda: kmeans(points, k)
    model = KMeans(k, n_init=1, random_state=0)
    model.fit(points[:2000])
    return lambda: model.fit(points)


def against_sklearn(quick: bool = False) -> list[Row]:
    """k-means against scikit-learn with one start."""
    n, k = (5000, 20) if quick else (50_000, 20)
    memory = [in_fresh_process(_clustered, side, n, k)[1] for side in ("ours", "theirs")]
    row = kmeans_row(clustered_rows(n), k)
    return [replace(row, memory_mb=memory[0], other_memory_mb=memory[1])]


def kmeans_row(points: np.ndarray, k: int) -> Row:
    """Time of both, mean of three seeds here, at an inertia at most 5 % above theirs."""
    kmeans(points[:500], 2)  # imports faiss
    theirs: list[KMeans] = []
    slow = seconds(lambda: theirs.append(KMeans(k, n_init=1, random_state=0).fit(points)))
    ours: list[Clusters] = []
    fast = seconds(lambda: ours.extend(kmeans(points, k, random_state=s) for s in range(3))) / 3
    worst = max(found.inertia for found in ours) / theirs[0].inertia_
    if worst > 1.05:
        raise SystemExit(f"inertia is {worst:.3f} times scikit-learn's")
    what = f"k-means, {len(points):,} x {D}, {k} clusters"
    return Row(what, fast, "scikit-learn, one start", slow, slow / fast)


def measured(
    n: int, given: bool, cache: Path, queue: multiprocessing.Queue[tuple[float, float]]
) -> None:
    """Time and peak memory of one analysis, in a process of its own."""
    rng = np.random.default_rng(0)
    points = real_rows(n, cache)
    labels = rng.integers(2, size=n)
    positive = np.clip(0.5 + (labels - 0.5) * rng.uniform(-0.4, 1, n), 0, 1)
    splits = rng.choice(["labelled", "pool", "validation", "test"], n, p=[0.1, 0.7, 0.05, 0.15])
    start = time.perf_counter()
    GroupAnalyzer(device="cpu", random_state=0).fit(
        points,
        np.column_stack([1 - positive, positive]),
        groups=rng.integers(20, size=n) if given else None,
        sources=rng.integers(5, size=n),
        labels=labels,
        splits=splits,
        regions=rng.integers(3, size=n),
    )
    queue.put((time.perf_counter() - start, peak_mb() / 1024))


def analysis(n: int, cache: Path) -> None:
    """The whole analysis."""
    print(
        f"\nThe whole analysis, {n:,} x 384\n\n| groups | seconds | peak memory, GB |\n"
        "|---|---|---|"
    )
    context = multiprocessing.get_context("spawn")
    for name, given in (("20 given", True), ("discovered", False)):
        queue = context.Queue()
        process = context.Process(target=measured, args=(n, given, cache, queue))
        process.start()
        spent, memory = queue.get()
        process.join()
        print(f"| {name} | {spent:.0f} | {memory:.1f} |", flush=True)


def main() -> None:
    """Print the tables asked for, all by default."""
    options = parser(__doc__.splitlines()[0], seeds=0)
    options.add_argument("parts", nargs="*", help="kmeans, analysis")
    arguments = options.parse_args()
    wanted = arguments.parts or ["kmeans", "analysis"]
    n = 20_000 if arguments.quick else 100_000
    warnings.filterwarnings("ignore", module="sklearn")
    if "kmeans" in wanted:
        points = real_rows(n, arguments.cache)
        print(f"\n{table(kmeans_row(points, k) for k in (20, 100))}")
    if "analysis" in wanted:
        analysis(n, arguments.cache)


if __name__ == "__main__":
    main()
