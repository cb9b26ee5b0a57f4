"""Work for a cluster in tests: functions and encoders that its workers can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from w2s_data import TextEncoder
from w2s_data.compute.base import Advance
from w2s_data.compute.worker import own_threads
from w2s_data.encoders.base import Encoder, ItemError
from w2s_data.utils.typing import FloatArray, IntArray


def scaled(factor: float, block: FloatArray, advance: Advance) -> FloatArray:
    """The block times the factor; later blocks are faster."""
    time.sleep(0.2 / (1 + block[0]))
    advance(len(block))
    return factor * block


def threads(state: None, block: int, advance: Advance) -> int:  # noqa: ARG001
    """How many threads the work may use."""
    return own_threads()


def die_once(folder: str, block: int, advance: Advance) -> int:  # noqa: ARG001
    """Kill the process at block 1, unless one was killed before."""
    if block == 1:
        kill_once(Path(folder))
    return block


def kill_once(folder: Path) -> None:
    """SIGKILL to this process, the first time; what is killed leaves its number."""
    try:
        with (folder / "killed").open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def always_die(state: None, block: int, advance: Advance) -> None:  # noqa: ARG001
    """Kill the process."""
    os.kill(os.getpid(), signal.SIGKILL)


def too_large(state: None, block: int, advance: Advance) -> None:  # noqa: ARG001
    """Raise as numpy does where memory ends."""
    raise MemoryError("unable to allocate 1 EiB")


def unreadable(state: None, block: int, advance: Advance) -> None:  # noqa: ARG001
    """Raise as an encoder does for items that it cannot read."""
    raise ItemError([block], ["'item'"], "torn")


def wait(state: None, block: int, advance: Advance) -> None:  # noqa: ARG001
    """Do nothing, as in a deadlock."""
    time.sleep(60)


class Letters(Encoder):
    """Counts of the letters a to e of a text; a text "poison" kills the process."""

    kind: ClassVar[Any] = "text"

    def __init__(self, folder: str = "", always: bool = False) -> None:
        self.folder = folder
        self.always = always

    def spec(self) -> dict[str, Any]:
        """Nothing changes the numbers."""
        return {"encoder": "Letters"}

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        if self.folder and "poison" in items:
            if self.always:
                os.kill(os.getpid(), signal.SIGKILL)
            kill_once(Path(self.folder))
        advance(len(items))
        counts = [[text.count(letter) for letter in "abcde"] for text in items]
        return np.array(counts, dtype=np.float32).reshape(-1, 5)


class Fragile(TextEncoder):
    """A text encoder whose process is killed once, after a batch."""

    def __init__(self, model: str, folder: str, device: str = "cpu", dtype: str = "auto") -> None:
        super().__init__(model, device=device, dtype=dtype)
        self.folder = folder

    def encode_part(
        self, items: list[Any], part: int, n_parts: int, *, advance: Advance | None = None
    ) -> tuple[IntArray, FloatArray]:
        def advance_and_die(units: int) -> None:
            if advance is not None:
                advance(units)
            kill_once(Path(self.folder))

        return super().encode_part(items, part, n_parts, advance=advance_and_die)
