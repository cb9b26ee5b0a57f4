"""Time and memory of the commands themselves, `w2s score` and what follows it, at a few sizes.

`scaling.py`, `report.py` and `ray_engine.py` measure more of it, up to a million items and with a
worker that is killed; this is the part that fits into the suite.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from measure import Row, compared, in_fresh_process

STAGES = ("score", "groups", "forecast")
SIZES = {
    25_000: STAGES,
    50_000: STAGES,
    100_000: STAGES,
    300_000: ("score", "groups"),  # from here on a search visits a bounded number of points
    1_000_000: ("score",),
}


def growth(quick: bool = False) -> list[Row]:
    """Each command in a process of its own; memory beyond that of the imports."""
    from scaling import command, generate, idle_mb, measure

    rows = []
    idle = idle_mb()
    with tempfile.TemporaryDirectory() as folder:
        for n, stages in ({2000: STAGES, 4000: STAGES} if quick else SIZES).items():
            here = Path(folder) / str(n)
            generate(here, n)
            for stage in stages:
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
    from report import make_run

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for n in (2000, 4000) if quick else (10_000, 30_000, 100_000):
            here = Path(folder) / str(n)
            here.mkdir()
            spent, memory = in_fresh_process(_built, make_run(here / "run", n))
            name = "report"
            rows.append(Row(f"{name}, {n:,} items", spent, memory_mb=memory, size=n, curve=name))
    return rows


def ray_workers(quick: bool = False) -> list[Row]:
    """Encoding by one and two workers of Ray, to the bytes of one process.

    Both have encoded a little before: a worker imports what it needs once, as this process does.
    """
    from embedding import minilm_folder, sentences
    from ray_engine import measure

    from w2s_data import TextEncoder
    from w2s_data.compute.base import LocalEngine
    from w2s_data.compute.engines import make_engine

    texts, model = sentences(300 if quick else 8192), minilm_folder()
    rows = []
    for number in (1, 2):
        times: list[list[float]] = [[], []]
        with make_engine("ray", workers=number) as engine:
            places = engine, LocalEngine()
            for place in places:
                measure(texts[:200], place, TextEncoder(model, device="cpu"))
            for _ in range(1 if quick else 3):
                runs = [measure(texts, place, TextEncoder(model, device="cpu")) for place in places]
                if runs[0][1] != runs[1][1]:
                    raise SystemExit("the stores differ")
                for seconds, run in zip(times, runs, strict=True):
                    seconds.append(run[0])
        what = f"embedding {len(texts):,} sentences, Ray, {number} worker{'s' * (number > 1)}"
        rows.append(compared(what, times[0], "this process", times[1]))
    return rows
