"""Result of a finished session: last judgement, comparison with replays, tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.splits import apportion
from w2s_data.utils.intervals import LEVEL, mean_estimate, prediction_halfwidth
from w2s_data.utils.typing import FloatArray
from w2s_selectors.objectives.base import Acquired, Judgement
from w2s_selectors.result import SelectionResult
from w2s_selectors.session.checkpoint import Record
from w2s_selectors.session.plan import SLACK, Plan
from w2s_selectors.session.posterior import draws, fill, probability_best
from w2s_selectors.session.session import Session
from w2s_selectors.sources.base import ReplayableSource

# Fields of a record that a trace has; the rest serves resuming.
TRACE = [f.name for f in fields(Record) if f.name not in ("left_out", "scores", "generator")]
JUDGED = ("reward", "reward_low", "reward_high", "probability_best", "recommended")
ROUNDING = 9  # digits: equal sets differ by rounding when they are summed in another order
LARGEST = 50_000  # items: with 5 replays of two strategies, twelve such sets lie in memory
NOTHING_LEFT = "nothing is left to train on: every source that delivered was stopped"


def trace_row(plan: Plan, record: Record) -> dict[str, Any]:
    """Return a record as a row of the trace."""
    row = {name: getattr(record, name) for name in TRACE}
    return row | {"source": plan.sources[record.source].name}


def assemble(
    plan: Plan,
    session: Session,
    ended: str,
    evaluate: Evaluate | None,
    max_replayed: int = LARGEST,
) -> SelectionResult:
    """Judge once more, compare with the baselines, and build the result."""
    judgement = session.judgement
    if judgement is not None:
        judgement = session.judge.conclude(session.acquired, judgement)
    notes = [f"round {record.round}: {record.note}" for record in session.records if record.note]
    chosen = session.acquired.without(session.stopped)
    if len(session.acquired) and not len(chosen):
        notes.insert(0, NOTHING_LEFT)
    baselines = replayed = None
    verdict = ""
    if plan.settings.replays > 0:
        reason = _why_not(plan, session, max_replayed)
        if reason:
            notes.append(f"not compared with random and round-robin choice: {reason}")
        else:
            baselines, replayed, verdict = _compare(plan, session, chosen, evaluate)
    n_sources = len(plan.sources)
    scores = np.array([record.scores for record in session.records], dtype=np.float64)
    return SelectionResult(
        trace=pd.DataFrame([trace_row(plan, r) for r in session.records], columns=TRACE),
        sources=_table(plan, session, judgement),
        ids=tuple(session.bought),
        scores=scores.reshape(-1, n_sources),
        baselines=baselines,
        replayed=replayed,
        objective=plan.objective.name,
        reward=plan.objective.reward,
        policy=plan.policy,
        budget=plan.settings.budget,
        budget_unit=plan.settings.budget_unit,
        spent=session.spent,
        sizes=_sizes(plan),
        ended=ended,
        level=LEVEL if judgement is None else judgement.level,
        verdict=verdict,
        notes=tuple(notes),
    )


def _sizes(plan: Plan) -> FloatArray:
    return np.array([np.inf if s.size is None else s.size for s in plan.sources], dtype=np.float64)


def _table(plan: Plan, session: Session, judgement: Judgement | None) -> pd.DataFrame:
    counts = session.acquired.counts
    table = {
        "source": [source.name for source in plan.sources],
        "cost": plan.costs,
        "items": counts,
        "spent": session.delivered * plan.units,
        "set_aside": np.where(np.isin(np.arange(len(counts)), [*session.stopped]), counts, 0),
        **dict.fromkeys(JUDGED, np.nan),
    }
    if judgement is not None:
        table |= {
            "reward": judgement.rewards,
            "reward_low": judgement.low,
            "reward_high": judgement.high,
            "probability_best": probability_best(judgement, session.seed),
            "recommended": _recommended(plan, session, judgement),
        }
    why = session.gone | session.stopped
    status = [
        "stopped" if k in session.stopped else "gone" if k in session.gone else "open"
        for k in range(len(counts))
    ]
    reasons = [why.get(k, "") for k in range(len(counts))]
    return pd.DataFrame(table | {"status": status, "reason": reasons})


def _recommended(plan: Plan, session: Session, judgement: Judgement) -> FloatArray:
    """Return the items (K,) to buy from each source with another budget of the same size.

    They follow the objective's own plan; else the probability of being the best per unit of cost,
    where rewards are counted; else all sources get the same number.
    """
    budget, units = plan.settings.budget, plan.units
    # Closed sources cannot be recommended, however well they were judged.
    room = _sizes(plan) - session.delivered
    room[[*session.gone, *session.stopped]] = 0.0
    open_, weights = room > 0, np.ones(len(room))
    if not open_.any():
        return np.zeros(len(room))
    items = session.judge.planned(room, budget, units)
    if items is None:
        if judgement.gains is not None:  # greedy: all to the best, ties shared
            weights = (judgement.gains == judgement.gains[open_].max()).astype(np.float64)
        elif judgement.counted:
            # Each draw buys from its best open source, like Thompson sampling with this posterior.
            drawn = np.where(open_, draws(judgement, session.seed) / plan.costs, -np.inf)
            best = np.where(np.isnan(drawn), -np.inf, drawn).argmax(axis=1)
            weights = np.bincount(best, minlength=len(room)) * units.min() / units
        items = fill(np.where(open_, weights, 0.0), room, budget, units)
    # Nobody buys a part of an item. With money the parts are dropped, so that it suffices.
    if plan.settings.budget_unit == "money" or not items.any():
        return np.asarray(np.floor(items + SLACK))
    return apportion(int(items.sum() + SLACK), items).astype(np.float64)


Evaluate = Callable[[FloatArray, FloatArray], float]


def _why_not(plan: Plan, session: Session, most: int) -> str:
    """Return why a selection cannot be replayed; empty if it can."""
    if not len(session.acquired):
        return "nothing was acquired"
    if len(session.acquired) > most:
        limited = ", too many for the memory limit" if most < LARGEST else ""
        return f"more than {most:,} items were acquired{limited}"
    for source in plan.sources:
        if not isinstance(source, ReplayableSource):
            return f"source {source.name!r} delivers an item only once"
        if not source.ready:
            return f"source {source.name!r} has no ready-made features and probabilities"
    return ""


def _compare(
    plan: Plan, session: Session, chosen: Acquired, evaluate: Evaluate | None
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Compare the choice with random and round-robin choice: `baselines`, `replayed`, `verdict`."""
    level = LEVEL if session.judgement is None else session.judgement.level
    sets: dict[str, list[Acquired]] = {"chosen": [chosen]}
    if len(chosen) < len(session.acquired):
        sets["all_bought"] = [session.acquired]
    rounds = _chosen_rounds(plan, session)
    for strategy in ("random", "round_robin"):
        sets[strategy] = []
        for run in range(plan.settings.replays):
            # The same shuffles for both strategies: they differ in their choices alone.
            rng = np.random.default_rng([session.seed, run])
            acquired, asked = _replayed(plan, session.spent, strategy, rng)
            sets[strategy].append(acquired)
            rounds += [{"strategy": strategy, "run": run, **row} for row in asked]
    measured = _measured(session, [each for of in sets.values() for each in of], evaluate)
    strategies = [strategy for strategy, of_strategy in sets.items() for _ in of_strategy]
    records = []
    for label, runs in measured.groupby(strategies, sort=False):
        record: dict[str, Any] = {"strategy": label, "runs": len(runs)}
        for name in measured:
            record |= mean_estimate(runs[name], level).columns(str(name))
            record[f"{name}_noise"] = float(prediction_halfwidth(runs[name], level))
        records.append(record)
    table = pd.DataFrame(records)
    return table, pd.DataFrame(rounds), _verdict(table, level)


def _measured(
    session: Session, sets: Sequence[Acquired], evaluate: Evaluate | None
) -> pd.DataFrame:
    """Return the objective's value of each set, and what `evaluate` says; NaN of an empty one."""
    filled = [row for row, each in enumerate(sets) if len(each)]
    some = [sets[row] for row in filled]
    # Valued together: an objective may fit one detector on the union, which makes sets comparable.
    measured = pd.DataFrame({"value": session.judge.values(some)}, filled, dtype=np.float64)
    if evaluate is not None:
        measured["evaluated"] = [
            float(evaluate(each.strong_features.array, each.weak_proba)) for each in some
        ]
    return measured.reindex(range(len(sets)))


def _chosen_rounds(plan: Plan, session: Session) -> list[dict[str, Any]]:
    stopped = session.stopped
    return [
        {"strategy": "chosen", "run": 0, "round": record.round}
        | {"source": plan.sources[record.source].name, "items": record.kept}
        | {"spent": record.spent, "ids": () if record.source in stopped else ids}
        for record, ids in zip(session.records, session.bought, strict=True)
    ]


def _replayed(
    plan: Plan, budget: float, strategy: str, rng: np.random.Generator
) -> tuple[Acquired, list[dict[str, Any]]]:
    """Spend a budget on the sources, shuffled, by one of the baseline strategies."""
    sources = [s.shuffled(rng) for s in plan.sources if isinstance(s, ReplayableSource)]
    acquired = Acquired(len(sources))
    asked: list[dict[str, Any]] = []
    units, dry, turn = plan.units, np.zeros(len(sources), dtype=np.bool_), 0
    left = budget
    while (open_ := ~dry & (units <= left + SLACK)).any():
        if strategy == "random":
            k = int(rng.choice(np.flatnonzero(open_)))
        else:
            k = int(np.flatnonzero(open_)[turn % open_.sum()])
        turn += 1
        # Batches as in the selection, so that only the order of the sources differs.
        n = int(min(plan.settings.batch_size, (left + SLACK) // units[k]))
        batch = sources[k].query(n, "")
        dry[k] = len(batch) < n
        left -= len(batch) * units[k]
        if len(batch):
            strong, proba = np.asarray(batch.strong_features), np.asarray(batch.weak_proba)
            acquired.add(k, strong, proba, batch.trust)
            asked.append(
                {"round": len(asked), "source": sources[k].name, "items": len(batch)}
                | {"spent": budget - left, "ids": batch.ids}
            )
    return acquired, asked


def _verdict(table: pd.DataFrame, level: float) -> str:
    """Say whether the choice differs from random choice by more than random runs differ.

    The noise of one more run, not of the mean: the choice is a single run itself.
    """
    name = "evaluated" if "evaluated" in table else "value"
    rows = table.set_index("strategy")
    chosen, random, noise = rows[name]["chosen"], rows[name]["random"], rows[f"{name}_noise"]
    if not np.isfinite([chosen, random, noise["random"]]).all():
        return ""
    # Rounded first: equal sets would else differ "beyond noise" where the noise is 0.
    difference = round(chosen - random, ROUNDING)
    within = abs(difference) <= noise["random"] + 10**-ROUNDING
    return (
        f"{name}: chosen {chosen:.4g}, random {random:.4g}; the difference of "
        f"{difference:+.4g} is {'within' if within else 'beyond'} noise "
        f"(random runs differ by {noise['random']:.2g}, {level:.0%})"
    )
