"""The stages of a pipeline while it runs: finished, running, waiting."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from w2s_data.audit import Observer
from w2s_data.audit import State as EndState
from w2s_data.cli.output import say, say_notes
from w2s_data.utils.progress import shared_bars

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from w2s_data.run import Run

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
    """A stage: its state, its seconds, and its result in one line."""

    name: str
    state: State = "waiting"
    started: float = 0.0
    seconds: float | None = None
    result: str = ""

    def begin(self) -> None:
        """Start the clock."""
        self.state, self.started = "running", time.perf_counter()

    def end(self, state: State, result: str = "") -> None:
        """Stop the clock."""
        self.state, self.result = state, result
        if state != "skipped":
            self.seconds = time.perf_counter() - self.started

    @property
    def spent(self) -> str:
        """Return its seconds, up to now while it runs."""
        running = self.state == "running"
        seconds = time.perf_counter() - self.started if running else self.seconds
        return "" if seconds is None else f"{seconds:.1f} s"

    def __str__(self) -> str:
        return f"{self.name:<8}  {self.state:<7}  {self.spent:>7}  {self.result}".rstrip()


class View(Observer, AbstractContextManager["View"]):
    """One display of all stages on standard error, with one bar for the stage that runs.

    Parameters
    ----------
    names : sequence of str
        The stages, in their order.
    progress : bool or None
        None draws where standard error is a terminal and prints one line per stage elsewhere;
        False is silent.

    Examples
    --------
    >>> with View(["embed"], progress=False) as view, view.stage("embed"):
    ...     view.end("embed", "done", {"weak": (1797, 9), "strong": (1797, 64)})
    >>> view.lines["embed"].result
    '1,797 items; weak features of 9 dimensions, strong of 64'
    """

    def __init__(self, names: Sequence[str], progress: bool | None = None) -> None:
        self.lines = {name: Line(name) for name in names}
        self._silent = progress is False
        self._drawn = not self._silent and sys.stderr.isatty()
        # Stages draw their bars into this display, or not at all.
        self.progress = self._drawn
        self._bars: Any = None
        self._live: Live | None = None
        self._open = ExitStack()

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

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show that a stage runs, and its end."""
        line = self.lines[name]
        line.begin()
        try:
            yield
        except BaseException as error:
            line.end("failed" if isinstance(error, Exception) else "interrupted")
            raise
        finally:
            self._show(line)

    def opened(self, run: Run) -> None:
        """Print the notes on the data of a new run."""
        say_notes(run)

    def end(self, name: str, state: EndState, summary: Mapping[str, Any] | str) -> None:
        """Show the result of a stage, or the reason why it was skipped."""
        from w2s_reports import stage_line

        # A report is described by its path, which is printed when the display is closed.
        described = isinstance(summary, str) or name == "report"
        text = str(summary) if isinstance(summary, str) else ""
        self.lines[name].end(state, text if described else stage_line(name, summary))  # type: ignore[arg-type]

    def _show(self, line: Line) -> None:
        if self._live is not None:
            self._live.refresh()
        elif not self._silent:
            say(str(line), err=True)

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
                Text(line.result),
            )
        return table
