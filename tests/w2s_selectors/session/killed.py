"""Kill one selection again and again at random moments; says how often it was still running.

    python -m tests.w2s_selectors.session.killed FOLDER KILLS SEED PROCESSES

So many processes select at once, and the oldest is killed in its turn; without kills all end. A
table and two paid services. The services' bills and the checkpoint lie in FOLDER.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tests.forks import forked
from tests.w2s_selectors.pools import Service, strong, tables, weak
from w2s_selectors.result import SelectionResult
from w2s_selectors.selection import select_sources
from w2s_selectors.sources import CallableSource

# A selection in which nobody waits is over in a second, before the kills are. A tenth of a second
# for each of its eighty paid answers makes it last on any machine for longer than they take.
PAUSE = 0.1


class SlowService(Service):
    """A service that takes its time."""

    def __call__(self, n: int, request: str) -> list[tuple[str, str]]:
        time.sleep(PAUSE)
        return super().__call__(n, request)


def select(
    folder: Path, checkpoint: Path | None, service: type[Service] = Service
) -> SelectionResult:
    """The selection that is killed."""
    paid = [CallableSource(service(folder / name, name), name) for name in ("fine", "noisy")]
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
    """Fork processes that select, kill the oldest, and do so again; the last ones may end."""
    folder, kills, at_once = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[4])
    rng, killed = np.random.default_rng(int(sys.argv[3])), 0
    children = [] if kills else [_selecting(folder, Service) for _ in range(at_once)]
    while killed < kills:
        while len(children) < at_once:
            children.append(_selecting(folder, SlowService))
        time.sleep(rng.uniform(0.02, 0.5))
        child = children.pop(0)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        killed += 1
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.stdout.write(f"{killed} {sum(map(bool, ended))}\n")


def _selecting(folder: Path, service: type[Service]) -> int:
    return forked(lambda: select(folder / "services", folder / "checkpoint", service))


if __name__ == "__main__":
    main()
