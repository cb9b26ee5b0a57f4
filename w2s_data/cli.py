"""The command `w2s`: the roof of the house, which may call every room."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2s_data import _options as opt
from w2s_data._inputs import feature_inputs, listed, open_run, penalty_from
from w2s_data._version import __version__
from w2s_data.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from w2s_data.dataset import W2SDataset
    from w2s_data.run import Run
    from w2s_data.stages import FeatureInput, Role

INTERRUPTED = 130

app = typer.Typer(
    name="w2s",
    help="What your data is worth for weak-to-strong training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass(frozen=True)
class ScoreSettings:
    """What a scoring command was asked for besides data and features."""

    l2: str = "cv"
    reference: bool = False
    device: str = "auto"
    show_progress: bool | None = None
    overwrite: bool = False


@app.callback(invoke_without_command=True)
def _global_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,  # noqa: ARG001
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    if version:
        typer.echo(f"w2s-data {__version__}")
        raise typer.Exit
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("w2s_data")
    log.handlers = [handler]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False
    # None draws progress bars only where somebody watches.
    context.obj = False if quiet else None


@app.command()
def embed(
    context: typer.Context,
    data: opt.Data,
    item: opt.Item = None,
    id: opt.Id = None,
    label: opt.Label = None,
    split: opt.Split = None,
    source: opt.Source = None,
    group: opt.Group = None,
    split_sizes: opt.SplitSizes = None,
    skip_unreadable: opt.SkipUnreadable = False,
    weak: opt.Weak = None,
    strong: opt.Strong = None,
    device: opt.Device = "auto",
    output: opt.Output = None,
    seed: opt.Seed = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Compute the weak and strong features of every item; resumes where it was stopped."""
    from w2s_data.stages import embed_stage

    roles = {
        "item": item,
        "id": id,
        "label": label,
        "split": split,
        "source": source,
        "group": group,
    }
    run, dataset = open_run(data, roles, output, seed, overwrite, split_sizes, skip_unreadable)
    inputs = feature_inputs(dataset, weak, strong, None, None, device)
    if not inputs:
        raise InputError("nothing to embed: name an encoder with --weak, --strong or both")
    features = embed_stage(run, dataset, inputs, context.obj, overwrite)
    for role, matrix in features.items():
        n, d = matrix.shape
        typer.echo(f"{role:>6} features: {n:,} x {d}")
    typer.echo(f"run: {run.path}")


@app.command()
def score(
    context: typer.Context,
    data: opt.Data,
    item: opt.Item = None,
    id: opt.Id = None,
    label: opt.Label = None,
    split: opt.Split = None,
    source: opt.Source = None,
    group: opt.Group = None,
    weak_columns: opt.WeakColumns = None,
    weak_label: opt.WeakLabel = None,
    weak_confidence: opt.WeakConfidence = None,
    split_sizes: opt.SplitSizes = None,
    skip_unreadable: opt.SkipUnreadable = False,
    weak: opt.Weak = None,
    strong: opt.Strong = None,
    weak_features: opt.WeakFeatures = None,
    strong_features: opt.StrongFeatures = None,
    l2: Annotated[
        str,
        typer.Option(help="The teacher's penalty: a number, or cv.", rich_help_panel=opt.MODELS),
    ] = "cv",
    reference: Annotated[
        bool, typer.Option("--reference", help="The published algorithm (quadratic).")
    ] = False,
    device: opt.Device = "auto",
    output: opt.Output = None,
    seed: opt.Seed = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Score a data set for overlap density, overall, by source and by group."""
    roles = {
        "item": item,
        "id": id,
        "label": label,
        "split": split,
        "source": source,
        "group": group,
        "weak_columns": listed(weak_columns),
        "weak_label": weak_label,
        "weak_confidence": weak_confidence,
    }
    run, dataset = open_run(data, roles, output, seed, overwrite, split_sizes, skip_unreadable)
    inputs = feature_inputs(dataset, weak, strong, weak_features, strong_features, device)
    _score(run, dataset, inputs, ScoreSettings(l2, reference, device, context.obj, overwrite))


@app.command()
def demo(
    context: typer.Context,
    output: opt.Output = None,
    seed: opt.Seed = None,
) -> None:
    """Score 1,797 scanned digits from four collection channels; needs no download."""
    run, dataset = open_run(
        "example:digits", {}, output or Path("runs/demo"), seed, True, None, False
    )
    inputs = feature_inputs(dataset, "pixels:3", "pixels:8", None, None, "auto")
    _score(run, dataset, inputs, ScoreSettings(show_progress=context.obj, overwrite=True))


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="HTML file; RUN/report.html by default.")
    ] = None,
) -> None:
    """Write the HTML report of a run."""
    from w2s_reports import build_report

    target = output or run / "report.html"
    build_report(run, target)
    typer.echo(f"report: {target}")


@app.command()
def doctor() -> None:
    """Say what this installation can do: devices, libraries, and how to get what is missing."""
    from w2s_data.doctor import diagnose
    from w2s_data.tables import print_rows

    diagnosis = diagnose()
    print_rows(diagnosis.rows())
    if not diagnosis.healthy:
        raise typer.Exit(1)


def _score(
    run: Run, dataset: W2SDataset, inputs: dict[Role, FeatureInput], settings: ScoreSettings
) -> None:
    from w2s_data.overlap import OverlapDetector
    from w2s_data.probes import LinearProbe
    from w2s_data.stages import embed_stage, score_stage
    from w2s_data.tables import print_overlap
    from w2s_reports import build_report

    seed = run.manifest["seed"]
    make = OverlapDetector.reference if settings.reference else OverlapDetector
    detector = make(device=settings.device, random_state=seed)
    teacher = LinearProbe(l2=penalty_from(settings.l2), device=settings.device, random_state=seed)
    shown = settings.show_progress
    features = embed_stage(run, dataset, inputs, shown, settings.overwrite)
    summary = score_stage(run, dataset, features, detector, teacher, shown)
    build_report(run.path)
    print_overlap(summary)
    typer.echo(f"run: {run.path}   report: {run.path / 'report.html'}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; bad input is one line on standard error and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="w2s")
    except (InputError, MissingExtraError, OSError) as error:
        if "--debug" in given:
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            typer.echo("interrupted; the same command goes on from here", err=True)
        raise
