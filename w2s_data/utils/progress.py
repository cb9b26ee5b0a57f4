"""One progress bar per stage, with counts and rate; none where stderr is not a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

# The display of all bars of a pipeline; without it every bar has its own. A context variable, so
# that pipelines in two threads keep their bars apart.
_shared: ContextVar[Progress | None] = ContextVar("shared", default=None)


@contextmanager
def progress(
    description: str, total: int, unit: str = "items", enabled: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by a number of units.

    Without `enabled` the bar is drawn only when standard error is a terminal.

    >>> with progress("score", total=10, enabled=False) as advance:
    ...     advance(10)
    """
    if enabled is None:
        enabled = sys.stderr.isatty()
    if not enabled or total == 0:
        yield lambda _: None
        return

    shared = _shared.get()
    if shared is not None:
        task = shared.add_task(description, total=total, unit=unit)
        try:
            yield lambda units: shared.advance(task, units)
        finally:
            shared.remove_task(task)
        return
    with bars() as own:
        task = own.add_task(description, total=total, unit=unit)
        yield lambda units: own.advance(task, units)


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
            return Text(f"{speed:,.0f} {unit}/s" if speed else "", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description:>10}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        Remaining(),
        console=Console(stderr=True),
    )
