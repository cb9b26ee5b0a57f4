"""Estimate the cost of scoring a million items and more from the suite's results.

    python benchmarks/speed/costs.py                       # writes the tables of docs/scaling.md
    python benchmarks/speed/costs.py --cpu-price .08 --print

Time and memory follow a growth curve along its slope over the last decade that was measured, at
least 1: nothing becomes cheaper by the item. From 300,000 points on the search for neighbours
visits a bounded number of points for each, and its time is linear. Money is hours times a price.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite import RESULTS, collected, load

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import D, Row, curves, describe, fill, last_decade, slope

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
SIZES = (1_000_000, 10_000_000, 100_000_000)
CPU_PRICE, GPU_PRICE, DISK_PRICE = 0.10, 2.50, 0.08  # dollars: an hour, an hour, a GB and month
ITEM_BYTES = 250  # of a run's own tables: ids, texts, regions, scores
STAGES = {  # stage: the curves that tell, the first that was measured
    "score": ("w2s score", "scoring, default mode"),
    "groups": ("w2s groups", "20 neighbours of every point"),
    "report": ("report",),
}
LINEAR_FROM = {"groups": 300_000}


@dataclass(frozen=True)
class Rate:
    """How a stage grows: seconds and MB at a size, and their slopes."""

    stage: str
    source: str
    size: int
    seconds: float
    power: float
    memory_mb: float | None
    memory_power: float
    linear_from: int | None = None

    def time(self, n: int) -> float:
        """Seconds of n items."""
        most = n if self.linear_from is None else min(n, max(self.size, self.linear_from))
        return self.seconds * (most / self.size) ** self.power * (n / most)

    def memory(self, n: int) -> float | None:
        """MB of n items."""
        if self.memory_mb is None:
            return None
        return self.memory_mb * (n / self.size) ** self.memory_power


def encoding(rows: list[Row], device: str) -> Rate | None:
    """The encoding of MiniLM on a kind of device by default, or else the fastest measured one."""
    found = [
        row
        for row in rows
        if row.what.startswith("encoding") and bool(row.device) == (device == "gpu") and row.size
    ]
    if not found:
        return None
    usual = [row for row in found if row.what.endswith(", torch")]
    best = max(usual or found, key=lambda row: (row.size or 0) / row.seconds)
    return Rate(f"embed, {device.upper()}", best.what, best.size or 1, best.seconds, 1, None, 0)


def from_curve(stage: str, found: list[Row]) -> Rate:
    """The rate at a curve's largest size, and the slope that leads on from there."""
    last = last_decade(found)
    sizes = [row.size or 1 for row in last]
    memory = [row.memory_mb for row in last if row.memory_mb]
    largest = last[-1]
    return Rate(
        stage,
        largest.curve,
        largest.size or 1,
        largest.seconds,
        max(1.0, slope(sizes, [row.seconds for row in last])),
        largest.memory_mb,
        max(1.0, slope(sizes, memory)) if len(memory) == len(last) else 1.0,
        LINEAR_FROM.get(stage),
    )


def rates(rows: list[Row]) -> list[Rate]:
    """Return the rates of the stages that the results know, in the order of a run."""
    known = curves(rows)
    found = [encoding(rows, "cpu"), encoding(rows, "gpu")]
    for stage, names in STAGES.items():
        name = next((name for name in names if name in known), None)
        found.append(from_curve(stage, known[name]) if name else None)
    return [rate for rate in found if rate is not None]


def rate_table(found: list[Rate]) -> str:
    """The measured rates and slopes from which everything follows."""
    lines = ["| stage | measured | items | seconds | items a second | slope | MB | slope |"]
    lines.append("|---" * 8 + "|")
    for rate in found:
        memory = ("-", "-")
        if rate.memory_mb is not None:
            memory = (f"{rate.memory_mb:,.0f}", f"{rate.memory_power:.2f}")
        cells = (
            *(rate.stage, rate.source, f"{rate.size:,}", f"{rate.seconds:,.1f}"),
            *(f"{rate.size / rate.seconds:,.0f}", f"{rate.power:.2f}", *memory),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cost_table(found: list[Rate], cpu_price: float, gpu_price: float) -> str:
    """Time, memory and money of every stage at every size."""
    lines = [f"| stage | {' | '.join(f'{n:,} items' for n in SIZES)} |", "|---" * 4 + "|"]
    for rate in found:
        price = gpu_price if rate.stage.endswith("GPU") else cpu_price
        cells = []
        for n in SIZES:
            hours, memory = rate.time(n) / 3600, rate.memory(n)
            parts = [duration(3600 * hours), *([] if memory is None else [megabytes(memory)])]
            cells.append(", ".join([*parts, f"${hours * price:,.2f}"]))
        lines.append(f"| {rate.stage} | {' | '.join(cells)} |")
    disk = [n * (4 * D + ITEM_BYTES) / 1e9 for n in SIZES]
    shown = [f"{gb:,.1f} GB, ${gb * DISK_PRICE:,.2f} a month" for gb in disk]
    lines.append(f"| disk, {D} dimensions | {' | '.join(shown)} |")
    return "\n".join(lines)


def sums(found: list[Rate], cpu_price: float) -> str:
    """The arithmetic of one cell, and which stage dominates."""
    n = SIZES[0]
    by_stage = {rate.stage: rate.time(n) for rate in found if not rate.stage.endswith("GPU")}
    first = max(by_stage, key=lambda stage: by_stage[stage])
    share = by_stage[first] / sum(by_stage.values())
    score = next(rate for rate in found if rate.stage == "score")
    return (
        f"For example, `score` at {SIZES[1]:,} items: {score.seconds:,.1f} s × "
        f"({SIZES[1]:,} / {score.size:,})^{score.power:.2f} = {score.time(SIZES[1]):,.0f} s = "
        f"{score.time(SIZES[1]) / 3600:.2f} h; × ${cpu_price:.2f} = "
        f"${score.time(SIZES[1]) / 3600 * cpu_price:.2f}.\n\n"
        f"On the CPU `{first.partition(',')[0]}` dominates: {share:.0%} of the time of "
        f"{n:,} items."
    )


def duration(seconds: float) -> str:
    """Seconds in the unit in which they are read."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"


def megabytes(value: float) -> str:
    """Memory in the unit in which it is read."""
    return f"{value:,.0f} MB" if value < 1000 else f"{value / 1000:,.1f} GB"


def text(pieces: dict[str, Any], cpu_price: float, gpu_price: float) -> str:
    """Return the text between the marks of the page."""
    found = rates(collected(pieces))
    if not any(rate.stage == "score" for rate in found):
        raise SystemExit("the results have no scoring curve: run benchmarks/speed/suite.py first")
    machine = describe(next(iter(pieces.values()))["machine"])
    return "\n\n".join(
        (
            f"Measured on {machine}",
            rate_table(found),
            f"Estimated, with ${cpu_price:.2f} an hour for such a machine, ${gpu_price:.2f} for "
            f"one with a GPU, and ${DISK_PRICE:.2f} for a GB of disk a month:",
            cost_table(found, cpu_price, gpu_price),
            sums(found, cpu_price),
        )
    )


def main() -> None:
    """Write the tables into the page, or print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu-price", type=float, default=CPU_PRICE, help="Dollars an hour.")
    parser.add_argument("--gpu-price", type=float, default=GPU_PRICE, help="Dollars an hour.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--print", action="store_true", help="Print; leave the page as it is.")
    given = parser.parse_args()
    made = text(load(given.results), given.cpu_price, given.gpu_price)
    if given.print:
        print(made)
        return
    fill(PAGE, "costs", made)
    print(PAGE)


if __name__ == "__main__":
    main()
