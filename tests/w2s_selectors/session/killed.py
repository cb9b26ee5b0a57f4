"""Kill one selection again and again at random moments; says how often it was still running.

    python -m tests.w2s_selectors.session.killed FOLDER KILLS SEED

A table and two paid services. The services' bills and the checkpoint lie in FOLDER.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tests.w2s_selectors.pools import Service, strong, tables, weak
from w2s_selectors.result import SelectionResult
from w2s_selectors.selection import select_sources
from w2s_selectors.sources import CallableSource


def select(folder: Path, checkpoint: Path | None) -> SelectionResult:
    """The selection that is killed."""
    paid = [CallableSource(Service(folder / name, name), name) for name in ("fine", "noisy")]
    return select_sources(
        [*tables(("good",), 2000), *paid],
        budget=900,
        batch_size=5,
        objective="screen",
        policy="thompson",
        strong_encoder=strong,
        weak_model=weak,
        checkpoint=checkpoint,
        replays=0,
        progress=False,
        random_state=0,
    )


def main() -> None:
    """Fork a process that selects, kill it, and do so again."""
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    rng, killed = np.random.default_rng(int(sys.argv[3])), 0
    while killed < kills:
        child = os.fork()
        if child == 0:
            select(folder / "services", folder / "checkpoint")
            os._exit(0)
        time.sleep(rng.uniform(0.02, 0.5))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        killed += 1
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main()
