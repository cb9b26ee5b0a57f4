"""The pipeline, declared once: every stage with its inputs, files, schema, command and hints.

The run directory, the commands, the configuration, the report and the tests read it from here. A
stage above this package (the selection, the map, the report) is named by its function, which is
imported when it runs, so that no arrow points up.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from w2s_data.errors import NotApplicableError, UnscoredError, unknown
from w2s_data.sweep.options import Over
from w2s_data.utils.stage import ITEMS, WEAK_PROBA, WEAK_VALUES, Stage, StageResult

if TYPE_CHECKING:
    from w2s_data.data.columns import Task
    from w2s_data.run import Run

TEACHERS_SUMMARY = "teachers.json"
TEACHER_COLUMNS = "teachers/columns.parquet"  # of the original table, that teachers read
OVERLAP = "overlap.json"
SCORES = "scores.parquet"
POSTERIOR = "posterior.parquet"
POSTERIOR_SUMMARY = "posterior.json"
RELIABILITY = "reliability.json"
SHIFT_SUMMARY = "shift.json"
FORECAST_SUMMARY = "forecast.json"
DISCREPANCY = "discrepancy.json"
SELECTION = "selection.json"
TRACE = "selection.parquet"
BASELINES = "baselines.parquet"
GAIN_SUMMARY = "gain.json"
GAIN_TABLE = "gain.parquet"
PREDICTIONS = "predictions.parquet"
# Folders of the students that a run keeps.
BEST, NAIVE = "best", "naive"
STUDENTS = {BEST: "students/best", NAIVE: "students/naive"}
GROUPS_SUMMARY = "groups.json"
GROUPS_TABLE = "groups.parquet"
SPURIOUS = "spurious.json"
DUPLICATES = "duplicates.parquet"
NEIGHBORS = "neighbors.faiss"
NEXT_SUMMARY = "next.json"
NEXT_TABLE = "next.parquet"
PLAN_SUMMARY = "plan.json"
SWEEP_SUMMARY = "sweep.json"
RELABELLED = "relabelled.parquet"
RELABELLED_SUMMARY = "relabelled.json"
MAP = "projection.json"
POSITIONS = "projection.parquet"
PAGE = "report.html"


def sweep_table(over: str) -> str:
    """Return the name of a sweep's table.

    >>> sweep_table("eta")
    'sweep-eta.csv'
    """
    return f"sweep-{over}.csv"


EMBED = Stage(
    "embed",
    needs=(ITEMS.name,),
    command="w2s embed RUN",
    function="w2s_data.stages.embedding:embed_stage",
    check="w2s_data.stages.embedding:check_embed",
)
TEACH = Stage(
    "teach",
    needs=(ITEMS.name,),
    uses=(EMBED.name,),
    files={TEACHERS_SUMMARY: "adds weak labels of several teachers"},
    optional=(WEAK_PROBA, WEAK_VALUES, TEACHER_COLUMNS),
    command="w2s teach RUN",
    function="w2s_data.stages.teaching:teach_stage",
    check="w2s_data.stages.teaching:check_teach",
    values="w2s_data.stages.values.teaching:teach_values",
    values_check="w2s_data.stages.values.teaching:check_value_teachers",
)
SCORE = Stage(
    "score",
    needs=(ITEMS.name, EMBED.name),
    uses=(TEACH.name,),
    files={
        OVERLAP: "adds the region of every item, the overlap density, sources and groups",
        SCORES: "adds the region of every item",
    },
    optional=(
        *(WEAK_PROBA, WEAK_VALUES, POSTERIOR, POSTERIOR_SUMMARY, RELIABILITY, SHIFT_SUMMARY),
    ),
    schema=2,
    command="w2s score RUN",
    function="w2s_data.stages.scoring:score_stage",
    check="w2s_data.stages.scoring:check_score",
    values="w2s_data.stages.values.scoring:score_values",
    values_check="w2s_data.stages.values.scoring:check_value_score",
)
FORECAST = Stage(
    "forecast",
    needs=(ITEMS.name, EMBED.name),
    uses=(TEACH.name,),
    files={
        FORECAST_SUMMARY: ("adds what training is expected to gain, before any of it is paid for"),
        DISCREPANCY: (
            "adds how much of the teacher's error the strong features can undo, and how many "
            "pool items that takes"
        ),
    },
    command="w2s forecast RUN",
    function="w2s_data.stages.forecasting:forecast_stage",
    check="w2s_data.stages.forecasting:check_forecast",
    values="w2s_data.stages.values.forecasting:forecast_values",
    values_check="w2s_data.stages.values.forecasting:check_value_forecast",
)
SELECT = Stage(
    "select",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    files={
        SELECTION: "adds which sources the next items should come from",
        TRACE: "adds every round of the selection",
    },
    optional=(BASELINES,),
    command="w2s select RUN",
    function="w2s_selectors.stage:select_stage",
    check="w2s_selectors.stage:check_select",
    no_values="the selection screens sources by how well classes follow from features: compare the "
    "weak_mse of each source in overlap.json instead",
)
GAIN = Stage(
    "gain",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    compares=(FORECAST.name,),
    files={
        GAIN_SUMMARY: "trains students and measures what they gain over the teacher",
        GAIN_TABLE: "adds the gain of every method and seed",
        PREDICTIONS: "trains students and finds the items on which they contradict the teacher",
    },
    schema=4,
    command="w2s gain RUN",
    function="w2s_data.stages.training:gain_stage",
    check="w2s_data.stages.training:check_gain",
    values="w2s_data.stages.values.training:gain_values",
    values_check="w2s_data.stages.values.training:check_value_gain",
)
GROUPS = Stage(
    "groups",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    files={
        GROUPS_SUMMARY: (
            "adds each group's share of the labelled set and of the pool, leaks, and what "
            "unequal shares cost"
        ),
        SPURIOUS: "adds the price of unequal shares",
        GROUPS_TABLE: "adds the group of every item",
        DUPLICATES: "finds items that are nearly the same, across splits first",
    },
    optional=(NEIGHBORS,),
    schema=2,
    command="w2s groups RUN",
    function="w2s_data.stages.grouping:groups_stage",
    check="w2s_data.stages.grouping:check_groups",
    values="w2s_data.stages.values.grouping:group_values",
)
NEXT = Stage(
    "next",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    files={
        NEXT_SUMMARY: "chooses the rows that a person should label now, as a table to fill in",
        NEXT_TABLE: "adds the rows to label now",
    },
    command="w2s next RUN",
    function="w2s_data.stages.labelling:next_stage",
    check="w2s_data.stages.labelling:check_next",
    values="w2s_data.stages.values.labelling:next_values",
    values_check="w2s_data.stages.values.labelling:check_value_next",
)
PLAN = Stage(
    "plan",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    files={
        PLAN_SUMMARY: "says what gold labels, weak labels and other models are worth, and how to "
        "split a budget"
    },
    command="w2s plan RUN --budget 100 --gold-cost 0.5 --weak-cost 0.001",
    function="w2s_data.stages.planning:plan_stage",
    check="w2s_data.stages.planning:check_plan",
    no_values="its learning curves are of accuracies: compare forecasts with fewer and more "
    "gold values instead",
)
EXPORT = Stage(
    "export",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    uses=(SELECT.name,),
    files={
        RELABELLED_SUMMARY: "counts the labels that are kept, changed and left out",
        RELABELLED: "writes labelled rows and pool with the labels to train on, and why each",
    },
    command="w2s export RUN",
    function="w2s_data.stages.exporting:export_stage",
    check="w2s_data.stages.exporting:check_export",
    values="w2s_data.stages.values.exporting:export_values",
)
SWEEP = Stage(
    "sweep",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    files={SWEEP_SUMMARY: "measures the papers' figures on this run's rows, beside their theory"},
    optional=tuple(sweep_table(over) for over in get_args(Over)),
    command="w2s sweep RUN",
    function="w2s_data.stages.sweeping:sweep_stage",
    check="w2s_data.stages.sweeping:check_sweep",
    values="w2s_data.stages.values.sweeping:sweep_values",
    values_check="w2s_data.stages.values.sweeping:check_value_sweep",
)
PROJECTION = Stage(
    "projection",
    needs=(ITEMS.name, EMBED.name, SCORE.name),
    files={MAP: "adds a map of the strong features", POSITIONS: "adds the position of every point"},
    command="w2s report RUN",
    function="w2s_reports.map:projection_stage",
)
REPORT = Stage(
    "report",
    files={PAGE: "writes the page that shows all of it"},
    command="w2s report RUN",
    function="w2s_reports.stage:report_stage",
    check="w2s_reports.stage:check_report",
)

STAGES = {
    stage.name: stage
    for stage in (
        *(ITEMS, EMBED, TEACH, SCORE, FORECAST, SELECT, GAIN, GROUPS),
        *(NEXT, PLAN, EXPORT, SWEEP, PROJECTION, REPORT),
    )
}
# Stages of a pipeline in the order in which they run; the groups come after the gain, whose student
# they describe. Teachers are part of it where there are any.
PIPELINE = (EMBED, TEACH, SCORE, FORECAST, SELECT, GAIN, GROUPS, REPORT)


def stage_of(name: str) -> Stage:
    """Return a stage by its name; an unknown name raises and lists the valid ones.

    >>> stage_of("gain").command
    'w2s gain RUN'
    """
    if name not in STAGES:
        raise KeyError(unknown("stage", name, list(STAGES)))
    return STAGES[name]


def function_of(stage: Stage, task: Task = "classification") -> Callable[..., StageResult]:
    """Import the function that runs a stage on labels of a task.

    Raise NotApplicableError for a stage that does not apply to values.
    """
    if task == "regression":
        _refuse_values(stage)
        return _imported(stage.values or stage.function)  # type: ignore[no-any-return]
    return _imported(stage.function)  # type: ignore[no-any-return]


def check_of(stage: Stage, task: Task = "classification") -> Callable[..., None]:
    """Import the function that checks a stage's settings before anything long is computed.

    Raise NotApplicableError for a stage that does not apply to values.
    """
    if task == "regression":
        _refuse_values(stage)
        return _imported(stage.values_check or stage.check)  # type: ignore[no-any-return]
    return _imported(stage.check)  # type: ignore[no-any-return]


def _refuse_values(stage: Stage) -> None:
    if stage.no_values:
        raise NotApplicableError(f"the labels are values, and {stage.no_values}")


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def check_scored(run: Run) -> None:
    """Refuse a run without scores of its present items and features."""
    if not run.follows(SCORE):
        command = SCORE.command.replace("RUN", str(run.path))
        raise UnscoredError(
            f"{str(run.path)!r} has no scores of these items and features: `{command}` makes them"
        )
