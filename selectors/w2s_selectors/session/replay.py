"""Replays: the same budget spent at random and in turn, on sources whose items are at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.intervals import LEVEL, mean_estimate, prediction_halfwidth
from w2s_data.utils.typing import FloatArray
from w2s_selectors.objectives.acquired import Acquired
from w2s_selectors.session.plan import SLACK, Plan
from w2s_selectors.session.session import Session
from w2s_selectors.sources.base import ReplayableSource

Evaluate = Callable[[FloatArray, FloatArray], float]

ROUNDING = 9  # digits: equal sets differ by rounding when they are summed in another order
LARGEST = 50_000  # items: with 5 replays of two strategies, eleven such sets lie in memory


def why_not(plan: Plan, session: Session) -> str:
    """Return why a selection cannot be replayed; empty if it can."""
    if not len(session.acquired):
        return "nothing was acquired"
    if len(session.acquired) > LARGEST:
        return f"more than {LARGEST:,} items were acquired"
    for source in plan.sources:
        if not isinstance(source, ReplayableSource):
            return f"source {source.name!r} delivers an item only once"
        if not source.ready:
            return f"source {source.name!r} has no ready-made features and probabilities"
    return ""


def compare(
    plan: Plan, session: Session, evaluate: Evaluate | None
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Compare the choice with `settings.replays` runs of random and of round-robin choice.

    Returns
    -------
    tuple
        `baselines`, `replayed` and `verdict` of a `SelectionResult`.
    """
    level = LEVEL if session.judgement is None else session.judgement.level
    sets: dict[str, list[Acquired]] = {"chosen": [session.acquired]}
    rounds = _chosen_rounds(plan, session)
    for strategy in ("random", "round_robin"):
        sets[strategy] = []
        for run in range(plan.settings.replays):
            # The same shuffles for both strategies: they differ in their choices alone.
            rng = np.random.default_rng([session.seed, run])
            acquired, asked = _replayed(plan, session.spent, strategy, rng)
            sets[strategy].append(acquired)
            rounds += [{"strategy": strategy, "run": run, **row} for row in asked]
    # Valued together: an objective may fit one detector on the union, which makes sets comparable.
    everything = [each for of_strategy in sets.values() for each in of_strategy]
    measured = {"value": session.judge.values(everything)}
    if evaluate is not None:
        measured["evaluated"] = [
            float(evaluate(each.strong_features.array, each.weak_proba)) for each in everything
        ]
    records, start = [], 0
    for strategy, of_strategy in sets.items():
        rows = slice(start, start + len(of_strategy))
        start = rows.stop
        record: dict[str, Any] = {"strategy": strategy, "runs": len(of_strategy)}
        for name, values in measured.items():
            record |= mean_estimate(values[rows], level).columns(name)
            record[f"{name}_noise"] = float(prediction_halfwidth(values[rows], level))
        records.append(record)
    table = pd.DataFrame(records)
    return table, pd.DataFrame(rounds), _verdict(table, level)


def _chosen_rounds(plan: Plan, session: Session) -> list[dict[str, Any]]:
    return [
        {"strategy": "chosen", "run": 0, "round": record.round}
        | {"source": plan.sources[record.source].name, "items": record.kept}
        | {"spent": record.spent, "ids": ids}
        for record, ids in zip(session.records, session.chosen, strict=True)
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
            acquired.add(k, np.asarray(batch.strong_features), np.asarray(batch.weak_proba))
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
