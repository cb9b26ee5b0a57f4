"""Commands that make a run: embed, score, demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import feature_inputs, finish, listed, number_from, open_run
from w2s_data.errors import InputError

if TYPE_CHECKING:
    from w2s_data._blocks import FeatureMatrix
    from w2s_data.dataset import W2SDataset
    from w2s_data.engines import Engine
    from w2s_data.run import Run
    from w2s_data.stages import Role


@dataclass(frozen=True)
class ScoreSettings:
    """What a scoring command was asked for besides data and features."""

    l2: Any = "cv"
    reference: bool = False
    device: str = "auto"
    show_progress: bool | None = None


def embed(
    context: typer.Context,
    data: opt.Data,
    item: opt.Item = None,
    id: opt.Id = None,
    label: opt.Label = None,
    chosen: opt.Chosen = None,
    rejected: opt.Rejected = None,
    split: opt.Split = None,
    source: opt.Source = None,
    group: opt.Group = None,
    split_sizes: opt.SplitSizes = None,
    skip_unreadable: opt.SkipUnreadable = False,
    weak: opt.Weak = None,
    strong: opt.Strong = None,
    device: opt.Device = "auto",
    engine: opt.Engine = "local",
    address: opt.Address = None,
    workers: opt.Workers = None,
    output: opt.Output = None,
    seed: opt.Seed = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Compute the weak and strong features of every item; resumes where it was stopped."""
    from w2s_data.engines import make_engine
    from w2s_data.stages import embed_stage

    roles = {
        "item": item,
        "id": id,
        "label": label,
        "chosen": chosen,
        "rejected": rejected,
        "split": split,
        "source": source,
        "group": group,
    }
    run, dataset = open_run(data, roles, output, seed, overwrite, split_sizes, skip_unreadable)
    inputs = feature_inputs(dataset, weak, strong, None, None, device)
    if not inputs:
        raise InputError("nothing to embed: name an encoder with --weak, --strong or both")
    with make_engine(engine, address=address, workers=workers) as chosen_engine:
        features = embed_stage(run, dataset, inputs, context.obj, overwrite, chosen_engine)
    for role, matrix in features.items():
        n, d = matrix.shape
        typer.echo(f"{role:>6} features: {n:,} x {d}")
    typer.echo(f"run: {run.path}")


def score(
    context: typer.Context,
    data: opt.Data,
    item: opt.Item = None,
    id: opt.Id = None,
    label: opt.Label = None,
    chosen: opt.Chosen = None,
    rejected: opt.Rejected = None,
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
    l2: opt.TeacherPenalty = "cv",
    reference: Annotated[
        bool, typer.Option("--reference", help="The published algorithm (quadratic).")
    ] = False,
    device: opt.Device = "auto",
    engine: opt.Engine = "local",
    address: opt.Address = None,
    workers: opt.Workers = None,
    output: opt.Output = None,
    seed: opt.Seed = None,
    overwrite: opt.Overwrite = False,
) -> None:
    """Score a data set for overlap density, overall, by source and by group."""
    from w2s_data.engines import make_engine
    from w2s_data.stages import embed_stage

    roles = {
        "item": item,
        "id": id,
        "label": label,
        "chosen": chosen,
        "rejected": rejected,
        "split": split,
        "source": source,
        "group": group,
        "weak_columns": listed(weak_columns),
        "weak_label": weak_label,
        "weak_confidence": weak_confidence,
    }
    run, dataset = open_run(data, roles, output, seed, overwrite, split_sizes, skip_unreadable)
    inputs = feature_inputs(dataset, weak, strong, weak_features, strong_features, device)
    settings = ScoreSettings(number_from(l2, "--l2", "cv"), reference, device, context.obj)
    with make_engine(engine, address=address, workers=workers) as chosen_engine:
        features = embed_stage(run, dataset, inputs, context.obj, overwrite, chosen_engine)
        score_run(run, dataset, features, settings, chosen_engine)
    finish(run)


def demo(
    context: typer.Context,
    output: opt.Output = None,
    seed: opt.Seed = None,
) -> None:
    """Score 1,797 scanned digits from four collection channels; needs no download."""
    from w2s_data.stages import embed_stage

    run, dataset = open_run(
        "example:digits", {}, output or Path("runs/demo"), seed, True, None, False
    )
    inputs = feature_inputs(dataset, "pixels:3", "pixels:8", None, None, "auto")
    features = embed_stage(run, dataset, inputs, context.obj, overwrite=True)
    score_run(run, dataset, features, ScoreSettings(show_progress=context.obj))
    finish(run)


def score_run(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    settings: ScoreSettings,
    engine: Engine | None = None,
) -> None:
    """Score and print."""
    from w2s_data.cli.tables import print_overlap
    from w2s_data.overlap import OverlapDetector
    from w2s_data.probes import LinearProbe
    from w2s_data.stages import score_stage

    seed = run.manifest["seed"]
    make = OverlapDetector.reference if settings.reference else OverlapDetector
    detector = make(device=settings.device, random_state=seed)
    teacher = LinearProbe(l2=settings.l2, device=settings.device, random_state=seed)
    summary = score_stage(run, dataset, features, detector, teacher, settings.show_progress, engine)
    print_overlap(summary)
