"""Speed and loss of a training, as a line for people."""

from __future__ import annotations

import logging
import time

from w2s_data.utils.progress import Advance, duration

logger = logging.getLogger("w2s_data")

TIMED = 3  # steps whose time the estimate rests on; the first is left out, since it warms up
WORTH_SAYING = 60  # seconds below which nobody waits


class Meter:
    """Advances a progress bar by steps, with loss, rate and tokens per second."""

    def __init__(self, name: str, n_steps: int, advance: Advance) -> None:
        self.name, self.n_steps, self.advance = name, n_steps, advance
        self.steps = self.tokens = 0
        self.start = time.monotonic()

    def resume(self, step: int) -> None:
        """Note the steps that an earlier run took."""
        if step:
            self.advance(step)
        self.n_steps -= step

    def add(self, tokens: int, loss: float, rate: float) -> None:
        """Note a step over so many real tokens."""
        self.steps += 1
        if self.steps == 1:
            self.start = time.monotonic()
            self.advance(1)
            return
        self.tokens += tokens
        taken = max(time.monotonic() - self.start, 1e-9)
        if self.steps == 1 + TIMED:
            left = taken / TIMED * self.n_steps
            if left >= WORTH_SAYING:
                logger.info("%s: %d steps, about %s", self.name, self.n_steps, duration(left))
        speed = f"{self.tokens / taken:,.0f} tokens/s"
        self.advance(1, f"loss {loss:.3f}, rate {rate:.1e}, {speed}")
