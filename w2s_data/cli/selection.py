"""The stage that chooses sources: select."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from w2s_data.cli import options as opt
from w2s_data.cli.inputs import costs_from, feature_inputs, listed, open_run
from w2s_data.cli.outcome import Outcome
from w2s_data.cli.scoring import ScoreSettings, score_run
from w2s_data.errors import InputError, NotApplicableError

if TYPE_CHECKING:
    from w2s_data.data.load import W2SDataset
    from w2s_data.utils.intervals import Estimate

SELECTION = "Selection"
SHOWN = 4  # sources in a line of progress


@opt.spread
def select(
    context: typer.Context,
    data: opt.Data,
    columns: opt.Columns,
    models: opt.Models,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Items to acquire, or money to spend; a quarter of the pool's items by default.",
            rich_help_panel=SELECTION,
        ),
    ] = None,
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
        typer.Option(
            help="Cost per item, e.g. web=0.1,crowd=2.",
            metavar=opt.NUMBERS,
            rich_help_panel=SELECTION,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Sources that may not be stopped.", metavar=opt.NAMES, rich_help_panel=SELECTION
        ),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option(
            help="Sources not to ask at all.", metavar=opt.NAMES, rich_help_panel=SELECTION
        ),
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
    device: opt.Device = "auto",
    memory: opt.Memory = None,
    output: opt.Output = None,
    seed: opt.Seed = None,
) -> Outcome:
    """Choose which source to query next, round by round, within a budget."""
    from w2s_data.compute.memory import MemoryLimit
    from w2s_data.stages import embed_stage
    from w2s_data.stages.graph import SCORE
    from w2s_reports import render_stage
    from w2s_selectors.policies import make_policy
    from w2s_selectors.stage import StageSettings, select_stage

    limit = MemoryLimit.parse(memory)
    run, dataset = open_run(data, columns, output, seed)
    settings = StageSettings(
        budget=_quarter(dataset, unit, batch) if budget is None else budget,
        batch_size=batch,
        budget_unit=unit,
        policy=policy if policy == "auto" else make_policy(policy),
        objective=objective,
        costs=costs_from(costs),
        target=target,
        keep=tuple(listed(keep) or ()),
        stop=tuple(listed(stop) or ()),
        max_seconds=max_seconds,
        separation=separation,
    )
    inputs = feature_inputs(dataset, models, device)
    features = embed_stage(run, dataset, inputs, context.obj, memory=limit)
    if not run.follows(SCORE):
        score = ScoreSettings(device=device, show_progress=context.obj, memory=limit)
        scored = score_run(run, dataset, features, score)
        typer.echo(render_stage("score", scored.summary), nl=False)
    result = select_stage(
        run,
        dataset,
        features["strong"],
        settings,
        restart=not resume,
        on_round=_print_round if context.obj is None else None,
        show_progress=context.obj is True,  # with a bar, a round needs no line
    )
    return Outcome(run, result.summary, result.fresh)


def _quarter(dataset: W2SDataset, unit: str, batch: int) -> float:
    """The default budget, a quarter of the pool, where that is enough to ask every source."""
    if unit != "items":
        raise InputError(f"say with --budget how much {unit} there is to spend")
    pool = dataset.rows("pool")
    quarter = len(pool) // 4
    n_sources = 0 if dataset.sources is None else len(set(dataset.sources[pool].tolist()))
    if quarter < batch * n_sources:
        raise NotApplicableError(
            f"a quarter of the pool is {quarter:,} items, too few to ask {n_sources} sources for "
            f"{batch} each: give a --budget or a smaller --batch"
        )
    return float(quarter)


def _print_round(row: dict[str, Any], rewards: Mapping[str, Estimate]) -> None:
    """Print one line per round to standard error: the query, and the best sources so far."""
    known = sorted(
        (item for item in rewards.items() if not math.isnan(item[1].value)),
        key=lambda item: -item[1].value,
    )
    best = ", ".join(
        f"{name} {reward.value:.2f} [{reward.low:.2f}, {reward.high:.2f}]"
        for name, reward in known[:SHOWN]
    )
    typer.echo(
        f"round {row['round'] + 1:3d}: {row['kept']:,} from {row['source']}, {row['spent']:g} "
        f"spent; {best or 'nothing known yet'}",
        err=True,
    )
