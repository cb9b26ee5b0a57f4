"""The same budget spent at random and in turn, on sources whose items are at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from w2s_data._typing import FloatArray
from w2s_selectors._session import Plan, Session
from w2s_selectors.acquired import Acquired
from w2s_selectors.regret import mean_interval
from w2s_selectors.sources import ReplayableSource

Evaluate = Callable[[FloatArray, FloatArray], float]

LARGEST = 50_000  # items; a larger selection is not replayed


def why_not(plan: Plan, session: Session) -> str:
    """Why a selection cannot be replayed; empty if it can."""
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


def compare(plan: Plan, session: Session, replays: int, evaluate: Evaluate | None) -> pd.DataFrame:
    """Value of what was chosen, and of `replays` other orders at random and in turn.

    A row each for chosen, random and round_robin: runs, mean, low and high of the objective's
    `value` and, if given, of `evaluate`. One run has no interval.
    """
    sets: dict[str, list[Acquired]] = {"chosen": [session.acquired]}
    for strategy in ("random", "round_robin"):
        sets[strategy] = [
            _replayed(plan, session.spent, strategy, np.random.default_rng([session.seed, run]))
            for run in range(replays)
        ]
    everything = [each for of_strategy in sets.values() for each in of_strategy]
    measured = {"value": _values(session.judge, everything)}
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
            mean, low, high = mean_interval(np.array(values[rows]))
            record |= {name: float(mean), f"{name}_low": float(low), f"{name}_high": float(high)}
        records.append(record)
    frame = pd.DataFrame(records)
    frame.attrs["verdict"] = _verdict(measured, replays)
    return frame


def _replayed(plan: Plan, budget: float, strategy: str, rng: np.random.Generator) -> Acquired:
    """Spend a budget on the sources in other orders."""
    sources = [s.shuffled(rng) for s in plan.sources if isinstance(s, ReplayableSource)]
    acquired = Acquired(len(sources))
    units, dry, turn = plan.units, np.zeros(len(sources), dtype=np.bool_), 0
    while (open_ := ~dry & (units <= budget + 1e-9)).any():
        if strategy == "random":
            k = int(rng.choice(np.flatnonzero(open_)))
        else:
            k = int(np.flatnonzero(open_)[turn % open_.sum()])
        turn += 1
        n = int(min(plan.batch_size, (budget + 1e-9) // units[k]))
        batch = sources[k].query(n, "")
        dry[k] = len(batch) < n
        budget -= len(batch) * units[k]
        if len(batch):
            acquired.add(k, np.asarray(batch.strong_features), np.asarray(batch.weak_proba))
    return acquired


def _values(judge: Any, sets: list[Acquired]) -> list[float]:
    return judge.values(sets) if hasattr(judge, "values") else [np.nan] * len(sets)


def _verdict(measured: dict[str, list[float]], replays: int) -> str:
    """Whether what was chosen differs from random by more than random runs differ."""
    from scipy.stats import t

    name = "evaluated" if "evaluated" in measured else "value"
    chosen, random = measured[name][0], np.array(measured[name][1 : 1 + replays])
    if replays < 2 or not np.isfinite([chosen, *random]).all():
        return ""
    noise = t.ppf(0.975, replays - 1) * random.std(ddof=1) * np.sqrt(1 + 1 / replays)
    difference = chosen - random.mean()
    said = "within noise" if abs(difference) <= noise else "beyond noise"
    return (
        f"{name}: chosen {chosen:.4g}, random {random.mean():.4g}; the difference of "
        f"{difference:+.4g} is {said} (random runs differ by {noise:.2g}, 95 %)"
    )
