"""The map drawn by a second process, while the stages between scores and report run.

UMAP takes two seconds to import, and more to compile where it is first used.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from w2s_data.compute.context import Compute
from w2s_data.compute.memory import MemoryLimit
from w2s_data.errors import InputError
from w2s_data.run import Run
from w2s_data.stages.graph import PROJECTION
from w2s_reports.map import draw_into, projection_stage, settings_of


class MapAhead:
    """A map of a run that a second process draws into a folder."""

    def __init__(self, run: Run, compute: Compute, folder: Path) -> None:
        self.run, self.compute, self.folder = run, compute, folder
        arguments = [str(run.path), str(folder), str(compute.memory.total), str(compute.seed)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            stdin=subprocess.DEVNULL,
            # It would write between the lines of the stages; where it fails, the map is drawn
            # here, and fails in plain sight.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def finish(self) -> None:
        """Wait for the map and write it into the run; without one the report draws it."""
        # Where no map can be drawn, the report gives the reason.
        with suppress(InputError):
            if self.process.wait() == 0:
                projection_stage(self.run, self.compute, drawn=self.folder)


@contextmanager
def drawing(run: Run, compute: Compute) -> Iterator[MapAhead | None]:
    """Start to draw the map of a scored run, unless that is not worth a process of its own."""
    # Where it is imported it takes half a second, which is less than a process takes to start.
    if "umap" in sys.modules or run.is_fresh(PROJECTION, settings_of(compute)):
        yield None
        return
    with TemporaryDirectory() as folder:
        ahead = MapAhead(run, compute, Path(folder))
        try:
            yield ahead
        finally:
            ahead.process.kill()
            ahead.process.wait()


def main(folder: str, into: str, memory: str, seed: str) -> None:
    """Draw the map of a run into a folder."""
    # No part of a map is computed on a GPU, whose context would take a second.
    compute = Compute(device="cpu", memory=MemoryLimit.parse(memory), seed=int(seed))
    _import_pynndescent()
    draw_into(Path(into), Run.open(folder), compute)


def _import_pynndescent() -> None:
    """Import the search for neighbours that UMAP imports, but do not let numba compile it.

    That takes half a minute where it is first used, and a map has its neighbours already. Only in a
    process that draws a map and ends: elsewhere such a search would be slow from then on.
    """
    # Without these the map has no UMAP, and gives the reason.
    with suppress(ImportError):
        from numba.core import config

        switches = vars(config)
        switches["DISABLE_JIT"] = True
        try:
            import_module("pynndescent")
        finally:
            switches["DISABLE_JIT"] = False


if __name__ == "__main__":
    main(*sys.argv[1:])
