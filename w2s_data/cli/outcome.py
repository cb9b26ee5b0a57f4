"""What a stage leaves, and the command that tells of it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


def telling(
    stage: Callable[..., Outcome], tell: Callable[[dict[str, Any]], None]
) -> Callable[..., None]:
    """Make a command of a stage: what was found is printed, the report written anew."""

    @functools.wraps(stage)
    def command(*given: Any, **options: Any) -> None:
        outcome = stage(*given, **options)
        if outcome.fresh:
            known = stage_of(stage.__name__)
            logger.info("%s: nothing has changed since %s", known.name, outcome.run.finished(known))
        tell(outcome.summary)
        finish(outcome.run)

    return command
