"""What a selection found out, and what it bought."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.io import atomic_path, jsonable, write_json
from w2s_data.utils.typing import FloatArray
from w2s_selectors.policies.base import Policy
from w2s_selectors.simulation.regret import cumulative_regret, regret_bound, simple_regret

SCHEMA = 1
SHOWN = 12


@dataclass(frozen=True, eq=False)
class SelectionRegret:
    """Points lost against the best remaining source.

    Attributes
    ----------
    kind : "known", "estimated" or "undefined"
        Against densities that were given, or against this selection's own last estimates: then
        the regret is an estimate too, and a low one, since what was chosen often looks better.
    cumulative : array (T,)
        After each round; NaN if undefined.
    bound : array (T,)
        Of its expectation, where one is proven for the policy; NaN elsewhere.
    simple : float
        Density of the best source minus that of the recommended one.
    reason : str
        Why something is NaN, or where the bound is from.
    """

    kind: str
    cumulative: FloatArray
    bound: FloatArray
    simple: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return dict(jsonable(self))

    def __repr__(self) -> str:
        last = self.cumulative[-1] if len(self.cumulative) else np.nan
        return f"SelectionRegret({self.kind}, {last:.4g} points, simple={self.simple:.3g})"


@dataclass(frozen=True, eq=False, repr=False)
class SelectionResult:
    """What `select_sources` bought, from whom, and why.

    Attributes
    ----------
    trace : DataFrame (T rows)
        One row a round: round, source, kind (answer, timeout, failure), asked, delivered, kept,
        cost, spent, index (what the source was chosen by, after costs), observed (reward of the
        answer by itself), reward with low and high (the source's, judged on everything after the
        round), n_open, note.
    sources : DataFrame (K rows)
        What is believed in the end: source, cost, items, spent, reward, low, high,
        probability_best, recommended (items, for another budget of the same size), status (open,
        stopped, gone) and reason.
    ids : tuple of tuple of str
        Items kept in each round.
    scores : array (T, K)
        What the sources were chosen by; NaN in the warm-up.
    baselines : DataFrame or None
        The same budget spent at random and in turn on the same sources, replayed: strategy, runs,
        mean, low, high of the objective's `value` and of `evaluated`, and in `_noise` how far one
        more run may lie from that mean. None if the sources cannot be replayed.
    replayed : DataFrame or None
        One row a round of what was chosen and of each replay: strategy, run, round, source, items,
        spent, ids. None without baselines.
    ended : str
        The stop rule that held.
    verdict : str
        Whether what was chosen differs from random choice by more than random runs differ.
    notes : tuple of str
        What was out of the ordinary.

    Examples
    --------
    >>> from w2s_data.data.examples import gaussian_overlap
    >>> from w2s_selectors.selection import select_sources
    >>> from w2s_selectors import TableSource
    >>> example = gaussian_overlap(600, sources={"web": 0.1, "crowd": 0.6})
    >>> tables = TableSource.from_dataset(
    ...     example.dataset, strong_features=example.strong_features
    ... )
    >>> result = select_sources(tables, budget=240, batch_size=20, objective="overlap",
    ...                         random_state=0)
    >>> result.trace[["source", "kept"]].head(3).values.tolist()
    [['crowd', 20], ['web', 20], ['crowd', 20]]
    >>> result.regret([0.6, 0.1]).kind, result.ended
    ('known', 'the budget is spent')
    """

    trace: pd.DataFrame
    sources: pd.DataFrame
    ids: tuple[tuple[str, ...], ...]
    scores: FloatArray
    baselines: pd.DataFrame | None
    replayed: pd.DataFrame | None
    objective: str
    reward: str
    policy: Policy
    budget: float
    budget_unit: str
    spent: float
    sizes: FloatArray
    ended: str
    verdict: str = ""
    notes: tuple[str, ...] = ()

    @property
    def chosen_ids(self) -> tuple[str, ...]:
        """Ids of all items kept, in the order in which they came."""
        return tuple(name for part in self.ids for name in part)

    @property
    def stopped(self) -> dict[str, str]:
        """Stopped sources by name, with the reason and its evidence."""
        table = self.sources[self.sources["status"] == "stopped"]
        return dict(zip(table["source"], table["reason"], strict=True))

    def regret(self, densities: Sequence[float] | None = None) -> SelectionRegret:
        """Regret against true densities, or else against the last estimates.

        Parameters
        ----------
        densities : K floats, optional
            In the order of `sources`.
        """
        kind, density = "known", np.asarray(densities, dtype=np.float64)
        if densities is None:
            kind, density = "estimated", self.sources["reward"].to_numpy(dtype=np.float64)
        nothing = np.full(len(self.trace), np.nan)
        if self.reward != "overlap density" and kind == "estimated":
            reason = f"regret needs densities; objective {self.objective!r} measures {self.reward}"
            return SelectionRegret("undefined", nothing, nothing, np.nan, reason)
        if np.isnan(density).any():
            reason = "nothing is known of some sources"
            return SelectionRegret("undefined", nothing, nothing, np.nan, reason)
        arms = self.sources["source"].tolist()
        chosen = np.array([arms.index(name) for name in self.trace["source"]], dtype=np.int64)
        costs = self.sources["cost"].to_numpy()
        kept = self.trace["kept"].to_numpy()
        lost = cumulative_regret(chosen, density, items=kept, costs=costs, sizes=self.sizes)
        bound = regret_bound(self.policy, density, np.maximum(kept.cumsum(), 1))
        best = int(self.sources["recommended"].fillna(0).to_numpy().argmax())
        simple = float(simple_regret(best, density, costs=costs))
        return SelectionRegret(kind, lost, bound.values, simple, bound.source or bound.reason)

    def to_frame(self, ids: bool = False) -> pd.DataFrame:
        """A copy of the trace, with a column of the `ids` of each round if wanted."""
        if not ids:
            return self.trace.copy()
        return self.trace.assign(ids=pd.Series([list(part) for part in self.ids], dtype=object))

    def to_dict(self) -> dict[str, Any]:
        """The summary: everything but the trace, the ids and the scores."""
        return dict(
            jsonable(
                {
                    "schema": SCHEMA,
                    "objective": self.objective,
                    "reward": self.reward,
                    "policy": repr(self.policy),
                    "budget": self.budget,
                    "budget_unit": self.budget_unit,
                    "spent": self.spent,
                    "rounds": len(self.trace),
                    "items": len(self.chosen_ids),
                    "ended": self.ended,
                    "sources": self.sources.to_dict("records"),
                    "stopped": self.stopped,
                    "baselines": None
                    if self.baselines is None
                    else self.baselines.to_dict("records"),
                    "regret": _last(self.regret()),
                    "verdict": self.verdict,
                    "notes": self.notes,
                }
            )
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `selection.parquet` (the trace with the ids of each round) and `selection.json`."""
        target = Path(folder)
        with atomic_path(target / "selection.parquet") as partial:
            self.to_frame(ids=True).to_parquet(partial, index=False)
        write_json(target / "selection.json", self.to_dict())

    def __repr__(self) -> str:
        head = (
            f"SelectionResult: {len(self.chosen_ids):,} items in {len(self.trace):,} rounds for "
            f"{self.spent:g} of {self.budget:g} {self.budget_unit}; {self.ended}"
        )
        columns = ["source", "items", "reward", "low", "high", "recommended", "status"]
        table = self.sources.sort_values("items", ascending=False, kind="stable")[columns]
        lines = [
            head,
            f"objective {self.objective} ({self.reward}), policy {self.policy!r}",
            table.head(SHOWN).to_string(
                index=False,
                float_format=lambda value: f"{value:.3g}",
                formatters={"recommended": lambda value: f"{value:,.0f}"},
            ),
        ]
        if len(table) > SHOWN:
            lines.append(f"... and {len(table) - SHOWN} more sources")
        lines += [f"stopped {name!r}: {why}" for name, why in list(self.stopped.items())[:SHOWN]]
        lines += [self.verdict] if self.verdict else []
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def _last(regret: SelectionRegret) -> dict[str, Any]:
    last = slice(-1, None)
    return {
        "kind": regret.kind,
        "cumulative": next(iter(regret.cumulative[last]), np.nan),
        "bound": next(iter(regret.bound[last]), np.nan),
        "simple": regret.simple,
        "reason": regret.reason,
    }
