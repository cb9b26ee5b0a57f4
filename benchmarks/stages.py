"""Time and memory of the commands themselves, `w2s score` and what follows it, at a few sizes.

`scaling.py` and `report.py` measure the same up to a million items; this is the part of them that
fits into the suite.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from _measure import Row, in_fresh_process
from report import make_run
from scaling import command, generate, idle_mb, measure

SIZES = (25_000, 50_000, 100_000)
STAGES = ("score", "groups", "forecast")


def growth(quick: bool = False) -> list[Row]:
    """Each command in a process of its own; memory beyond that of the imports."""
    rows = []
    idle = idle_mb()
    with tempfile.TemporaryDirectory() as folder:
        for n in (2000, 4000) if quick else SIZES:
            here = Path(folder) / str(n)
            generate(here, n)
            for stage in STAGES:
                got = measure(command(here, stage, None), here / "run", stage)
                name, memory = f"w2s {stage}", max(0.0, got.peak_mb - idle)
                what = f"{name}, {n:,} items"
                rows.append(Row(what, got.seconds, memory_mb=memory, size=n, curve=name))
    return rows


def _built(folder: Path) -> Callable[[], object]:
    from w2s_reports import build_report

    return lambda: build_report(folder)


def report(quick: bool = False) -> list[Row]:
    """Building the report of a run with every stage."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in (2000, 4000) if quick else (10_000, 30_000, 100_000):
            here = Path(folder) / str(n)
            here.mkdir()
            spent, memory = in_fresh_process(_built, make_run(here / "run", n))
            name = "report"
            rows.append(Row(f"{name}, {n:,} items", spent, memory_mb=memory, size=n, curve=name))
    return rows
