"""The stage that trains students: gain."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import listed, reopen
from w2s_data.cli.outcome import Outcome

TRAINING = "Training"


@opt.spread
def gain(
    context: typer.Context,
    run: opt.RunFolder,
    files: opt.FeatureFiles,
    computing: opt.Computing,
    methods: Annotated[
        str,
        typer.Option(
            help="naive, confidence, bootstrap, vsup, bayes, overlap, "
            "crossfit, enhanced, cosupervised, raven; NAME:PARAMETER=VALUE sets a parameter.",
            metavar=opt.NAMES,
            rich_help_panel=TRAINING,
        ),
    ] = "naive,confidence,crossfit,enhanced",
    seeds: Annotated[int, typer.Option(help="Students a method.", rich_help_panel=TRAINING)] = 5,
    tuning: Annotated[
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
            metavar=opt.PLACE,
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
    device: opt.Device = "auto",
    memory: opt.Memory = None,
    seed: opt.Seed = None,
) -> Outcome:
    """Train the student by several methods and measure what it gains over its teacher."""
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.stages import gain_stage, methods_from

    chosen = methods_from(listed(methods) or [])
    given: dict[str, Any] = {
        "tuning": tuning,
        "model": model,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "l2": l2,
        "batch_size": batch_size,
    }
    training = {name: value for name, value in given.items() if value is not None}
    limit = MemoryLimit.parse(memory)
    opened, dataset, features = reopen(run, files, seed, context.obj, limit)
    with computing.start() as engine:
        result = gain_stage(
            opened,
            dataset,
            features,
            chosen,
            seeds=seeds,
            training={**training, "controls": controls, "device": device},
            restart=not resume,
            show_progress=context.obj,
            memory=limit,
            engine=engine,
        )
    return Outcome(opened, result.summary, result.fresh)
