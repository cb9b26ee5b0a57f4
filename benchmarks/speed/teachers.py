"""Time of ten teachers, encoding and everything else.

    python benchmarks/speed/teachers.py SCRATCH            # 100,000 texts, 20,000 of them labelled
    python benchmarks/speed/teachers.py SCRATCH --fit-encoder own
    python benchmarks/speed/teachers.py SCRATCH --items 20000

Texts of four classes and five sources are drawn from 2,000 words. A generalist, a specialist of
each source, one of each half of the classes, one of half of the rows and one with label noise learn
from the labelled rows with penalties by cross-validation; then one more joins them. All share one
encoder, or those of other rows each learn their own. Seconds of the processor stand beside those of
the clock, which says little on a busy machine.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.stages import teacher_features
from w2s_data.stages.settings import read_settings
from w2s_data.stages.teacher_settings import TeachSettings
from w2s_data.stages.teaching import teach_stage

CLASSES, SOURCES, WORDS, LENGTH = 4, 5, 2000, 20
ENCODER = "tfidf:32"


def texts(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return texts whose words depend on class and source, with the label of every row."""
    codes, sources = rng.integers(CLASSES, size=n), rng.integers(SOURCES, size=n)
    own = codes[:, None] * 100 + rng.integers(100, size=(n, LENGTH))
    site = 500 + sources[:, None] * 100 + rng.integers(100, size=(n, LENGTH))
    drawn = rng.random((n, LENGTH))
    other = rng.integers(WORDS, size=own.shape)
    words = np.where(drawn < 0.15, own, np.where(drawn < 0.3, site, other))
    names = np.array([f"word{i}" for i in range(WORDS)], dtype=object)
    split = np.array(["labelled", "pool", "pool", "pool", "test"], dtype=object)[np.arange(n) % 5]
    return pd.DataFrame(
        {
            "text": [" ".join(row) for row in names[words]],
            "label": codes.astype(str),
            "source": [f"s{k}" for k in sources],
            "split": split,
        }
    )


def teachers(fit_encoder: str) -> dict[str, dict[str, object]]:
    """Return ten teachers by name."""
    own = {"encoder": ENCODER, "fit_encoder": fit_encoder}
    lessons: dict[str, dict[str, object]] = {"all": {}}
    lessons |= {f"s{k}": {"source": [f"s{k}"]} for k in range(SOURCES)}
    lessons |= {"first": {"classes": ["0", "1"]}, "second": {"classes": ["2", "3"]}}
    lessons |= {"half": {"share": 0.5}, "noisy": {"label_noise": 0.2}}
    return {name: own | {"train_on": lesson} for name, lesson in lessons.items()}


def main() -> int:
    """Print the seconds of ten teachers, of the same again, and of an eleventh."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--fit-encoder", choices=("all", "own"), default="all")
    arguments = parser.parse_args()
    folder = arguments.scratch / "teachers"
    shutil.rmtree(folder, ignore_errors=True)
    frame = texts(arguments.items, np.random.default_rng(0))
    data = load_dataset(frame, item="text", label="label", source="source", split="split")
    run = Run.create(folder / "run", data)
    compute = Compute(device="cpu", progress=False)
    encoding: list[tuple[float, float]] = []
    encode = teacher_features.encode

    def timed(*given: object, **options: object) -> list[str]:
        start = now()
        notes = encode(*given, **options)  # type: ignore[arg-type]
        encoding.append(since(start))
        return notes

    teacher_features.encode = timed  # type: ignore[assignment]
    ten = teachers(arguments.fit_encoder)
    more = {"more": ten["half"] | {"train_on": {"share": 0.25}}}
    print(f"{arguments.items:,} items, {len(data.rows('labelled')):,} gold rows, {ENCODER}")
    print("| | encodings | encoding | everything else | of the processor |\n|---|---|---|---|---|")
    for name, own in (("ten teachers", ten), ("again", {}), ("one more", more)):
        encoding.clear()
        start = now()
        teach_stage(run, read_settings(TeachSettings, {"teacher": own}), compute)
        clock, busy = since(start)
        encoded, own_busy = (sum(part) for part in zip(*encoding, (0.0, 0.0), strict=True))
        print(
            f"| {name} | {len(encoding)} | {encoded:.1f} s | {clock - encoded:.1f} s | "
            f"{busy - own_busy:.1f} s |"
        )
    return 0


def now() -> tuple[float, float]:
    """Return seconds of the clock and of the processor."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds of both that have passed."""
    clock, busy = now()
    return clock - start[0], busy - start[1]


if __name__ == "__main__":
    raise SystemExit(main())
