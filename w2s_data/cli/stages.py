"""Commands that run one stage: embed, teach, score, forecast, select, gain, groups."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2s_data.cli.options import with_options
from w2s_data.cli.output import say, say_notes, tell
from w2s_data.errors import InputError, RunError
from w2s_data.stages.gain_settings import GainSettings
from w2s_data.stages.graph import (
    EMBED,
    FORECAST,
    GAIN,
    GROUPS,
    PAGE,
    SCORE,
    SELECT,
    SWEEP,
    TEACH,
    function_of,
)
from w2s_data.stages.models import EmbedSettings
from w2s_data.stages.settings import (
    DataSettings,
    ForecastSettings,
    GroupSettings,
    OpenedSettings,
    RunSettings,
    ScoreSettings,
    SelectSettings,
    Settings,
)
from w2s_data.stages.sweep_settings import SweepSettings
from w2s_data.stages.teacher_settings import TeachSettings

if TYPE_CHECKING:
    from w2s_data.run import Run
    from w2s_data.utils.intervals import Estimate
    from w2s_data.utils.stage import Stage, StageResult

logger = logging.getLogger("w2s_data")

SHOWN = 4  # sources in a line of progress

Data = Annotated[str, typer.Argument(help=str(DataSettings.model_fields["path"].description))]
RunFolder = Annotated[Path, typer.Argument(help="Run directory, made by `w2s score`.")]


@with_options
def embed(
    data: Data,
    columns: DataSettings,
    models: EmbedSettings,
    running: RunSettings,
    progress: bool | None = None,
) -> None:
    """Compute the strong and weak features of every item; resumes where it was stopped."""
    _finish(_make(EMBED, data, columns, models, running, progress))


@with_options
def teach(
    data: Data,
    columns: DataSettings,
    models: EmbedSettings,
    settings: TeachSettings,
    running: RunSettings,
    progress: bool | None = None,
) -> None:
    """Make weak labels by several teachers; one that has not changed is kept."""
    _finish(_make(TEACH, data, columns, models, running, progress, teaching=settings))


@with_options
def score(
    data: Data,
    columns: DataSettings,
    models: EmbedSettings,
    settings: ScoreSettings,
    teachers: TeachSettings,
    running: RunSettings,
    progress: bool | None = None,
) -> None:
    """Score a data set for overlap density, overall, by source and by group."""
    _finish(_make(SCORE, data, columns, models, running, progress, settings, teachers))


@with_options
def select(
    data: Data,
    columns: DataSettings,
    models: EmbedSettings,
    settings: SelectSettings,
    running: RunSettings,
    progress: bool | None = None,
) -> None:
    """Choose which source to query next, round by round, within a budget."""
    _finish(_make(SELECT, data, columns, models, running, progress, settings))


@with_options
def forecast(
    run: RunFolder,
    settings: ForecastSettings,
    running: OpenedSettings,
    progress: bool | None = None,
) -> None:
    """Forecast accuracy of teacher and student and the gain, before any training."""
    add_stage(FORECAST, run, settings, running, progress)


@with_options
def gain(
    run: RunFolder, settings: GainSettings, running: OpenedSettings, progress: bool | None = None
) -> None:
    """Train the student by several methods and measure its gain over the teacher."""
    add_stage(GAIN, run, settings, running, progress)


@with_options
def groups(
    run: RunFolder, settings: GroupSettings, running: OpenedSettings, progress: bool | None = None
) -> None:
    """Describe groups and sources, leakage, reliability, and the cost of unequal shares."""
    add_stage(GROUPS, run, settings, running, progress)


@with_options
def sweep(
    run: RunFolder, settings: SweepSettings, running: OpenedSettings, progress: bool | None = None
) -> None:
    """Measure a figure of the papers on the run's own rows, beside what theory predicts."""
    add_stage(SWEEP, run, settings, running, progress)


def _make(
    stage: Stage,
    data: str,
    columns: DataSettings,
    models: EmbedSettings,
    running: RunSettings,
    progress: bool | None,
    settings: Settings | None = None,
    teaching: TeachSettings | None = None,
) -> Run:
    """Open the run that `data` is or make one, embed it, and run a stage."""
    from w2s_data.audit import computing
    from w2s_data.stages.checks import Known, check_compute, check_stages
    from w2s_data.stages.embedding import embed_stage, planned_roles
    from w2s_data.stages.opening import open_run
    from w2s_data.stages.teacher_store import is_taught
    from w2s_data.stages.teaching import check_origin, columns_read, planned_teachers

    teaching = teaching or TeachSettings()
    planned: dict[str, Any] = {EMBED.name: models, TEACH.name: teaching}
    if stage not in (EMBED, TEACH):
        planned |= {SCORE.name: ScoreSettings(), stage.name: settings}
    check_compute(running)
    check_origin(columns, teaching)
    check_stages(planned)
    keep = columns_read(teaching)
    run = open_run(columns.model_copy(update={"path": data}), running, models.strong, keep)
    say_notes(run)
    task = run.dataset().task
    taught = bool(planned_teachers(run, teaching))
    if stage is TEACH and not (taught or is_taught(run)):
        raise InputError("no teacher to ask: give one with --teacher, such as small=tfidf:16")
    check_stages(planned, Known(run.dataset(), planned_roles(run, models), taught))
    with computing(running, run, progress) as compute:
        result = embed_stage(run, models, compute, overwrite=running.overwrite)
        if stage is EMBED and not result.summary:
            raise InputError("nothing to embed: give an encoder with --weak, --strong or both")
        extra: dict[str, Any] = {}
        if stage is SELECT:
            if not run.follows(SCORE):
                _show(run, SCORE, function_of(SCORE, task)(run, None, compute))
            if compute.progress is None:  # a line per round, where nothing else is drawn
                dense = isinstance(settings, SelectSettings) and settings.objective == "overlap"
                extra["on_round"] = partial(_print_round, note=" (sampling only)" * dense)
        if stage is not EMBED and (taught or is_taught(run)):
            result = function_of(TEACH, task)(run, teaching, compute)
        if stage not in (EMBED, TEACH):
            result = function_of(stage, task)(run, settings, compute, **extra)
        compute.tracking.stage(stage.name, result.summary)
    _show(run, stage, result)
    return run


def add_stage(
    stage: Stage,
    folder: Path,
    settings: Settings,
    running: OpenedSettings,
    progress: bool | None,
) -> StageResult:
    """Run a stage on an existing run, print its result and rewrite the report."""
    from w2s_data.audit import computing
    from w2s_data.run import Run
    from w2s_data.stages.checks import Known, check_compute, check_stages, check_writable
    from w2s_data.stages.embedding import planned_roles
    from w2s_data.stages.teacher_store import is_taught

    check_compute(running)
    try:
        run = Run.open(folder, wait=running.wait)
    except RunError:
        check_stages({stage.name: settings})  # said first, as on a run that exists
        raise
    # A mistyped model costs no reading of the table.
    task = run.manifest["data"].get("task", "classification")
    check_stages({stage.name: settings}, Known(task=task))
    check_writable(run.path)
    known = Known(run.dataset(), planned_roles(run, EmbedSettings()), is_taught(run))
    check_stages({stage.name: settings}, known)
    if running.seed is not None:
        run.seed = running.seed
    with computing(running, run, progress) as compute:
        result = function_of(stage, task)(run, settings, compute)
        compute.tracking.stage(stage.name, result.summary)
    _show(run, stage, result)
    _finish(run)
    return result


def _show(run: Run, stage: Stage, result: StageResult) -> None:
    """Print the result of a stage, and say so where nothing had changed."""
    from w2s_reports import render_stage

    if result.fresh:
        logger.info("%s: nothing has changed since %s", stage.name, run.finished(stage))
    say(render_stage(stage.name, result.summary), nl=False)
    state = "fresh" if result.fresh else "done"
    tell(stage.name, state=state, run=str(run.path), summary=result.summary)


def _finish(run: Run) -> None:
    """Rewrite the report of a run, and print where both are."""
    from w2s_reports import build_report

    build_report(run.path, thorough=False)
    say(f"run: {run.path}   report: {run.path / PAGE}")


def _print_round(row: dict[str, Any], rewards: Mapping[str, Estimate], *, note: str = "") -> None:
    """Print one line per round to standard error: the query, and the best sources so far."""
    known = sorted(
        (item for item in rewards.items() if not math.isnan(item[1].value)),
        key=lambda item: -item[1].value,
    )
    best = ", ".join(
        f"{name} {reward.value:.2f} [{reward.low:.2f}, {reward.high:.2f}]"
        for name, reward in known[:SHOWN]
    )
    stopped = f"; stopped: {', '.join(row['stopped'])}" if row["stopped"] else ""
    say(
        f"round {row['round'] + 1:3d}: {row['kept']:,} from {row['source']}, {row['spent']:g} "
        f"spent; {best + note if best else 'no estimate yet'}{stopped}",
        err=True,
    )
