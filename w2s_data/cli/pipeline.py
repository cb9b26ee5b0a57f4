"""The whole pipeline from one configuration: run, demo."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from w2s_data.cli import options as opt
from w2s_data.cli.config import FIRST, STAGES, Config, load_config
from w2s_data.cli.outcome import Outcome
from w2s_data.cli.view import Line, View
from w2s_data.errors import (
    EmptyDataError,
    InputError,
    MissingExtraError,
    NotApplicableError,
    SplitError,
)

if TYPE_CHECKING:
    from w2s_data.run import Run

FAILURES = (InputError, MissingExtraError, OSError)
# What stages say of data that they cannot work on; without scores there is nothing to go on with.
INAPPLICABLE = (NotApplicableError, SplitError, EmptyDataError)


@dataclass
class Finished:
    """A run after its pipeline, what its stages found, and what stopped them."""

    run: Run
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    report: str = ""  # what its stage said
    failure: Exception | None = None


def run_pipeline(
    config: str | os.PathLike[str] | Mapping[str, Any] | Config,
    *,
    show_progress: bool | None = None,
) -> Run:
    """Run all stages that a configuration switches on, and write the report.

    A stage that is fresh is skipped, and so is one that has nothing to say of such data.

    Parameters
    ----------
    config : path of a TOML file, mapping from section to mapping, or Config
        See `w2s run --example`.
    show_progress : bool or None
        None shows the stages as they go on; False is silent.

    Returns
    -------
    Run

    Raises
    ------
    InputError
        For a bad configuration, and where a stage refuses its input. What was finished before is
        kept, and is in the report.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = {
    ...         "data": {"path": "example:gaussian_overlap?n=200"},
    ...         "run": {"output": f"{folder}/run"},
    ...         **{name: {"enabled": False} for name in ("forecast", "groups", "select", "gain")},
    ...     }
    ...     run = run_pipeline(settings, show_progress=False)
    ...     print(*run.manifest["stages"], (run.path / "report.html").is_file())
    items embed score True
    """
    settled = config if isinstance(config, Config) else load_config(config)
    finished = run_stages(settled, show_progress)
    if finished.failure is not None:
        raise finished.failure
    return finished.run


def run_stages(config: Config, show_progress: bool | None = None) -> Finished:
    """Run the stages; one that fails ends them, and the report is written all the same."""
    with View(list(STAGES), show_progress) as view:
        context = typer.Context(TyperCommand("run"), obj=view.show_progress)
        for name in config.off:
            view.skip(name, "enabled = false")
        with view.stage(FIRST) as line:
            first = STAGES[FIRST](context, **config.options[FIRST])
            _describe(line, first)
        finished = Finished(first.run, {FIRST: first.summary})
        later = [name for name in config.options if name not in (FIRST, "report")]
        try:
            for name in later:
                _add_stage(finished, name, view, context, config.options[name])
        except FAILURES as error:
            finished.failure = error
        if "report" in config.options:
            _report(finished, view, config.options["report"])
    return finished


def _add_stage(
    finished: Finished, name: str, view: View, context: typer.Context, options: dict[str, Any]
) -> None:
    """Run a stage that adds to the run, unless it has nothing to say of such data."""
    seed = finished.run.manifest["seed"]
    with view.stage(name) as line:
        try:
            outcome = STAGES[name](context, finished.run.path, **{"seed": seed, **options})
        except INAPPLICABLE as reason:
            if name == "score":
                raise
            line.state, line.said = "skipped", str(reason)
            return
        _describe(line, outcome)
    finished.run, finished.summaries[name] = outcome.run, outcome.summary


def _describe(line: Line, outcome: Outcome) -> None:
    from w2s_reports import stage_line

    line.state = "fresh" if outcome.fresh else "done"
    line.said = stage_line(line.name, outcome.summary)


def _report(finished: Finished, view: View, options: dict[str, Any]) -> None:
    """Write the report, and keep what is said of it until the view is closed."""
    words = io.StringIO()
    try:
        with view.stage("report"), redirect_stdout(words):
            STAGES["report"](finished.run.path, **options)
    except (*FAILURES, typer.Exit) as error:  # a gate of the report exits
        finished.failure = finished.failure or error
    finished.report = words.getvalue()


def run(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; `w2s run --example` prints one.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Instead of what the file says."),
    ] = None,
    output: opt.Output = None,
    show: opt.Open = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented configuration, and end.")
    ] = False,
) -> None:
    """Run all stages of a configuration in order, skipping what is fresh, and write the report."""
    if example:
        typer.echo(example_path().read_text(encoding="utf-8"), nl=False)
        return
    if config is None:
        raise InputError("name a configuration; `w2s run --example > w2s.toml` writes one")
    _conclude(run_stages(_settled(config, overrides or [], output, show), context.obj))


def demo(
    context: typer.Context,
    output: opt.Output = None,
    seed: opt.Seed = None,
    show: opt.Open = False,
) -> None:
    """Run the whole pipeline on 1,797 scanned digits from four channels; needs no download."""
    from w2s_reports import render_stage

    overrides = [] if seed is None else [f"run.seed={seed}"]
    with resources.as_file(example_path()) as path:
        config = _settled(path, overrides, output or Path("runs/demo"), show)
    finished = run_stages(config, context.obj)
    if "score" in finished.summaries:
        typer.echo(render_stage("score", finished.summaries["score"]), nl=False)
    _conclude(finished)


def example_path() -> Any:
    """The commented configuration that `w2s run --example` prints and `w2s demo` runs."""
    return resources.files("w2s_data.cli") / "example.toml"


def _settled(path: Path, overrides: list[str], output: Path | None, show: bool) -> Config:
    config = load_config(path, overrides)
    if output is not None:
        config.options[FIRST]["output"] = output
    if show and "report" in config.options:
        config.options["report"]["show"] = True
    return config


def _conclude(finished: Finished) -> None:
    """Print what was found, and where it is."""
    from w2s_data.stages.graph import SCORE
    from w2s_reports import stage_line, summarize

    if finished.run.follows(SCORE):
        typer.echo(f"verdict: {stage_line('verdict', summarize(finished.run)['verdict'])}")
    for name in ("score", "gain"):
        if name in finished.summaries:
            typer.echo(f"{name}: {stage_line(name, finished.summaries[name])}")
    typer.echo(finished.report, nl=False)
    if finished.failure is not None:
        raise finished.failure
