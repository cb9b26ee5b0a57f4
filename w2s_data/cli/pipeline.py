"""The whole pipeline from one configuration: run, demo."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2s_data.cli.options import SHORT, with_options
from w2s_data.cli.output import say, tell
from w2s_data.cli.report import print_report
from w2s_data.errors import InputError
from w2s_data.stages.graph import GAIN, PIPELINE, REPORT, SCORE
from w2s_data.stages.settings import DataSettings, read_settings

if TYPE_CHECKING:
    from w2s_data.audit import Pipeline
    from w2s_data.stages.config import Config

DEMO = Path("runs/demo")

Output = Annotated[
    Path | None, typer.Option(*SHORT["output"], help="Run directory; runs/NAME by default.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--labels", metavar="FILE,...", help=str(DataSettings.model_fields["labels"].description)
    ),
]
Teacher = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher", metavar="NAME=[KIND:]VALUE", help="Add a teacher, as `w2s teach` takes it."
    ),
]
Open = Annotated[bool, typer.Option("--open", help="Show the report in a browser.")]


@with_options
def run(
    config: Annotated[
        Path | None,
        typer.Argument(help="TOML file, which `w2s run --example` prints, or a run directory."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a key of the file."),
    ] = None,
    labels: Labels = None,
    teacher: Teacher = None,
    output: Output = None,
    show: Open = False,
    example: Annotated[
        bool,
        typer.Option("--example", help="Print a commented configuration."),
    ] = False,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Print the JSON schema of configurations."),
    ] = False,
    progress: bool | None = None,
) -> None:
    """Run all stages of a configuration in order, skip fresh ones, and write the report."""
    if example:
        say(example_path().read_text(encoding="utf-8"), nl=False)
        return
    if schema:
        from w2s_data.stages.config import Config

        described = Config.model_json_schema()
        say(json.dumps(described, indent=2))
        tell("run", state="done", run=None, summary=described)
        return
    if config is None:
        raise InputError("name a configuration; `w2s run --example > w2s.toml` writes one")
    loaded = _load(config, overrides or [], output)
    _run(_taught(_labelled(loaded, labels or []), teacher or []), show, progress)


@with_options
def demo(
    output: Output = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.", min=0)] = None,
    show: Open = False,
    progress: bool | None = None,
) -> None:
    """Run the whole pipeline on scanned digits that an old reader labelled; needs no download."""
    overrides = [] if seed is None else [f"run.seed={seed}"]
    with resources.as_file(example_path()) as path:
        config = _load(path, overrides, output or DEMO)
    _run(config, show, progress, scores=True)


def example_path() -> Any:
    """Return the commented configuration that `w2s run --example` prints and `w2s demo` runs."""
    return resources.files("w2s_data.cli") / "example.toml"


def _load(path: Path, overrides: list[str], output: Path | None) -> Config:
    from w2s_data.run import Run
    from w2s_data.stages.config import load_config

    # A run is a data set that has its models: every other setting is the default.
    source: Any = {"data": {"path": str(path)}} if Run.exists(path) else path
    try:
        config = load_config(source, overrides)
    except InputError as error:
        # Overrides come from --set, which the library does not know.
        raise type(error)(str(error).replace("override", "--set", 1)) from error
    if output is None:
        return config
    return config.model_copy(update={"run": config.run.model_copy(update={"output": output})})


def _labelled(config: Config, labels: list[str]) -> Config:
    """Add tables of labels to those of the configuration."""
    if not labels:
        return config
    given = read_settings(DataSettings, {"labels": labels}).labels
    data = config.data.model_copy(update={"labels": (*config.data.labels, *given)})
    return config.model_copy(update={"data": data})


def _taught(config: Config, teachers: list[str]) -> Config:
    """Add teachers to those of the configuration, or replace them."""
    from w2s_data.stages.teacher_settings import TeachSettings, read_teachers

    if not teachers:
        return config
    given = read_settings(TeachSettings, {"teacher": teachers}).teacher
    return config.model_copy(update={"teachers": read_teachers({**config.teachers, **given})})


def _run(config: Config, show: bool, progress: bool | None, scores: bool = False) -> None:
    """Run the pipeline under a view of its stages, and print its results."""
    from w2s_data.audit import run_pipeline
    from w2s_data.cli.view import View

    shown = {*config.off, *(stage.name for stage in config.stages)}
    with View([stage.name for stage in PIPELINE if stage.name in shown], progress) as view:
        pipeline = run_pipeline(config, view)
    _print(pipeline, scores)
    if REPORT.name in pipeline.summaries:
        result = pipeline.summaries[REPORT.name]
        print_report(result, pipeline.run.path, show=show or config.report.open)
    if pipeline.failure is not None:
        raise pipeline.failure


def _print(pipeline: Pipeline, scores: bool) -> None:
    """Print the verdict with its risks and the next step, and the main results in a line each."""
    from w2s_reports import render_stage, stage_line, summarize

    if scores and SCORE.name in pipeline.summaries:
        say(render_stage(SCORE.name, pipeline.summaries[SCORE.name]), nl=False)
    for name, summary in pipeline.summaries.items():
        state = "done" if name in pipeline.computed else "fresh"
        tell(name, state=state, run=str(pipeline.run.path), summary=summary)
    if pipeline.run.follows(SCORE):
        verdict = summarize(pipeline.run)["verdict"]
        tell("run", state="done", run=str(pipeline.run.path), verdict=verdict)
        say(f"verdict: {stage_line('verdict', verdict)}")
        for i, warning in enumerate(verdict["warnings"]):
            say(f"{'warning' if i else 'risk'}: {warning['about']}: {warning['text']}")
        say(f"next: {stage_line('step', verdict['steps'][0])}")
    for stage in (SCORE, GAIN):
        if stage.name in pipeline.summaries:
            say(f"{stage.name}: {stage_line(stage.name, pipeline.summaries[stage.name])}")
