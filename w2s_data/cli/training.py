"""The command that trains students: gain."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import finish, listed, reopen

TRAINING = "Training"


def gain(
    context: typer.Context,
    run: opt.RunFolder,
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, comma-separated: naive, confidence, bootstrap, vsup, bayes, overlap, "
            "crossfit, enhanced, cosupervised, raven; NAME:PARAMETER=VALUE sets a parameter.",
            rich_help_panel=TRAINING,
        ),
    ] = "naive,confidence,crossfit,enhanced",
    seeds: Annotated[int, typer.Option(help="Students a method.", rich_help_panel=TRAINING)] = 5,
    level: Annotated[
        str,
        typer.Option(
            help="What is trained: head (on the strong features), lora or full (a whole model).",
            rich_help_panel=TRAINING,
        ),
    ] = "head",
    model: Annotated[
        str | None,
        typer.Option(
            help="For lora and full: a transformers model, folder or hub name.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the pool.", rich_help_panel=TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Step size of Adam.", rich_help_panel=TRAINING)
    ] = None,
    l2: Annotated[
        float | None, typer.Option(help="Penalty on the weights.", rich_help_panel=TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Items a step.", rich_help_panel=TRAINING)
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Also train what each method has to beat.",
            rich_help_panel=TRAINING,
        ),
    ] = True,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart",
            help="Take up students trained before, or train all anew.",
            rich_help_panel=TRAINING,
        ),
    ] = True,
    weak_features: opt.WeakFeatures = None,
    strong_features: opt.StrongFeatures = None,
    device: opt.Device = "auto",
    engine: opt.Engine = "local",
    address: opt.Address = None,
    workers: opt.Workers = None,
    seed: opt.Seed = None,
) -> None:
    """Train the student by several methods and measure what it gains over its teacher."""
    from w2s_data.cli.tables import print_gain
    from w2s_data.engines import make_engine
    from w2s_data.stages import gain_stage, methods_from

    chosen = methods_from(listed(methods) or [])
    given: dict[str, Any] = {
        "model": model,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "l2": l2,
        "batch_size": batch_size,
    }
    training = {name: value for name, value in given.items() if value is not None}
    opened, dataset, features = reopen(run, weak_features, strong_features, seed, context.obj)
    with make_engine(engine, address=address, workers=workers) as chosen_engine:
        summary = gain_stage(
            opened,
            dataset,
            features,
            chosen,
            seeds=seeds,
            level=level,
            training={**training, "controls": controls, "device": device},
            restart=not resume,
            show_progress=context.obj,
            engine=chosen_engine,
        )
    print_gain(summary)
    finish(opened)
