"""The report: seconds to build, peak memory, size of the page, first paint, over the size of a run.

Makes scored runs with every later stage, texts, sources and groups, and builds each one's page in a
process of its own. First paint is measured in Chromium, where there is one, on the page as a file.

    python benchmarks/speed/report.py --sizes 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from w2s_data import load_dataset
from w2s_data.compute.context import Compute
from w2s_data.run import Run
from w2s_data.stages import embed_stage, score_stage
from w2s_data.stages.graph import stage_of
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import ScoreSettings

SIZES = (10_000, 100_000, 1_000_000)
DIMENSION = 16
PAINTS = 5
WORDS = [
    *("quiet", "film", "earns", "tears", "without", "asking", "plot", "wanders", "middle", "final"),
    *(
        "act",
        "pays",
        "back",
        "every",
        "minute",
        "patience",
        "tired",
        "audience",
        "rainy",
        "evening",
    ),
]


def make_run(folder: Path, n: int, seed: int = 0) -> Path:
    """A run of `n` texts, scored, with what the later stages write."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    picked = rng.integers(0, len(WORDS), (n, 12))
    texts = [f"{i} " + " ".join(WORDS[w] for w in row) for i, row in enumerate(picked.tolist())]
    table = pd.DataFrame(
        {
            "id": [f"item-{i:08d}" for i in range(n)],
            "text": texts,
            "label": np.array(["negative", "positive"])[labels],
            "source": np.array(["web", "books", "forum", "crowd"])[rng.integers(0, 4, n)],
            "group": np.array(["short", "long"])[rng.integers(0, 2, n)],
        }
    )
    split = np.where(np.arange(n) < n // 20, "labelled", "pool")
    table["split"] = np.where(np.arange(n) >= n - n // 20, "test", split)
    dataset = load_dataset(
        table, item="text", id="id", label="label", source="source", group="group", split="split"
    )
    for name, signal in (("weak", 1.0), ("strong", 1.6)):
        features = rng.normal(size=(n, DIMENSION)).astype(np.float32)
        features[:, 0] += signal * (2 * labels - 1) * rng.integers(0, 2, n)
        np.save(folder.with_name(f"{name}.npy"), features)
    run = Run.create(folder, dataset)
    files = {f"{name}_features": folder.with_name(f"{name}.npy") for name in ("weak", "strong")}
    compute = Compute(progress=False)
    embed_stage(run, EmbedSettings(**files), compute)
    score_stage(run, ScoreSettings(teacher_l2=1.0), compute)
    add_later_stages(run)
    return folder


def add_later_stages(run: Run) -> None:
    """Write made-up results of stages whose cost is not measured here."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.w2s_reports.conftest import RunSpec
    from tests.w2s_reports.later_stages import STAGES

    for name, (_, files) in STAGES.items():
        with run.stage(stage_of(name), {}) as stage:
            for file, content in files(RunSpec(), "").items():
                if isinstance(content, pd.DataFrame):
                    stage.write_table(file, content)
                else:
                    stage.write_summary(file, content)


def build(folder: Path) -> dict[str, float]:
    """Build one page in this process."""
    from w2s_reports import build_report

    start = time.perf_counter()
    build_report(folder)
    return {
        "seconds": time.perf_counter() - start,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "page_mb": (folder / "report.html").stat().st_size / 1e6,
    }


def first_paint(page_path: Path) -> float | None:
    """Median milliseconds to the first contentful paint; None without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    said = "performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)"
    times: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(PAINTS):
            page = browser.new_page()
            page.goto(page_path.as_uri())
            while not (found := page.evaluate(said)):
                page.wait_for_timeout(20)
            times += found
            page.close()
        browser.close()
    return statistics.median(times)


def in_a_process(*arguments: object) -> str:
    """Run this script, which inherits this process's small peak memory; return its output."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Print one line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--keep", type=Path, help="Folder for the runs, kept.")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make is not None:
        make_run(given.make, given.sizes[0])
        return
    if given.build is not None:
        print(json.dumps(build(given.build)))
        return
    print("| items | build, s | peak memory, GB | page, MB | first paint, ms |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        root = given.keep or Path(temporary)
        for n in given.sizes:
            folder = root / f"{n}" / "run"
            if not Run.exists(folder):
                folder.parent.mkdir(parents=True, exist_ok=True)
                in_a_process("--make", folder, "--sizes", n)
            found = json.loads(in_a_process("--build", folder))
            paint = first_paint(folder / "report.html")
            shown = "-" if paint is None else f"{paint:.0f}"
            print(
                f"| {n:,} | {found['seconds']:.1f} | {found['peak_gb']:.2f} | "
                f"{found['page_mb']:.2f} | {shown} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
