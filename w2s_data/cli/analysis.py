"""Stages that add an analysis to a run: groups, forecast."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import number_from, reopen
from w2s_data.cli.outcome import Outcome


@opt.spread
def groups(
    context: typer.Context,
    run: opt.RunFolder,
    files: opt.FeatureFiles,
    components: opt.Components,
    computing: opt.Computing,
    n_groups: Annotated[
        str,
        typer.Option(
            help="Groups to discover in each class where none are given, or auto.",
            metavar=f"{opt.NUMBER_OR}auto",
        ),
    ] = "auto",
    discovery: Annotated[
        str, typer.Option(help="How groups are discovered: auto, gaps, mixture or errors.")
    ] = "auto",
    duplicates: Annotated[
        str,
        typer.Option(
            help="Cosine from which two items are near-duplicates, or auto.",
            metavar=f"{opt.NUMBER_OR}auto",
        ),
    ] = "auto",
    device: opt.Device = "auto",
    memory: opt.Memory = None,
    seed: opt.Seed = None,
) -> Outcome:
    """Describe groups and sources, leakage and reliability, and what unequal shares cost."""
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.groups import GroupAnalyzer
    from w2s_data.spurious import SpuriousAnalyzer
    from w2s_data.stages import groups_stage

    limit = MemoryLimit.parse(memory)
    opened, dataset, features = reopen(run, files, seed, context.obj, limit)
    seed = opened.manifest["seed"]
    analyzer = GroupAnalyzer(
        n_groups=number_from(n_groups, "--n-groups", "auto"),
        discovery=cast(Any, discovery),  # checked by the analyzer
        duplicate_threshold=number_from(duplicates, "--duplicates", "auto"),
        device=device,
        random_state=seed,
    )
    spurious = SpuriousAnalyzer(
        number_from(components.strong_components, "--strong-components", "mp"),
        number_from(components.weak_components, "--weak-components", "mp"),
        random_state=seed,
    )
    with computing.start() as engine:
        result = groups_stage(
            opened, dataset, features, analyzer, spurious, context.obj, limit, engine
        )
    return Outcome(opened, result.summary, result.fresh)


@opt.spread
def forecast(
    context: typer.Context,
    run: opt.RunFolder,
    files: opt.FeatureFiles,
    components: opt.Components,
    l2: opt.TeacherPenalty = "cv",
    student_l2: Annotated[
        str,
        typer.Option(
            help="The student's penalty: a number, or cv.",
            metavar=f"{opt.NUMBER_OR}cv",
            rich_help_panel=opt.MODELS,
        ),
    ] = "0.01",
    level: Annotated[float, typer.Option(help="Coverage of the forecast's intervals.")] = 0.95,
    memory: opt.Memory = None,
    seed: opt.Seed = None,
) -> Outcome:
    """Forecast the accuracy of teacher and student and the gain, before any training."""
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.discrepancy.analyzer import DiscrepancyAnalyzer
    from w2s_data.forecast import GainForecaster
    from w2s_data.probes.linear import LinearProbe
    from w2s_data.stages import forecast_stage

    limit = MemoryLimit.parse(memory)
    opened, dataset, features = reopen(run, files, seed, context.obj, limit)
    seed = opened.manifest["seed"]
    forecaster = GainForecaster(
        LinearProbe(l2=number_from(student_l2, "--student-l2", "cv"), random_state=seed),
        LinearProbe(l2=number_from(l2, "--l2", "cv"), random_state=seed),
        level=level,
        random_state=seed,
    )
    analyzer = DiscrepancyAnalyzer(
        number_from(components.strong_components, "--strong-components", "mp"),
        number_from(components.weak_components, "--weak-components", "mp"),
        random_state=seed,
    )
    result = forecast_stage(opened, dataset, features, forecaster, analyzer, context.obj, limit)
    return Outcome(opened, result.summary, result.fresh)
