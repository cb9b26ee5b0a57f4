"""Shared parts of the benchmarks: measuring time and memory, and the rows of a table.

A script that joins the suite has functions ``name(quick: bool) -> list[Row]``; `suite.py` names
them, runs each in a process of its own, and collects the rows.
"""

from __future__ import annotations

import datetime
import gc
import importlib.metadata
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = (
    *("numpy", "torch", "faiss-gpu", "faiss-cpu", "scikit-learn", "transformers", "ray"),
    *("sentence-transformers", "ruptures", "mabwiser"),
)
D = 384  # features of a sentence encoder
Prepare = Callable[..., Callable[[], object]]


class NotRunError(Exception):
    """A benchmark cannot run here; the message says what is missing."""


@dataclass(frozen=True)
class Row:
    """One piece of work, timed here and, where there is something to compare with, there.

    Attributes
    ----------
    what : str
    seconds : float
        Median over the rounds.
    other : str
        Peer that it is compared to; empty if there is none.
    other_seconds : float or None
    ratio : float or None
        other / ours: the median of the rounds' ratios, above 1 where w2s-data is faster.
    memory_mb, other_memory_mb : float or None
        Peak during the work, beyond what its inputs take.
    size : int or None
        Items N.
    curve : str
        Rows of one name and several sizes are a growth curve.
    device : str
        Named where it is not the CPU.
    """

    what: str
    seconds: float
    other: str = ""
    other_seconds: float | None = None
    ratio: float | None = None
    memory_mb: float | None = None
    other_memory_mb: float | None = None
    size: int | None = None
    curve: str = ""
    device: str = ""


def seconds(call: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interleaved(
    calls: dict[str, Callable[[], object]], rounds: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Time each call in turn, so that a busy machine slows all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + warm_up):
        for name, call in calls.items():
            elapsed = seconds(call)
            if number >= warm_up:
                times[name].append(elapsed)
    return times


def compared(what: str, ours: Sequence[float], other: str, theirs: Sequence[float]) -> Row:
    """A row of interleaved times."""
    return Row(
        what,
        statistics.median(ours),
        other,
        statistics.median(theirs),
        statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
    )


def peak_mb(reset: bool = False) -> float:
    """Peak resident memory of this process since the last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def in_fresh_process(prepare: Prepare, *args: Any) -> tuple[float, float]:
    """Seconds and extra peak memory (MB) of the call that `prepare` returns, in its own process.

    Costs of `prepare` itself (inputs, a warm-up) are not counted.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(prepare, args, sender))
    process.start()
    sender.close()
    try:
        found: tuple[float, float] = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{prepare}{args} ended with {process.exitcode}") from None
    process.join()
    return found


def _measure(prepare: Prepare, args: tuple[Any, ...], pipe: Any) -> None:
    call = prepare(*args)
    gc.collect()
    before = peak_mb(reset=True)
    spent = seconds(call)
    pipe.send((spent, max(0.0, peak_mb() - before)))


def growth_rows(name: str, sizes: Iterable[int], prepare: Prepare) -> list[Row]:
    """A growth curve: what `prepare(n)` returns, each size in a process of its own."""
    rows = []
    for n in sizes:
        spent, memory = in_fresh_process(prepare, n)
        rows.append(Row(f"{name}, {n:,}", spent, memory_mb=memory, size=n, curve=name))
    return rows


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope on log-log axes: 1 where twice the items take twice the time."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def curves(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Growth curves by name, each by size."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.curve and row.size:
            found.setdefault(row.curve, []).append(row)
    return {
        name: sorted(points, key=lambda row: row.size or 0)
        for name, points in found.items()
        if len(points) > 1
    }


def points(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features like those of a sentence encoder, and probabilities of a weak model."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.4
    features = rng.standard_normal((n, D), dtype=np.float32)
    features *= np.logspace(0, -1, D, dtype=np.float32)
    features[:, 0] += 0.5 + hard
    p = np.where(hard, rng.beta(4, 4, n), rng.beta(8, 1.5, n))
    return features, np.column_stack([1 - p, p])


def machine() -> dict[str, Any]:
    """Return the machine and the versions that numbers were measured with."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model.group(1).strip() if model else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "gpus": _gpus(),
        "python": platform.python_version(),
        "packages": found,
        "revision": _revision(),
        "date": datetime.date.today().isoformat(),
    }


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]


def _revision() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:  # no git on this machine
        return "unknown"
    return said.stdout.strip() or "unknown"


def describe(found: dict[str, Any]) -> str:
    """A machine in one sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    gpus = ", ".join(found["gpus"]) or "no GPU"
    quick = "Small sizes on a busy machine, to be measured again: " if found.get("quick") else ""
    return (
        f"{quick}{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, {gpus}; "
        f"Python {found['python']}, {versions}; revision {found['revision']}, {found['date']}."
    )


def table(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    columns = ("what", "time", "compared to", "its time", "times faster", "MB", "its MB")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = (
            f"{row.what}{f' ({row.device})' if row.device else ''}",
            _time(row.seconds),
            row.other or "-",
            _time(row.other_seconds),
            "-" if row.ratio is None else _digits(row.ratio),
            _megabytes(row.memory_mb),
            _megabytes(row.other_memory_mb),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def growth_table(rows: Iterable[Row]) -> str:
    """Slopes over the largest decade of each growth curve as a Markdown table."""
    lines = ["| curve | items | slope of time | slope of memory |", "|---|---|---|---|"]
    for name, found in curves(rows).items():
        last = last_decade(found)
        sizes = [float(row.size or 0) for row in last]
        memory = [row.memory_mb for row in last if row.memory_mb]
        shown = f"{slope(sizes, memory):.2f}" if len(memory) == len(last) else "-"
        power = slope(sizes, [row.seconds for row in last])
        lines.append(f"| {name} | {sizes[0]:,.0f} to {sizes[-1]:,.0f} | {power:.2f} | {shown} |")
    return "\n".join(lines)


def last_decade(found: Sequence[Row]) -> list[Row]:
    """The points of a curve from a tenth of its largest size on: beyond what is fixed."""
    largest = max(row.size or 0 for row in found)
    last = [row for row in found if 10 * (row.size or 0) >= largest]
    return last if len(last) > 1 else list(found)


def fill(page: Path, mark: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- MARK: begin -->`` and ``end`` of a page."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page} has no marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def to_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as plain JSON types, what they do not say left out."""
    return [{k: v for k, v in asdict(row).items() if v not in (None, "")} for row in rows]


def from_json(rows: Iterable[dict[str, Any]]) -> list[Row]:
    """Rows that `to_json` wrote."""
    return [Row(**row) for row in rows]


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 3 else f"{value:.2f}"


def _time(value: float | None) -> str:
    if value is None:
        return "-"
    if value < 1e-3:
        return f"{1e6 * value:.3g} µs"
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def _megabytes(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
