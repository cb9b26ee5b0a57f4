"""Commands that add an analysis to a run: groups, forecast."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import finish, number_from, reopen


def groups(
    context: typer.Context,
    run: opt.RunFolder,
    n_groups: Annotated[
        str, typer.Option(help="Groups to discover in each class where none are given, or auto.")
    ] = "auto",
    discovery: Annotated[
        str, typer.Option(help="How groups are discovered: auto, gaps, mixture or errors.")
    ] = "auto",
    duplicates: Annotated[
        str, typer.Option(help="Cosine from which two items are near-duplicates, or auto.")
    ] = "auto",
    weak_features: opt.WeakFeatures = None,
    strong_features: opt.StrongFeatures = None,
    weak_components: opt.WeakComponents = None,
    strong_components: opt.StrongComponents = None,
    device: opt.Device = "auto",
    engine: opt.Engine = "local",
    address: opt.Address = None,
    workers: opt.Workers = None,
    seed: opt.Seed = None,
) -> None:
    """Describe groups and sources, leakage and reliability, and what unequal shares cost."""
    from w2s_data.cli.tables import print_groups
    from w2s_data.engines import make_engine
    from w2s_data.groups import GroupAnalyzer
    from w2s_data.spurious import SpuriousAnalyzer
    from w2s_data.stages import groups_stage

    opened, dataset, features = reopen(run, weak_features, strong_features, seed, context.obj)
    seed = opened.manifest["seed"]
    analyzer = GroupAnalyzer(
        n_groups=number_from(n_groups, "--n-groups", "auto"),
        discovery=cast(Any, discovery),  # checked by the analyzer
        duplicate_threshold=number_from(duplicates, "--duplicates", "auto"),
        device=device,
        random_state=seed,
    )
    spurious = SpuriousAnalyzer(
        number_from(weak_components, "--weak-components", "mp"),
        number_from(strong_components, "--strong-components", "mp"),
        random_state=seed,
    )
    with make_engine(engine, address=address, workers=workers) as chosen:
        summary = groups_stage(opened, dataset, features, analyzer, spurious, chosen)
    print_groups(summary)
    finish(opened)


def forecast(
    context: typer.Context,
    run: opt.RunFolder,
    weak_features: opt.WeakFeatures = None,
    strong_features: opt.StrongFeatures = None,
    l2: opt.TeacherPenalty = "cv",
    student_l2: Annotated[
        str,
        typer.Option(help="The student's penalty: a number, or cv.", rich_help_panel=opt.MODELS),
    ] = "0.01",
    weak_components: opt.WeakComponents = None,
    strong_components: opt.StrongComponents = None,
    level: Annotated[float, typer.Option(help="Coverage of the forecast's intervals.")] = 0.9,
    seed: opt.Seed = None,
) -> None:
    """Forecast the accuracy of teacher and student and the gain, before any training."""
    from w2s_data.cli.tables import print_forecast
    from w2s_data.discrepancy import DiscrepancyAnalyzer
    from w2s_data.forecast import GainForecaster
    from w2s_data.probes import LinearProbe
    from w2s_data.stages import forecast_stage

    opened, dataset, features = reopen(run, weak_features, strong_features, seed, context.obj)
    seed = opened.manifest["seed"]
    forecaster = GainForecaster(
        LinearProbe(l2=number_from(l2, "--l2", "cv"), random_state=seed),
        LinearProbe(l2=number_from(student_l2, "--student-l2", "cv"), random_state=seed),
        level=level,
        random_state=seed,
    )
    analyzer = DiscrepancyAnalyzer(
        number_from(weak_components, "--weak-components", "mp"),
        number_from(strong_components, "--strong-components", "mp"),
        random_state=seed,
    )
    print_forecast(forecast_stage(opened, dataset, features, forecaster, analyzer, context.obj))
    finish(opened)
