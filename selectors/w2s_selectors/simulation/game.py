"""Runs of one policy side by side, as the simulation harness plays them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_selectors.policies.base import Policy, ScorePolicy
from w2s_selectors.policies.state import ArmState
from w2s_selectors.simulation.regret import cumulative_regret, simple_regret
from w2s_selectors.simulation.sources import Draws, SimulatedSources

RUNS_AT_ONCE = 256
ITEMS_AT_ONCE = 5_000_000  # of all pools in all runs that are played side by side
SLACK = 1e-9  # of an item: what rounding may leave of the budget


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """What one run acquired; the argument of a metric.

    Attributes
    ----------
    policy : str
    chosen, items : int array (T,)
        Source asked and items brought by each query.
    rows : tuple of K int arrays
        Row numbers drawn from each source in order, for `PoolSources`; else ().
    """

    policy: str
    chosen: IntArray
    items: IntArray
    rows: tuple[IntArray, ...]


@dataclass(frozen=True, eq=False)
class Game:
    """What all policies play."""

    sources: SimulatedSources
    budget: float
    batch: int
    outstanding: int
    n_points: int
    metric: Callable[[SimulatedRun], float] | None

    @property
    def spent(self) -> FloatArray:
        """Spendings (n_points,) at which measures are reported."""
        return np.linspace(self.budget / self.n_points, self.budget, self.n_points)

    @property
    def most(self) -> IntArray:
        """Items (K,) that the budget could buy of one source, at most those it holds."""
        affordable = np.floor(self.budget / self.sources.costs + SLACK)
        return np.asarray(np.minimum(self.sources.sizes, affordable), dtype=np.int64)

    @property
    def horizon(self) -> int:
        """Queries that the budget allows, were all items as cheap as the cheapest."""
        return int(np.ceil(self.budget / (self.batch * self.sources.costs.min())))

    @property
    def runs_at_once(self) -> int:
        """Runs that are played side by side, so that their items fit into memory."""
        return int(np.clip(ITEMS_AT_ONCE / self.most.sum(), 1, RUNS_AT_ONCE))

    def play(
        self, name: str, policy: Policy, n_runs: int, seed: np.random.SeedSequence
    ) -> dict[str, FloatArray]:
        """Measures of `n_runs` runs of one policy."""
        # Spawned by hand: SeedSequence.spawn counts, and every policy shall get the same seeds.
        own, other = (
            np.random.default_rng(
                np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))
            )
            for i in range(2)
        )
        table = Table(self, n_runs, self.sources.start(n_runs, self.most, own))
        while (goes_on := (active := table.active()).max(axis=1)).any():
            table.ask(_choose(policy, table.state(active), other), goes_on)
        table.answer(all_of_them=True)
        return self._measure(name, table)

    def _measure(self, name: str, table: Table) -> dict[str, FloatArray]:
        chosen, items = np.stack(table.chosen, axis=1), np.stack(table.items, axis=1)
        costs = self.sources.costs
        lost = cumulative_regret(
            chosen, self.sources.densities, items=items, costs=costs, sizes=self.sources.sizes
        )
        spent = np.cumsum(items * costs[chosen], axis=1)
        at = np.array([np.searchsorted(row, self.spent + SLACK, side="right") for row in spent])
        start = np.zeros((len(lost), 1))
        curves = np.take_along_axis(np.hstack([start, lost]), at, axis=1)
        means = np.where(table.trials > 0, table.successes / np.maximum(table.trials, 1), -1.0)
        best = (means / costs).argmax(axis=1)
        measures = {
            "regret": curves,
            "density": table.successes.sum(axis=1) / table.trials.sum(axis=1),
            "simple_regret": simple_regret(best, self.sources.densities, costs=costs),
        }
        if self.metric is not None:
            runs = (
                SimulatedRun(
                    name,
                    chosen[run][items[run] > 0],
                    items[run][items[run] > 0],
                    table.draws.rows(run),
                )
                for run in range(len(chosen))
            )
            measures["metric"] = np.array([float(self.metric(run)) for run in runs])
        return measures


class Table:
    """The state of R runs side by side, arrays (R, K), and what they have asked."""

    def __init__(self, game: Game, n_runs: int, draws: Draws) -> None:
        shape = (n_runs, len(game.sources.densities))
        self.game, self.draws = game, draws
        self.successes, self.trials, self.pending = (np.zeros(shape) for _ in range(3))
        self.queries = np.zeros(shape, dtype=np.int64)
        self.stock = np.tile(game.sources.sizes, (n_runs, 1))
        self.left = np.full(n_runs, game.budget)
        self.runs = np.arange(n_runs)
        self.chosen: list[IntArray] = []
        self.items: list[IntArray] = []
        self.unanswered: deque[tuple[IntArray, IntArray, FloatArray]] = deque()

    def active(self) -> BoolArray:
        """Sources (R, K) that hold an item which the run can pay."""
        costs = self.game.sources.costs
        return np.asarray((self.stock > 0) & (self.left[:, None] >= costs * (1 - SLACK)))

    def state(self, active: BoolArray) -> ArmState:
        """What a policy may see; runs that are over seem to go on, so that all keep step."""
        return ArmState(
            self.successes,
            self.trials,
            self.queries,
            self.pending,
            self.game.sources.costs,
            active | ~active.any(axis=1, keepdims=True),
            round=len(self.chosen),
            horizon=self.game.horizon,
        )

    def ask(self, arms: IntArray, goes_on: BoolArray) -> None:
        """One query in every run that goes on; answers arrive after `outstanding` queries."""
        costs = self.game.sources.costs[arms]
        affordable = np.floor(self.left / costs + SLACK)
        items = np.minimum(np.minimum(self.stock[self.runs, arms], affordable), self.game.batch)
        items = np.where(goes_on, items, 0).astype(np.int64)
        self.stock[self.runs, arms] -= items
        self.left -= items * costs
        self.pending[self.runs, arms] += items
        self.chosen.append(arms)
        self.items.append(items)
        self.unanswered.append((arms, items, self.draws.draw(arms, items)))
        self.answer()

    def answer(self, all_of_them: bool = False) -> None:
        """Answers that are due."""
        while len(self.unanswered) >= (1 if all_of_them else self.game.outstanding):
            arms, items, found = self.unanswered.popleft()
            self.pending[self.runs, arms] -= items
            self.successes[self.runs, arms] += found
            self.trials[self.runs, arms] += items
            self.queries[self.runs, arms] += items > 0


def _choose(policy: Policy, state: ArmState, rng: np.random.Generator) -> IntArray:
    """The source that each run asks next; a policy that is no `ScorePolicy` is asked one by one."""
    if isinstance(policy, ScorePolicy):
        return policy.choose_many(state, rng)
    arrays = (state.successes, state.trials, state.queries, state.pending, state.active)
    rows = zip(*arrays, strict=True)
    return np.array(
        [
            policy.choose(
                ArmState(s, n, q, waiting, state.costs, active, state.round, state.horizon), rng
            )
            for s, n, q, waiting, active in rows
        ]
    )
