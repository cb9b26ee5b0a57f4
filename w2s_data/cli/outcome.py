"""What a stage leaves, and the command that tells of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from w2s_data.cli.inputs import finish

if TYPE_CHECKING:
    from w2s_data.run import Run


@dataclass(frozen=True)
class Outcome:
    """The run that a stage was added to, and what the stage found."""

    run: Run
    summary: dict[str, Any]


def telling(
    stage: Callable[..., Outcome], tell: Callable[[dict[str, Any]], None]
) -> Callable[..., None]:
    """Make a command of a stage: what was found is printed, the report written anew."""

    @functools.wraps(stage)
    def command(*given: Any, **options: Any) -> None:
        outcome = stage(*given, **options)
        tell(outcome.summary)
        finish(outcome.run)

    return command
