"""The command that chooses sources: select."""

from __future__ import annotations

from typing import Annotated, Any, cast

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import (
    costs_from,
    feature_inputs,
    finish,
    listed,
    open_run,
)
from w2s_data.cli.scoring import ScoreSettings, score_run

SELECTION = "Selection"
SHOWN = 4  # sources in a line of progress


def select(
    context: typer.Context,
    data: opt.Data,
    budget: Annotated[
        float, typer.Option(help="Items to acquire, or money to spend.", rich_help_panel=SELECTION)
    ],
    batch: Annotated[
        int, typer.Option(help="Items asked for in a round.", rich_help_panel=SELECTION)
    ] = 50,
    objective: Annotated[
        str,
        typer.Option(
            help="screen_match, screen or overlap; auto: screen_match with a target, else screen.",
            rich_help_panel=SELECTION,
        ),
    ] = "auto",
    policy: Annotated[
        str,
        typer.Option(
            help="thompson, kl_ucb, ucb1, overlap_ucb, epsilon_greedy, round_robin or random; "
            "auto is the objective's own.",
            rich_help_panel=SELECTION,
        ),
    ] = "auto",
    target: Annotated[
        str,
        typer.Option(
            help="Split whose items, without labels, stand for what the student will meet: "
            "validation, test or none; auto is validation where it has 200 items.",
            rich_help_panel=SELECTION,
        ),
    ] = "auto",
    unit: Annotated[
        str, typer.Option(help="Unit of the budget: items or money.", rich_help_panel=SELECTION)
    ] = "items",
    costs: Annotated[
        str | None,
        typer.Option(help="Cost per item, e.g. web=0.1,crowd=2.", rich_help_panel=SELECTION),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="Sources that may not be stopped.", rich_help_panel=SELECTION),
    ] = None,
    stop: Annotated[
        str | None, typer.Option(help="Sources not to ask at all.", rich_help_panel=SELECTION)
    ] = None,
    separation: Annotated[
        float | None,
        typer.Option(
            help="Stop when one source is the best with this probability.",
            rich_help_panel=SELECTION,
        ),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Stop after so long.", rich_help_panel=SELECTION)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart",
            help="Go on with an earlier selection of these settings, or forget it.",
            rich_help_panel=SELECTION,
        ),
    ] = True,
    item: opt.Item = None,
    label: opt.Label = None,
    chosen: opt.Chosen = None,
    rejected: opt.Rejected = None,
    split: opt.Split = None,
    source: opt.Source = None,
    split_sizes: opt.SplitSizes = None,
    weak: opt.Weak = None,
    strong: opt.Strong = None,
    weak_features: opt.WeakFeatures = None,
    strong_features: opt.StrongFeatures = None,
    device: opt.Device = "auto",
    memory: opt.Memory = None,
    output: opt.Output = None,
    seed: opt.Seed = None,
) -> None:
    """Choose which source to query next, round by round, within a budget."""
    from w2s_data._memory import MemoryLimit
    from w2s_data.cli.tables import print_selection
    from w2s_data.stages import embed_stage, is_scored
    from w2s_selectors.policies import policy_from_name
    from w2s_selectors.stage import SelectionSettings, select_stage

    limit = MemoryLimit.parse(memory)
    settings = SelectionSettings(
        budget=budget,
        batch_size=batch,
        budget_unit=cast(Any, unit),  # checked by the selection
        policy=policy if policy == "auto" else policy_from_name(policy),
        objective=objective,
        costs=costs_from(costs),
        target=target,
        keep=tuple(listed(keep) or ()),
        stop=tuple(listed(stop) or ()),
        max_seconds=max_seconds,
        separation=separation,
    )
    roles = {
        "item": item,
        "label": label,
        "chosen": chosen,
        "rejected": rejected,
        "split": split,
        "source": source,
    }
    run, dataset = open_run(data, roles, output, seed, False, split_sizes, False)
    inputs = feature_inputs(dataset, weak, strong, weak_features, strong_features, device)
    features = embed_stage(run, dataset, inputs, context.obj, memory=limit)
    if not is_scored(run):
        scoring = ScoreSettings(device=device, show_progress=context.obj, memory=limit)
        score_run(run, dataset, features, scoring)
    summary = select_stage(
        run,
        dataset,
        features["strong"],
        settings,
        restart=not resume,
        on_round=None if context.obj is False else _tell,
        show_progress=False,
    )
    print_selection(summary)
    finish(run)


def _tell(row: dict[str, Any], believed: dict[str, tuple[float, float, float]]) -> None:
    """One line a round on standard error: what was asked, and what is believed of the best."""
    known = sorted(
        (item for item in believed.items() if item[1][0] == item[1][0]),  # NaN is unknown
        key=lambda item: -item[1][0],
    )
    best = ", ".join(
        f"{name} {reward:.2f} [{low:.2f}, {high:.2f}]"
        for name, (reward, low, high) in known[:SHOWN]
    )
    typer.echo(
        f"round {row['round'] + 1:3d}: {row['kept']:,} from {row['source']}, {row['spent']:g} "
        f"spent; {best or 'nothing known yet'}",
        err=True,
    )
