"""Simulation of policies on sources of known density, with the regret of many runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import InputError, unknown
from w2s_data.utils.intervals import LEVEL, Estimate, mean_estimate, mean_interval
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, share, whole
from w2s_selectors.policies.policy import Policy
from w2s_selectors.policies.registry import make_policy
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


@dataclass(frozen=True, eq=False, repr=False)
class SimulationResult:
    """Regret and yield of several policies over many runs.

    Attributes
    ----------
    spent : array (G,)
        Amounts spent at which the regret is reported.
    regret : mapping from policy to array (runs, G)
        `cumulative_regret`, in points.
    density : mapping from policy to array (runs,)
        Share of overlap points in what was acquired.
    simple_regret : mapping from policy to array (runs,)
        For the source with the highest mean per unit of cost at the end.
    metric : mapping from policy to array (runs,)
        Empty without a metric.
    level : float
        Coverage of the intervals, over runs.
    """

    spent: FloatArray
    regret: Mapping[str, FloatArray]
    density: Mapping[str, FloatArray]
    simple_regret: Mapping[str, FloatArray]
    metric: Mapping[str, FloatArray]
    level: float

    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """Return by policy the means over runs at the end, with their intervals.

        `regret` in points and `regret_per_cost` over the budget; `regret_to_random`, the ratio to
        the mean regret of the policy named "random" (NaN without it); `density`; `simple_regret`;
        `metric` if there is one.
        """
        random = self.regret.get("random")
        estimates = {}
        for name, curves in self.regret.items():
            final = curves[:, -1]
            estimates[name] = {
                "regret": mean_estimate(final, self.level),
                "regret_per_cost": mean_estimate(final / self.spent[-1], self.level),
                "regret_to_random": self._ratio(final, None if random is None else random[:, -1]),
                "density": mean_estimate(self.density[name], self.level),
                "simple_regret": mean_estimate(self.simple_regret[name], self.level),
            }
            if self.metric:
                estimates[name]["metric"] = mean_estimate(self.metric[name], self.level)
        return estimates

    def to_frame(self) -> pd.DataFrame:
        """Return one row per policy: `estimates` with limits in `_low` and `_high`."""
        rows = []
        for name, measures in self.estimates().items():
            row: dict[str, Any] = {"policy": name, "runs": len(self.regret[name])}
            for measure, estimate in measures.items():
                row |= estimate.columns(measure)
            rows.append(row)
        return pd.DataFrame(rows)

    def curve(self, policy: str) -> pd.DataFrame:
        """Return the mean regret of a policy with its interval, by amount spent."""
        if policy not in self.regret:
            raise InputError(unknown("simulated policy", policy, list(self.regret)))
        mean, low, high = mean_interval(self.regret[policy], self.level)
        columns = {"spent": self.spent, "regret": mean, "regret_low": low, "regret_high": high}
        return pd.DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """Return `estimates` and the curve of each policy as plain values; NaN becomes None."""
        policies = [
            {"policy": name, "runs": len(self.regret[name]), **measures}
            for name, measures in self.estimates().items()
        ]
        curves = {name: self.curve(name).to_dict("list") for name in self.regret}
        return dict(jsonable({"level": self.level, "policies": policies, "curves": curves}))

    def __repr__(self) -> str:
        table = self.to_frame()
        shown = ["policy", "regret", "regret_low", "regret_high", "regret_to_random", "density"]
        shown += ["metric"] if self.metric else []
        budget, runs = self.spent[-1], int(table["runs"].iloc[0])
        return (
            f"SimulationResult: {runs} runs, budget {budget:g}, level {self.level:g}\n"
            f"{table[shown].round(3).to_string(index=False)}"
        )

    def _ratio(self, values: FloatArray, base: FloatArray | None) -> Estimate:
        """Return the ratio of the means, its interval by the delta method over paired runs."""
        if base is None or not base.mean() > 0:
            return Estimate(np.nan, level=self.level)
        ratio = float(values.mean() / base.mean())
        # Policies meet the same seeds, so that their runs are paired: correlated errors cancel.
        error = mean_estimate((values - ratio * base) / base.mean(), self.level)
        return Estimate(ratio, ratio + error.low, ratio + error.high, self.level)


def simulate(
    policies: Sequence[str | Policy] | Mapping[str, str | Policy],
    sources: SimulatedSources,
    *,
    budget: float,
    batch_size: int = 1,
    outstanding: int = 1,
    n_runs: int = 200,
    metric: Callable[[SimulatedRun], float] | None = None,
    n_points: int = 100,
    level: float = LEVEL,
    random_state: RandomState = None,
    n_jobs: int = 1,
) -> SimulationResult:
    """Play policies against sources of known density, many times.

    All policies meet the same seeds, and runs are played in groups with generators of their own:
    the result depends on the seed, but neither on `n_jobs` nor on the other policies.

    Parameters
    ----------
    policies : sequence, or mapping from label to policy
        Names or instances. The label of an instance is its name, or its `repr` where two share
        a name.
    sources : BernoulliSources or PoolSources
    budget : float
        Money in total; items, at unit costs. A run ends when no source that holds items is
        affordable.
    batch_size : int
        Items per query; the last query of a source or of the budget may bring fewer.
    outstanding : int
        Queries made before the first answer arrives; 1 means prompt answers.
    n_runs : int
    metric : callable, optional
        Takes a `SimulatedRun`, returns a number, e.g. the final accuracy of a student. For
        `n_jobs` other than 1 it must be picklable.
    n_points : int
        Amounts spent at which the regret is reported.
    level : float
    random_state : int, Generator or None
    n_jobs : int
        Processes (joblib); -1 uses all processors.

    Examples
    --------
    >>> from w2s_selectors.simulation.sources import BernoulliSources
    >>> sources = BernoulliSources([0.6, 0.5, 0.4])
    >>> result = simulate(["thompson", "round_robin"], sources, budget=300, random_state=0)
    >>> result.to_frame()[["policy", "regret", "density"]].round(2).values.tolist()
    [['thompson', 11.84, 0.56], ['round_robin', 30.0, 0.5]]
    """
    from sklearn.utils.parallel import Parallel, delayed

    counts = {"batch_size": batch_size, "outstanding": outstanding}
    counts |= {"n_runs": n_runs, "n_points": n_points}
    check_parameters(counts, dict.fromkeys(counts, whole(1)))
    check_parameters({"level": level}, {"level": share})
    # Endless sources never run dry: an infinite budget would never end.
    if not sources.costs.min() <= budget < np.inf:
        raise InputError(
            f"budget must be finite and buy at least one item (cost {sources.costs.min():g}); "
            f"got {budget!r}"
        )
    labelled = _labelled(policies)
    game = Game(sources, float(budget), batch_size, outstanding, n_points, metric)
    # Groups of fixed size, each with a seed: workers may play them in any order.
    seed = np.random.SeedSequence(int(check_generator(random_state).integers(2**63)))
    sizes = [min(game.runs_at_once, n_runs - done) for done in range(0, n_runs, game.runs_at_once)]
    groups = list(zip(sizes, seed.spawn(len(sizes)), strict=True))
    tasks = [(name, policy, *group) for name, policy in labelled.items() for group in groups]
    played = Parallel(n_jobs=n_jobs)(delayed(game.play)(*task) for task in tasks)
    joined: dict[str, dict[str, FloatArray]] = {"metric": {}}
    for measure in played[0]:
        # Tasks lie policy by policy, each with all of its groups.
        runs = np.split(np.concatenate([each[measure] for each in played]), len(labelled))
        joined[measure] = dict(zip(labelled, runs, strict=True))
    return SimulationResult(game.spent, **joined, level=level)


def _labelled(
    policies: Sequence[str | Policy] | Mapping[str, str | Policy],
) -> dict[str, Policy]:
    if isinstance(policies, Mapping):
        labelled = {str(label): make_policy(policy) for label, policy in policies.items()}
    else:
        listed = [policies] if isinstance(policies, str) else list(policies)
        made = [make_policy(policy) for policy in listed]
        names = [policy.name for policy in made]
        # Parameters are shown only where the name alone is not unique.
        labelled = {p.name if names.count(p.name) == 1 else repr(p): p for p in made}
    if not labelled:
        raise InputError("policies must name at least one policy")
    return labelled
