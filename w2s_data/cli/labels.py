"""Commands of the labelling loop: plan, next, export."""

from __future__ import annotations

from w2s_data.cli.options import with_options
from w2s_data.cli.output import say
from w2s_data.cli.stages import RunFolder, add_stage
from w2s_data.errors import listing
from w2s_data.stages.graph import EXPORT, NEXT, PLAN
from w2s_data.stages.settings import ExportSettings, NextSettings, OpenedSettings, PlanSettings


@with_options
def plan(
    run: RunFolder,
    settings: PlanSettings,
    running: OpenedSettings,
    progress: bool | None = None,
) -> None:
    """Say what to buy next: gold labels, weak labels, another teacher or another student."""
    add_stage(PLAN, run, settings, running, progress)


@with_options
def next_rows(
    run: RunFolder,
    settings: NextSettings,
    running: OpenedSettings,
    progress: bool | None = None,
) -> None:
    """Choose the rows that a person should label now, and write a table to fill in."""
    result = add_stage(NEXT, run, settings, running, progress)
    path = result.summary["path"]
    if not path:
        return
    say(f"table to fill in: {path}")
    classes = result.summary["class_names"]
    say(f"its column label: {listing(classes) if classes else 'a number'}")
    say(f"then: w2s run CONFIG --labels {path}, or w2s score {run} --labels {path}")


@with_options
def export(
    run: RunFolder,
    settings: ExportSettings,
    running: OpenedSettings,
    progress: bool | None = None,
) -> None:
    """Write labelled rows and pool with the label to train on, its weight, trust, and why."""
    result = add_stage(EXPORT, run, settings, running, progress)
    say(f"labels: {result.summary['path']}")
