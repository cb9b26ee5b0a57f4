"""What a stage leaves, and the command that tells of it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from w2s_data.cli.inputs import finish
from w2s_data.stages.graph import stage_of

if TYPE_CHECKING:
    from w2s_data.run import Run

logger = logging.getLogger("w2s_data")


@dataclass(frozen=True)
class Outcome:
    """The run that a stage was added to, and what the stage found."""

    run: Run
    summary: dict[str, Any]
    fresh: bool = False


def telling(stage: Callable[..., Outcome]) -> Callable[..., None]:
    """Wrap a stage as a command that prints its summary and rewrites the report."""

    @functools.wraps(stage)
    def command(*given: Any, **options: Any) -> None:
        from w2s_reports import render_stage

        outcome = stage(*given, **options)
        if outcome.fresh:
            known = stage_of(stage.__name__)
            logger.info("%s: nothing has changed since %s", known.name, outcome.run.finished(known))
        typer.echo(render_stage(stage.__name__, outcome.summary), nl=False)
        finish(outcome.run)

    return command
