"""Encoding by Ray's workers beside this process alone, and with a worker that is killed.

Run ``cd benchmarks/speed && python ray_engine.py``: Ray's workers import what lies beside it. It
prints a Markdown table, and fails if a byte differs.
Sentences come from ``$W2S_DATA_HOME/sst2.parquet`` where that is set, otherwise they are made up
with similar lengths. Ray is started once; its start is measured apart from the encoding, which
includes loading the model in every process.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from embedding import minilm_folder, sentences

from w2s_data import TextEncoder, embed
from w2s_data.compute.base import LocalEngine
from w2s_data.compute.engines import make_engine
from w2s_data.compute.worker import own_threads


class Fragile(TextEncoder):
    """The encoder, whose process is killed once in the middle of its work."""

    def __init__(self, model: str, flag: str, device: str = "cpu", dtype: str = "auto") -> None:
        super().__init__(model, device=device, dtype=dtype)
        self.flag = flag

    def encode_part(self, items: list[Any], part: int, n_parts: int, *, advance: Any = None) -> Any:
        done = 0

        def advance_or_die(units: int) -> None:
            nonlocal done
            advance(units)
            done += units
            if done > len(items) // 2 // n_parts and not Path(self.flag).exists():
                Path(self.flag).touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return super().encode_part(items, part, n_parts, advance=advance_or_die)


def shards(folder: Path) -> dict[str, bytes]:
    """The files of a store."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}


def measure(texts: list[str], engine: Any, encoder: TextEncoder) -> tuple[float, dict[str, bytes]]:
    """Seconds to fill a store, and its files."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        embed(texts, encoder, folder, engine=engine, progress=False)
        return time.perf_counter() - started, shards(Path(folder))


def compare(count: int, repeats: int, workers: tuple[int, ...]) -> None:
    """Print the table."""
    texts, model = sentences(count), minilm_folder()

    def encoder() -> TextEncoder:
        return TextEncoder(model, device="cpu")

    measure(texts[:200], LocalEngine(), encoder())
    runs = [measure(texts, LocalEngine(), encoder()) for _ in range(repeats)]
    seconds, truth = statistics.median(run[0] for run in runs), runs[0][1]
    print(f"{len(texts):,} sentences, {os.cpu_count()} CPUs, {own_threads()} threads locally\n")
    print("| engine | start, s | encode, s | sentences/s | times local | same bytes |")
    print("|---|---|---|---|---|---|")
    print(f"| local | - | {seconds:.1f} | {len(texts) / seconds:,.0f} | 1.00 | yes |")
    for number in workers:
        with make_engine("ray", workers=number) as engine:
            started = time.perf_counter()
            list(engine.map_blocks(ready, None, range(number)))
            start = time.perf_counter() - started
            measure(texts[:200], engine, encoder())  # imports what encoding needs
            runs = [measure(texts, engine, encoder()) for _ in range(repeats)]
            report(f"ray, {number} workers", start, runs, seconds, len(texts), truth)
            if number > 1:
                with tempfile.TemporaryDirectory() as folder:
                    flag = Path(folder) / "killed"
                    killed = measure(texts, engine, Fragile(model, str(flag)))
                    if not flag.exists():
                        raise SystemExit("no worker was killed")
                name = f"ray, {number} workers, one killed"
                report(name, start, [killed], seconds, len(texts), truth)


def ready(state: None, block: int, advance: Any) -> int:  # noqa: ARG001
    """Nothing: a worker that does it has started."""
    return block


def report(
    name: str,
    start: float,
    runs: list[tuple[float, dict[str, bytes]]],
    local: float,
    count: int,
    truth: dict[str, bytes],
) -> None:
    """Print a row; end with an error where a byte differs."""
    seconds = statistics.median(run[0] for run in runs)
    same = all(files == truth for _, files in runs)
    print(
        f"| {name} | {start:.1f} | {seconds:.1f} | {count / seconds:,.0f} | "
        f"{local / seconds:.2f} | {'yes' if same else 'NO'} |",
        flush=True,
    )
    if not same:
        raise SystemExit(f"{name}: the store differs from the local one")


def main() -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=16_384)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    logging.getLogger("w2s_data").setLevel(logging.ERROR)
    compare(arguments.sentences, arguments.repeats, tuple(arguments.workers))


if __name__ == "__main__":
    main()
