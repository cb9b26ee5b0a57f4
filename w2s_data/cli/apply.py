"""The command that labels new data with a student of a run: apply."""

from __future__ import annotations

from typing import Annotated

import typer

from w2s_data.cli.options import with_options
from w2s_data.cli.output import say, tell
from w2s_data.cli.stages import RunFolder
from w2s_data.stages.apply_settings import ApplySettings
from w2s_data.stages.settings import ComputeSettings

New = Annotated[
    str,
    typer.Argument(
        help="New rows: a table with the columns of the run's data, or strong features as .npy."
    ),
]


@with_options
def apply(
    run: RunFolder,
    data: New,
    settings: ApplySettings,
    computing: ComputeSettings,
    progress: bool | None = None,
) -> None:
    """Label new rows with the student of a run: classes and probabilities, on any size."""
    from w2s_data.audit import computing as started
    from w2s_data.run import Run
    from w2s_data.stages.applying import apply_student
    from w2s_data.stages.checks import check_compute

    check_compute(computing)
    opened = Run.open(run)
    with started(computing, opened, progress) as compute:
        result = apply_student(opened, data, settings=settings, compute=compute)
    for line in result.lines():
        say(line)
    tell("apply", state="done", run=str(run), summary=result)
