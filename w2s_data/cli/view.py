"""The stages of a pipeline while it runs: what is done, what runs, what is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import typer

from w2s_data.utils.progress import shared_bars

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

State = Literal["waiting", "running", "done", "fresh", "skipped", "failed", "interrupted"]
LOOKS: dict[State, tuple[str, str]] = {  # mark and style
    "waiting": ("·", "dim"),
    "running": ("›", "bold"),
    "done": ("✓", "green"),
    "fresh": ("=", "green"),
    "skipped": ("–", "yellow"),
    "failed": ("✗", "bold red"),
    "interrupted": ("✗", "bold red"),
}


@dataclass
class Line:
    """A stage: where it stands, for how many seconds it ran, and what it found."""

    name: str
    state: State = "waiting"
    seconds: float | None = None
    said: str = ""
    started: float = 0.0

    def begin(self) -> None:
        """Start the clock."""
        self.state, self.started = "running", time.perf_counter()

    def end(self, state: State) -> None:
        """Stop the clock; a state that was settled before stays."""
        if self.state == "running":
            self.state = state
        if self.state != "skipped":
            self.seconds = time.perf_counter() - self.started

    @property
    def spent(self) -> str:
        """Its seconds, up to now while it runs."""
        running = self.state == "running"
        seconds = time.perf_counter() - self.started if running else self.seconds
        return "" if seconds is None else f"{seconds:.1f} s"

    def __str__(self) -> str:
        return f"{self.name:<8}  {self.state:<7}  {self.spent:>7}  {self.said}".rstrip()


class View(AbstractContextManager["View"]):
    """One display of all stages on standard error, with one bar for the stage that runs.

    Parameters
    ----------
    names : sequence of str
        The stages, in their order.
    show_progress : bool or None
        None draws where standard error is a terminal and prints a line a stage elsewhere; False
        is silent.

    Examples
    --------
    >>> with View(["score"], show_progress=False) as view, view.stage("score") as line:
    ...     line.said = "overlap density 18.0%"
    >>> print(view.lines["score"].state)
    done
    """

    def __init__(self, names: Sequence[str], show_progress: bool | None = None) -> None:
        self.lines = {name: Line(name) for name in names}
        self._silent = show_progress is False
        self._drawn = not self._silent and sys.stderr.isatty()
        self._bars: Any = None
        self._live: Live | None = None
        self._open = ExitStack()

    @property
    def show_progress(self) -> bool:
        """What stages are to do about their own bars: they are drawn here or not at all."""
        return self._drawn

    def __enter__(self) -> View:
        if self._drawn:
            from rich.live import Live

            self._bars = self._open.enter_context(shared_bars())
            console = self._bars.console
            self._live = Live(console=console, get_renderable=self._render, redirect_stdout=False)
            self._open.enter_context(self._live)
        return self

    def __exit__(self, *reason: object) -> None:
        self._open.close()

    def skip(self, name: str, reason: str) -> None:
        """Show that a stage does not run, and why."""
        with self.stage(name) as line:
            line.state, line.said = "skipped", reason

    @contextmanager
    def stage(self, name: str) -> Iterator[Line]:
        """Show that a stage runs, and how it ended; the block may set its state and its words."""
        line = self.lines[name]
        line.begin()
        try:
            yield line
        except BaseException as error:
            line.end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        else:
            line.end("done")
        finally:
            self._tell(line)

    def _tell(self, line: Line) -> None:
        if self._live is not None:
            self._live.refresh()
        elif not self._silent:
            typer.echo(str(line), err=True)

    def _render(self) -> Any:
        from rich.console import Group

        return Group(self._table(), self._bars)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column()
        for line in self.lines.values():
            mark, style = LOOKS[line.state]
            table.add_row(
                Text(f"{mark} {line.name}", style),
                Text(line.state, style),
                line.spent,
                Text(line.said),
            )
        return table
