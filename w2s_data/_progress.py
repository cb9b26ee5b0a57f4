"""One progress bar a stage, with counts and rate; silent when nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(
    description: str, total: int, unit: str = "items", enabled: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances the bar by a number of units.

    Parameters
    ----------
    enabled : bool or None
        None draws the bar only when standard error is a terminal.

    Examples
    --------
    >>> with progress("score", total=10, enabled=False) as advance:
    ...     advance(10)
    """
    if enabled is None:
        enabled = sys.stderr.isatty()
    if not enabled or total == 0:
        yield lambda _: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    class Rate(TextColumn):
        def render(self, task):  # type: ignore[no-untyped-def]
            from rich.text import Text

            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} {unit}/s" if speed else "", style="progress.data.speed")

    bar = Progress(
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        Remaining(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda units: bar.advance(task, units)
