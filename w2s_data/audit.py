"""All stages from Python: `audit`, and the pipeline behind it and behind `w2s run`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from w2s_data.compute.context import Compute
from w2s_data.compute.engines import make_engine
from w2s_data.compute.memory import MemoryLimit
from w2s_data.compute.tracking import Tracking, start_trackers
from w2s_data.errors import (
    EmptyDataError,
    InputError,
    MissingExtraError,
    NotApplicableError,
    SplitError,
    unknown,
)
from w2s_data.finetune.levels.together import led
from w2s_data.run import Run
from w2s_data.stages.checks import NOTHING, Known, check_compute, check_stages
from w2s_data.stages.config import SECTIONS, Config, load_config
from w2s_data.stages.embedding import embed_stage, planned_roles
from w2s_data.stages.graph import (
    EMBED,
    EXPORT,
    NEXT,
    NEXT_TABLE,
    RELABELLED,
    REPORT,
    SCORE,
    TEACH,
    function_of,
)
from w2s_data.stages.opening import open_run
from w2s_data.stages.settings import (
    ComputeSettings,
    NextSettings,
    OpenedSettings,
    ReportSettings,
    RunSettings,
    Settings,
)
from w2s_data.stages.teacher_store import is_taught
from w2s_data.stages.teaching import check_origin, columns_read
from w2s_data.utils.progress import Advance
from w2s_data.utils.progress import progress as bar
from w2s_data.utils.stage import Stage, StageResult

if TYPE_CHECKING:
    import pandas as pd

FAILURES = (InputError, MissingExtraError, OSError)
# Raised for data that a stage does not apply to; without scores no later stage applies either.
INAPPLICABLE = (NotApplicableError, SplitError, EmptyDataError)

State = Literal["done", "fresh", "skipped"]


class Observer:
    """Sees the stages of a pipeline as they run; this one ignores them."""

    progress: bool | None = False  # given to the stages; a view that draws sets it

    def stage(self, name: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Surround a stage while it runs."""
        return nullcontext()

    def opened(self, run: Run) -> None:
        """Receive the run once its data are read, before any stage."""

    def end(self, name: str, state: State, summary: Mapping[str, Any] | str) -> None:
        """Receive the state of a stage and its summary, or the reason why it was skipped."""


class _Counter(Observer):
    """Advances a bar by a stage at a time, with the name of the one that runs."""

    def __init__(self, progress: bool | None, advance: Advance) -> None:
        self.progress, self.advance = progress, advance

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show the name of a stage while it runs."""
        self.advance(0, name)
        yield

    def end(self, name: str, state: State, summary: Mapping[str, Any] | str) -> None:  # noqa: ARG002
        """Count a stage, whatever came of it."""
        self.advance(1)


@dataclass
class Pipeline:
    """A run after its pipeline: the summaries of its stages, and the error that ended them."""

    run: Run
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)  # stages that were not fresh
    failure: Exception | None = None


class AuditedRun(Run):
    """A run with what `audit` found in it at hand: the page, the findings, the labels, the rows.

    Made by `audit`, or of an existing run by `AuditedRun.open(path)`.
    """

    def issues(self) -> pd.DataFrame:
        """Return what is wrong or doubtful with the data, the worst first; see `find_issues`."""
        from w2s_data.stages.findings import find_issues  # imports what no command needs

        return find_issues(self)

    def report(self, **settings: Any) -> Path:
        """Write the page again and return its path; settings are those of `ReportSettings`."""
        result = self._done(REPORT, ReportSettings(**settings))
        return Path(result.summary["path"])

    def relabelled(self) -> pd.DataFrame:
        """Return labelled rows and pool with the label to train on, its weight, and why."""
        self._done(EXPORT)
        return self.read_table(RELABELLED)

    def next(self, n: int = 100, purpose: Literal["student", "shift"] = "student") -> pd.DataFrame:
        """Return the n pool rows that a person should label now, the most useful first.

        They are also written as a table to fill in, `next-ROUND.csv` in the run's folder. With
        `purpose` "shift" they make up for a pool of other kinds than the labels.
        """
        self._done(NEXT, NextSettings(budget=n, purpose=purpose))
        return self.read_table(NEXT_TABLE)

    def _repr_markdown_(self) -> str:
        """Return the verdict with its options, which a notebook shows."""
        reports = import_module("w2s_reports")  # lies above this package
        return str(reports.render(reports.summarize(self), "markdown", ["verdict"]))

    def _done(self, stage: Stage, settings: Settings | None = None) -> StageResult:
        """Run a stage quietly, unless it is fresh."""
        run_stage = function_of(stage, self.dataset().task)
        return run_stage(self, settings, Compute(progress=False, seed=self.seed))


@led
def audit(
    data: Any = None,
    *,
    strong: Any = None,
    weak: Any = None,
    teachers: Mapping[str, Any] | None = None,
    output: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | Config | None = None,
    progress: bool | None = None,
    **sections: Any,
) -> AuditedRun:
    """Run all stages on a data set and write the report; return the run.

    A stage that is fresh is skipped, and so is one that does not apply to such data. A killed audit
    resumes when it is called again.

    Parameters
    ----------
    data : W2SDataset, or anything that `load_dataset` reads
        Columns are given as a section, e.g. ``data="reviews.csv", columns={"label": "mood"}``.
    strong, weak : str, Encoder, array (N, D) or path of a .npy file, optional
        Models of the two roles: an encoder or its name, or ready-made features.
    teachers : mapping from name to Teacher or dict, optional
        Several teachers, whose labels are the weak ones; see `w2s_data.teachers.Teacher`.
    output : path, optional
        Run directory; "runs/NAME" by default.
    config : path of a TOML file or Config, optional
        Instead of all the others; see `w2s run --example`.
    progress : bool, optional
        None draws bars on a terminal and, where ipywidgets is installed, in a notebook.
    **sections : dict, or False to skip a stage
        Settings of the sections columns, run, score, forecast, select, gain, groups and report,
        e.g. ``gain={"seeds": 3}, groups=False``; see `w2s_data.stages.settings`.

    Returns
    -------
    AuditedRun
        The run, with `issues()`, `report()`, `relabelled()` and `next(n)`.

    Raises
    ------
    InputError
        For bad settings, and where a stage refuses its input. Stages that had finished before are
        kept, and are in the report.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = audit(
    ...         "example:gaussian_overlap?n=200",
    ...         output=f"{folder}/run",
    ...         **{name: False for name in ("forecast", "groups", "select", "gain")},
    ...         report={"map": False},
    ...         progress=False,
    ...     )
    ...     print(*run.manifest["stages"], run.report(map=False).name)
    ...     print(run.issues()["issue"].tolist())
    items embed score report.html
    ['weak_label_probably_wrong', 'few_test', 'few_validation']
    """
    if config is not None:
        if sections or any(given is not None for given in (data, strong, weak, teachers, output)):
            raise InputError("use either config or data, models, output and sections, not both")
        chosen = config if isinstance(config, Config) else load_config(config)
    else:
        chosen = load_config(_sections(data, strong, weak, teachers, output, sections))
    n_stages = len(chosen.stages) + len(chosen.off)
    with bar("audit", n_stages, "stages", progress) as advance:
        pipeline = run_pipeline(chosen, _Counter(progress, advance))
    if pipeline.failure is not None:
        raise pipeline.failure
    return AuditedRun.open(pipeline.run.path)


def _sections(
    data: Any, strong: Any, weak: Any, teachers: Any, output: Any, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Arrange the arguments of `audit` as the sections of a configuration."""
    sections = {name: _section(name, value) for name, value in given.items()}
    # `data` is the data set itself here, so that its columns need another name.
    sections["data"] = {"path": data, **sections.pop("columns", {})}
    if teachers is not None:
        sections["teachers"] = teachers
    sections["run"] = {**sections.get("run", {}), **({} if output is None else {"output": output})}
    for role, model in (("strong", strong), ("weak", weak)):
        if model is None:
            continue
        # A text is a model's name unless it names a file of features; arrays have no `encode`.
        is_name = isinstance(model, str)
        is_encoder = not model.endswith(".npy") if is_name else hasattr(model, "encode")
        sections[role] = {"encoder" if is_encoder else "features": model}
    return sections


def _section(name: str, value: Any) -> dict[str, Any]:
    """Return the settings of a section that `audit` was given: a mapping, True or False."""
    if isinstance(value, bool) and name not in RunSettings.model_fields:
        return {} if value else {"enabled": False}
    if isinstance(value, Mapping):
        return dict(value)
    if name in RunSettings.model_fields:
        raise InputError(
            f"{name} is a setting of the section run: pass run={{{name!r}: {value!r}}}"
        )
    if name not in (*SECTIONS, "columns"):
        raise InputError(unknown("section", name, [*SECTIONS, "columns"]))
    raise InputError(f"{name} must be a dict of settings, or False to skip it; got {value!r}")


@contextmanager
def computing(
    settings: ComputeSettings, run: Run, progress: bool | None = None
) -> Iterator[Compute]:
    """Start engine and trackers that the settings ask for; hand out the context of the stages."""
    memory = MemoryLimit.parse(settings.memory)
    log_to = settings.log_to if isinstance(settings, OpenedSettings) else ()
    with (
        make_engine(settings.engine, address=settings.address, workers=settings.workers) as engine,
        start_trackers(log_to, run.path) as tracking,
    ):
        yield Compute(engine, settings.device, memory, progress, run.seed, tracking)


def run_pipeline(config: Config, observer: Observer) -> Pipeline:
    """Run the stages in order; one that fails ends them, and the report is written all the same."""
    for name in config.off:
        with observer.stage(name):
            observer.end(name, "skipped", "enabled = false")
    stages = config.stages
    check_compute(config.run)
    check_origin(config.data, config.teach)
    _check(stages, config, NOTHING)
    with ExitStack() as started:
        with observer.stage(EMBED.name):
            keep = columns_read(config.teach)
            run = open_run(config.data, config.run, config.embed.strong, keep)
            observer.opened(run)
            known = Known(
                run.dataset(), planned_roles(run, config.embed), TEACH in stages or is_taught(run)
            )
            _check(stages, config, known)
            pipeline = Pipeline(run)
            # One engine for all stages: a cluster takes seconds to start.
            compute = started.enter_context(computing(config.run, run, observer.progress))
            result = embed_stage(run, config.embed, compute, overwrite=config.run.overwrite)
            if TEACH not in stages and is_taught(run):  # its own are kept, or dropped by now
                function_of(TEACH, run.dataset().task)(run, config.teach, compute)
            _record(pipeline, observer, EMBED, result, compute.tracking)
        ahead = None
        for stage in stages:
            # After a failure only the report is left, which shows what had finished.
            if stage is EMBED or (pipeline.failure is not None and stage is not REPORT):
                continue
            try:
                before = ahead.finish if stage is REPORT and ahead is not None else None
                _run_stage(pipeline, observer, stage, config, compute, before)
                if stage is SCORE and REPORT in stages and config.report.map is not False:
                    drawing = import_module("w2s_reports.ahead").drawing  # lies above this package
                    ahead = started.enter_context(drawing(run, compute))
            except FAILURES as error:
                pipeline.failure = pipeline.failure or error
    return pipeline


def _check(stages: Sequence[Stage], config: Config, known: Known) -> None:
    """Check all stages before the first of them starts, and name the section of a bad setting."""
    for stage in stages:
        try:
            check_stages({stage.name: getattr(config, stage.name)}, known)
        except INAPPLICABLE:
            if stage in (TEACH, SCORE):  # the others are skipped when their turn comes
                raise
        except InputError as error:
            if stage in (EMBED, TEACH):  # whose sections the error names
                raise
            raise type(error)(f"[{stage.name}] {error}") from error


def _run_stage(
    pipeline: Pipeline,
    observer: Observer,
    stage: Stage,
    config: Config,
    compute: Compute,
    before: Callable[[], None] | None = None,
) -> None:
    """Run one stage, and what comes `before` it, unless it does not apply to such data."""
    with observer.stage(stage.name):
        try:
            if before is not None:
                before()
            run_stage = function_of(stage, pipeline.run.dataset().task)
            result = run_stage(pipeline.run, getattr(config, stage.name), compute)
        except INAPPLICABLE as reason:
            if stage in (TEACH, SCORE):  # nothing after it could run either
                raise
            observer.end(stage.name, "skipped", str(reason))
            return
        _record(pipeline, observer, stage, result, compute.tracking)


def _record(
    pipeline: Pipeline, observer: Observer, stage: Stage, result: StageResult, tracking: Tracking
) -> None:
    tracking.stage(stage.name, result.summary)
    pipeline.summaries[stage.name] = result.summary
    if not result.fresh:
        pipeline.computed.add(stage.name)
    observer.end(stage.name, "fresh" if result.fresh else "done", result.summary)
