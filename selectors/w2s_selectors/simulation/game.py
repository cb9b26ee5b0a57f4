"""Runs of one policy, played side by side in arrays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_selectors.policies.base import Policy
from w2s_selectors.policies.state import ArmState
from w2s_selectors.simulation.regret import cumulative_regret, simple_regret
from w2s_selectors.simulation.sources import Draws, SimulatedSources

RUNS_AT_ONCE = 256  # in one task, which `n_jobs` processes share out
ITEMS_AT_ONCE = 5_000_000  # of all pools in all runs side by side; 12 bytes each
SLACK = 1e-9  # of an item: sums of costs are rounded


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """Acquisitions of one run; the argument of a metric.

    Attributes
    ----------
    policy : str
    chosen, items : int array (T,)
        Source and number of delivered items of each query.
    rows : tuple of K int arrays
        Row numbers drawn from each source in order, for `PoolSources`; else ().
    """

    policy: str
    chosen: IntArray
    items: IntArray
    rows: tuple[IntArray, ...]


@dataclass(frozen=True, eq=False)
class Game:
    """Settings of a simulation, the same for all policies."""

    sources: SimulatedSources
    budget: float
    batch_size: int
    outstanding: int
    n_points: int
    metric: Callable[[SimulatedRun], float] | None

    @property
    def spent(self) -> FloatArray:
        """Amounts spent (n_points,) at which the regret is reported."""
        return np.linspace(self.budget / self.n_points, self.budget, self.n_points)

    @property
    def most(self) -> IntArray:
        """Items (K,) that the budget buys of each source alone, at most those it holds."""
        affordable = np.floor(self.budget / self.sources.costs + SLACK)
        return np.asarray(np.minimum(self.sources.sizes, affordable), dtype=np.int64)

    @property
    def horizon(self) -> int:
        """Queries that the budget allows at the cheapest source."""
        return int(np.ceil(self.budget / (self.batch_size * self.sources.costs.min())))

    @property
    def runs_at_once(self) -> int:
        """Number of runs whose items fit into memory together."""
        return int(np.clip(ITEMS_AT_ONCE / self.most.sum(), 1, RUNS_AT_ONCE))

    def play(
        self, name: str, policy: Policy, n_runs: int, seed: np.random.SeedSequence
    ) -> dict[str, FloatArray]:
        """Play `n_runs` runs of one policy and measure them."""
        # Spawned by hand: SeedSequence.spawn counts its calls, and every policy needs these seeds.
        own, other = (
            np.random.default_rng(
                np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))
            )
            for i in range(2)
        )
        table = Table(self, n_runs, self.sources.start(n_runs, self.most, own))
        # Runs that are over stay in the arrays, and ask for 0 items, until the last one ends.
        while (goes_on := (active := table.active()).max(axis=1)).any():
            table.ask(policy.choose_many(table.state(active), other), goes_on)
        table.answer(everything=True)
        return self._measure(name, table)

    def _measure(self, name: str, table: Table) -> dict[str, FloatArray]:
        chosen, items = np.stack(table.chosen, axis=1), np.stack(table.items, axis=1)
        costs = self.sources.costs
        lost = cumulative_regret(
            chosen, self.sources.densities, items=items, costs=costs, sizes=self.sources.sizes
        )
        spent = np.cumsum(items * costs[chosen], axis=1)
        # The regret of each run at the last query that the amount still pays.
        at = np.array([np.searchsorted(row, self.spent + SLACK, side="right") for row in spent])
        start = np.zeros((len(lost), 1))
        curves = np.take_along_axis(np.hstack([start, lost]), at, axis=1)
        # A source that never answered is recommended last.
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
    """State of R runs side by side, arrays (R, K), and their queries so far."""

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
        """Return which sources (R, K) hold an item that the run can pay."""
        costs = self.game.sources.costs
        # The slack is relative here: a budget of 0.3 pays three items of 0.1.
        return np.asarray((self.stock > 0) & (self.left[:, None] >= costs * (1 - SLACK)))

    def state(self, active: BoolArray) -> ArmState:
        """Return the state for a policy; finished runs show all sources, so that it can choose."""
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
        """Make one query in every unfinished run; answers arrive after `outstanding` queries."""
        costs = self.game.sources.costs[arms]
        affordable = np.floor(self.left / costs + SLACK)
        items = np.minimum(self.stock[self.runs, arms], affordable).clip(max=self.game.batch_size)
        items = np.where(goes_on, items, 0).astype(np.int64)
        self.stock[self.runs, arms] -= items
        self.left -= items * costs
        self.pending[self.runs, arms] += items
        self.chosen.append(arms)
        self.items.append(items)
        self.unanswered.append((arms, items, self.draws.draw(arms, items)))
        self.answer()

    def answer(self, everything: bool = False) -> None:
        """Deliver the answers that are due."""
        while len(self.unanswered) >= (1 if everything else self.game.outstanding):
            arms, items, overlap = self.unanswered.popleft()
            self.pending[self.runs, arms] -= items
            self.successes[self.runs, arms] += overlap
            self.trials[self.runs, arms] += items
            self.queries[self.runs, arms] += items > 0  # not those of finished runs
