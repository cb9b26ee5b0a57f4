"""Result of a selection: what it bought, what it learned of the sources, and its regret."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.stages.graph import SELECTION, TRACE
from w2s_data.utils.intervals import LEVEL, estimate_records
from w2s_data.utils.io import atomic_path, jsonable, write_json
from w2s_data.utils.typing import FloatArray
from w2s_selectors.policies.policy import Policy
from w2s_selectors.simulation.regret import cumulative_regret, regret_bound, simple_regret

SHOWN = 12  # sources in a repr
SHOWN_COLUMNS = ["source", "items", "reward", "reward_low", "reward_high", "recommended", "status"]
DENSITY = "overlap density"  # the reward whose intervals are sampling only
# Fields that a summary holds as they are.
SUMMARY = ("objective", "reward", "budget", "budget_unit", "spent", "ended", "level")


@dataclass(frozen=True, eq=False)
class SelectionRegret:
    """Overlap points lost against the best remaining source.

    Attributes
    ----------
    kind : "known", "estimated" or "undefined"
        Against given densities, or against this selection's own last estimates: then the regret
        is an estimate too, and tends to be low, since chosen sources often look better than they
        are.
    cumulative : array (T,)
        After each round; NaN if undefined.
    bound : array (T,)
        Upper bound of its expectation, where one is proven for the policy; NaN elsewhere.
    simple : float
        Density of the best source minus that of the recommended one.
    reason : str
        Why a value is NaN, or the source of the bound.
    """

    kind: str
    cumulative: FloatArray
    bound: FloatArray
    simple: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the values after the last round; NaN becomes None."""
        last = {name: getattr(self, name)[-1:].tolist() for name in ("cumulative", "bound")}
        ends = {name: value[0] if value else None for name, value in last.items()}
        return dict(jsonable({**vars(self), **ends}))

    def __repr__(self) -> str:
        last = self.cumulative[-1] if len(self.cumulative) else np.nan
        return f"SelectionRegret({self.kind}, {last:.4g} points, simple={self.simple:.3g})"


@dataclass(frozen=True, eq=False, repr=False)
class SelectionResult:
    """Result of `select_sources`: items bought, sources judged, and choices compared.

    Attributes
    ----------
    trace : DataFrame (T rows)
        One row per round: round, source, kind (answer, timeout, failure), asked, delivered, kept,
        cost, spent, index (the score that the source was chosen by, after costs), observed (reward
        of the answer by itself), reward with its limits reward_low and reward_high (of the source,
        judged on everything after the round), n_open, note.
    sources : DataFrame (K rows)
        The final judgement: source, cost, items, spent, set_aside (items that are not chosen),
        reward, reward_low, reward_high, probability_best, recommended (items, for another budget
        of the same size), status (open, stopped, gone) and reason.
    ids : tuple of tuple of str
        Items bought in each round and usable, those of stopped sources included.
    scores : array (T, K)
        Scores that the sources were chosen by; NaN in the warm-up.
    baselines : DataFrame or None
        The same budget spent on the same sources at random and in turn: strategy, runs, means
        with limits (`_low`, `_high`) of the objective's `value` and of `evaluated`, and in
        `_noise` how far one more run may lie from that mean. "all_bought" is the selection with
        the items that were set aside, if there are any. None if the sources cannot be replayed.
    replayed : DataFrame or None
        One row per round of the selection and of each replay: strategy, run, round, source,
        items, spent, ids (without those that were set aside). None without baselines.
    ended : str
        The stop rule that ended the selection.
    level : float
        Coverage of all intervals.
    verdict : str
        Whether the choice differs from random choice by more than random runs differ.
    notes : tuple of str
        Failures, dropped items and other things to know.

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
    level: float = LEVEL
    verdict: str = ""
    notes: tuple[str, ...] = ()

    @property
    def chosen_ids(self) -> tuple[str, ...]:
        """Ids of the items to train on, in the order of their delivery; none of `set_aside`."""
        stopped, rounds = self.stopped, zip(self.trace["source"], self.ids, strict=True)
        return tuple(name for source, part in rounds if source not in stopped for name in part)

    @property
    def set_aside(self) -> pd.DataFrame:
        """Items bought from sources that are stopped in the end: id, source and reason.

        They were paid for, and the trace has their cost. A source that came back, or that `keep`
        names, keeps all its items in `chosen_ids`, also those that it sold before.
        """
        stopped, rounds = self.stopped, zip(self.trace["source"], self.ids, strict=True)
        rows = [
            (name, source, stopped[source])
            for source, part in rounds
            if source in stopped
            for name in part
        ]
        return pd.DataFrame(rows, columns=["id", "source", "reason"])

    @property
    def stopped(self) -> dict[str, str]:
        """Stopped sources by name, with the reason and its evidence."""
        table = self.sources[self.sources["status"] == "stopped"]
        return dict(zip(table["source"], table["reason"], strict=True))

    def regret(self, densities: Sequence[float] | None = None) -> SelectionRegret:
        """Compute the regret of all that was bought, against true or last estimated densities.

        Parameters
        ----------
        densities : K floats, optional
            In the order of `sources`.
        """
        kind, density = "known", np.asarray(densities, dtype=np.float64)
        if densities is None:
            kind, density = "estimated", self.sources["reward"].to_numpy(dtype=np.float64)
        nothing = np.full(len(self.trace), np.nan)
        # Differences of label consistency are not points lost.
        if self.reward != DENSITY and kind == "estimated":
            reason = f"regret needs densities; objective {self.objective!r} measures {self.reward}"
            return SelectionRegret("undefined", nothing, nothing, np.nan, reason)
        if np.isnan(density).any():
            reason = "some sources were never judged"
            return SelectionRegret("undefined", nothing, nothing, np.nan, reason)
        arms = self.sources["source"].tolist()
        chosen = np.array([arms.index(name) for name in self.trace["source"]], dtype=np.int64)
        costs = self.sources["cost"].to_numpy()
        kept = self.trace["kept"].to_numpy()
        lost = cumulative_regret(chosen, density, items=kept, costs=costs, sizes=self.sizes)
        # Before the first kept item the bound is that of one point; a logarithm needs it.
        bound = regret_bound(self.policy, density, np.maximum(kept.cumsum(), 1))
        # The source that the recommendation gives most to stands for it.
        best = int(self.sources["recommended"].fillna(0).to_numpy().argmax())
        simple = float(simple_regret(best, density, costs=costs))
        return SelectionRegret(kind, lost, bound.values, simple, bound.source or bound.reason)

    def to_frame(self, ids: bool = False) -> pd.DataFrame:
        """Return the trace, if `ids` with the list of ids bought in each round.

        `set_aside` counts the round's items that are not chosen, `reason` says why.
        """
        stopped, source = self.stopped, self.trace["source"]
        frame = self.trace.assign(
            set_aside=self.trace["kept"].where(source.isin(list(stopped)), 0),
            reason=[stopped.get(name, "") for name in source],
        )
        if not ids:
            return frame
        return frame.assign(ids=pd.Series([list(part) for part in self.ids], dtype=object))

    def to_dict(self) -> dict[str, Any]:
        """Return a summary of everything but the trace, the ids and the scores.

        Estimates are {"value", "low", "high", "level"}; NaN becomes None.
        """
        baselines = None
        if self.baselines is not None:
            baselines = estimate_records(self.baselines, self.level)
        summary = {name: getattr(self, name) for name in SUMMARY} | {
            "policy": repr(self.policy),
            "rounds": len(self.trace),
            "items": len(self.chosen_ids),
            "set_aside": len(self.set_aside),
            "sources": estimate_records(self.sources, self.level),
            "stopped": self.stopped,
            "baselines": baselines,
            "regret": self.regret().to_dict(),
            "verdict": self.verdict,
            "notes": self.notes,
        }
        return dict(jsonable(summary))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `selection.parquet` (the trace with the ids of each round) and `selection.json`."""
        target = Path(folder)
        with atomic_path(target / TRACE) as partial:
            self.to_frame(ids=True).to_parquet(partial, index=False)
        write_json(target / SELECTION, self.to_dict())

    def __repr__(self) -> str:
        aside = len(self.set_aside)
        head = (
            f"SelectionResult: {len(self.chosen_ids):,} items in {len(self.trace):,} rounds for "
            f"{self.spent:g} of {self.budget:g} {self.budget_unit}"
            f"{f' ({aside:,} more set aside)' if aside else ''}; {self.ended}"
        )
        limits = ", sampling only" if self.reward == DENSITY else ""
        table = self.sources.sort_values("items", ascending=False, kind="stable")[SHOWN_COLUMNS]
        lines = [
            head,
            f"objective {self.objective} ({self.reward}{limits}), policy {self.policy!r}",
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
