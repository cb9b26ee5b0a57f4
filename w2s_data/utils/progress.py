"""One progress bar per stage, with counts and rate; where none can be drawn, a line a minute."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

logger = logging.getLogger("w2s_data")

SECONDS_PER_LINE = 60
# The display of all bars of a pipeline; without it every bar has its own. A context variable, so
# that pipelines in two threads keep their bars apart.
_shared: ContextVar[Progress | None] = ContextVar("shared", default=None)


class Advance(Protocol):
    """Marks units as done; a note says more, such as the loss of a training."""

    def __call__(self, units: int, note: str = "") -> None:
        """Advance by a number of units."""


@contextmanager
def progress(
    description: str, total: int, unit: str = "items", enabled: bool | None = None
) -> Iterator[Advance]:
    """Yield a function that advances the bar by a number of units.

    Without `enabled` a bar is drawn on a terminal and in a notebook with ipywidgets; elsewhere a
    line a minute goes to the log.

    >>> with progress("score", total=10, enabled=False) as advance:
    ...     advance(10)
    """
    if enabled is False or total == 0:
        yield no_advance
    elif enabled is None and not (sys.stderr.isatty() or _in_notebook()):
        yield _Lines(description, total, unit)
    elif (shared := _shared.get()) is not None:
        task = shared.add_task(description, total=total, unit=unit, note="")
        try:
            yield lambda units, note="": shared.update(task, advance=units, note=note)
        finally:
            shared.remove_task(task)
    else:
        # Bars inside this one share its display: two displays would write over each other.
        with shared_bars() as own, own:
            task = own.add_task(description, total=total, unit=unit, note="")
            yield lambda units, note="": own.update(task, advance=units, note=note)
            own.refresh()  # a notebook is not drawn again at the end


def _in_notebook() -> bool:
    """Return whether rich can draw into the output of a notebook's cell."""
    if "ipykernel" not in sys.modules or importlib.util.find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console().is_jupyter


def no_advance(units: int, note: str = "") -> None:
    """Show nothing."""


class _Lines:
    """Writes a line a minute to the log."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        self.name, self.total, self.unit = description, total, unit
        self.done = self.first = 0
        self.start = self.last = time.monotonic()

    def __call__(self, units: int, note: str = "") -> None:
        self.done += units
        now = time.monotonic()
        if not self.first:  # units of an earlier run come at once: they say nothing of the speed
            self.first, self.start = self.done, now
        if now - self.last < SECONDS_PER_LINE or self.done == self.first:
            return
        self.last = now
        left = (now - self.start) / (self.done - self.first) * (self.total - self.done)
        parts = [f"{self.done:,} of {self.total:,} {self.unit}", note, f"{duration(left)} left"]
        logger.info("%s: %s", self.name, ", ".join(part for part in parts if part))


def duration(seconds: float) -> str:
    """Format a time for people.

    >>> duration(42), duration(400), duration(9000)
    ('42 s', '7 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def shared_bars() -> Iterator[Progress]:
    """Yield a display, drawn by the caller, in which all bars appear inside the block."""
    display = bars()
    token = _shared.set(display)
    try:
        yield display
    finally:
        _shared.reset(token)


def bars() -> Progress:
    """Make a display of bars with counts, rate and remaining time, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    class Rate(TextColumn):
        def render(self, task):  # type: ignore[no-untyped-def]
            from rich.text import Text

            # After the last step rich reports the speed in another field.
            speed, unit = task.finished_speed or task.speed, task.fields["unit"]
            told = f"{speed:,.0f} {unit}/s" if speed and speed >= 1 else ""
            return Text(told, style="progress.data.speed")

    return Progress(
        TextColumn("{task.description:>10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        Remaining(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
    )
