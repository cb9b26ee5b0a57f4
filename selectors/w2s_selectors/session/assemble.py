"""Result of a finished session: last judgement, comparison, tables."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.intervals import LEVEL
from w2s_data.utils.typing import FloatArray
from w2s_selectors.objectives.base import Judgement
from w2s_selectors.result import SelectionResult
from w2s_selectors.session.checkpoint import Record
from w2s_selectors.session.plan import Plan
from w2s_selectors.session.posterior import probability_best, recommended_items
from w2s_selectors.session.replay import Evaluate, compare, why_not
from w2s_selectors.session.session import Session

# Of a record; the rest serves resuming.
TRACE = [f.name for f in fields(Record) if f.name not in ("left_out", "scores", "generator")]


def trace_row(plan: Plan, record: Record) -> dict[str, Any]:
    """Return a record as a row of the trace."""
    row = {name: getattr(record, name) for name in TRACE}
    return row | {"source": plan.sources[record.source].name}


def assemble(
    plan: Plan, session: Session, ended: str, evaluate: Evaluate | None
) -> SelectionResult:
    """Judge once more, compare with the baselines, and build the result."""
    judgement = session.judgement
    if judgement is not None:
        judgement = session.judge.conclude(session.acquired, judgement)
    notes = [f"round {record.round}: {record.note}" for record in session.records if record.note]
    baselines = replayed = None
    verdict = ""
    if plan.settings.replays > 0:
        reason = why_not(plan, session)
        if reason:
            notes.append(f"not compared with random and round-robin choice: {reason}")
        else:
            baselines, replayed, verdict = compare(plan, session, evaluate)
    n_sources = len(plan.sources)
    scores = np.array([record.scores for record in session.records], dtype=np.float64)
    return SelectionResult(
        trace=pd.DataFrame([trace_row(plan, r) for r in session.records], columns=TRACE),
        sources=_table(plan, session, judgement),
        ids=tuple(session.chosen),
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
    unknown = np.full(len(plan.sources), np.nan)
    counts = session.acquired.counts
    table = {
        "source": [source.name for source in plan.sources],
        "cost": plan.costs,
        "items": counts,
        "spent": session.delivered * plan.units,
        "reward": unknown,
        "reward_low": unknown,
        "reward_high": unknown,
        "probability_best": unknown,
        "recommended": unknown,
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
    """Return the items to buy from each source with another budget of the same size."""
    # Closed sources cannot be recommended, however well they were judged.
    closed = [*session.gone, *session.stopped]
    room = _sizes(plan) - session.delivered
    room[closed] = 0.0
    if not (room > 0).any():
        return np.zeros(len(room))
    planned = session.judge.planned(room, plan.settings.budget, plan.units)
    return recommended_items(
        judgement, planned, room, plan.settings.budget, plan.costs, plan.units, session.seed
    ).round(1)  # shares of a plan; digits beyond would suggest a precision that it lacks
