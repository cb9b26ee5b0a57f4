"""Stages that make a run: embed, score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import feature_inputs, number_from, open_run
from w2s_data.cli.outcome import Outcome
from w2s_data.errors import InputError

if TYPE_CHECKING:
    from w2s_data.compute.base import Engine
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.data.load import W2SDataset
    from w2s_data.features.matrix import FeatureMatrix
    from w2s_data.run import Run
    from w2s_data.stages import Role
    from w2s_data.utils.stage import StageResult


@dataclass(frozen=True)
class ScoreSettings:
    """What a scoring command was asked for besides data and features."""

    l2: Any = "cv"
    reference: bool = False
    device: str = "auto"
    show_progress: bool | None = None
    memory: MemoryLimit | None = None


@opt.spread
def embed(
    context: typer.Context,
    data: opt.Data,
    columns: opt.Columns,
    models: opt.Models,
    computing: opt.Computing,
    device: opt.Device = "auto",
    memory: opt.Memory = None,
    output: opt.Output = None,
    seed: opt.Seed = None,
    overwrite: opt.Overwrite = False,
) -> Outcome:
    """Compute the weak and strong features of every item; resumes where it was stopped."""
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.stages import embed_stage
    from w2s_data.stages.graph import EMBED

    limit = MemoryLimit.parse(memory)
    run, dataset = open_run(data, columns, output, seed, overwrite)
    inputs = feature_inputs(dataset, models, device)
    before = run.manifest["stages"].get(EMBED.name)
    with computing.start() as engine:
        features = embed_stage(run, dataset, inputs, context.obj, overwrite, limit, engine)
    fresh = run.manifest["stages"].get(EMBED.name) is before
    if not features:
        raise InputError("nothing to embed: name an encoder with --weak, --strong or both")
    return Outcome(run, {role: matrix.shape for role, matrix in features.items()}, fresh)


@opt.spread
def score(
    context: typer.Context,
    data: opt.Data,
    columns: opt.Columns,
    models: opt.Models,
    computing: opt.Computing,
    l2: opt.TeacherPenalty = "cv",
    reference: Annotated[
        bool, typer.Option("--reference", help="The published algorithm (quadratic).")
    ] = False,
    device: opt.Device = "auto",
    memory: opt.Memory = None,
    output: opt.Output = None,
    seed: opt.Seed = None,
    overwrite: opt.Overwrite = False,
) -> Outcome:
    """Score a data set for overlap density, overall, by source and by group."""
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.stages import embed_stage

    limit = MemoryLimit.parse(memory)
    run, dataset = open_run(data, columns, output, seed, overwrite)
    inputs = feature_inputs(dataset, models, device)
    settings = ScoreSettings(number_from(l2, "--l2", "cv"), reference, device, context.obj, limit)
    with computing.start() as engine:
        features = embed_stage(run, dataset, inputs, context.obj, overwrite, limit, engine)
        result = score_run(run, dataset, features, settings, engine)
    return Outcome(run, result.summary, result.fresh)


def score_run(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    settings: ScoreSettings,
    engine: Engine | None = None,
) -> StageResult:
    """Score with the detector and the teacher that the settings describe."""
    from w2s_data.overlap.detector import OverlapDetector
    from w2s_data.probes.linear import LinearProbe
    from w2s_data.stages import score_stage

    seed = run.manifest["seed"]
    make = OverlapDetector.reference if settings.reference else OverlapDetector
    detector = make(device=settings.device, random_state=seed)
    teacher = LinearProbe(l2=settings.l2, device=settings.device, random_state=seed)
    return score_stage(
        run,
        dataset,
        features,
        detector,
        teacher,
        settings.show_progress,
        memory=settings.memory,
        engine=engine,
    )
