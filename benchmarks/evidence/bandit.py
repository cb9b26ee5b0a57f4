"""Policies against known densities: regret, bounds, and agreement with mabwiser.

Run ``python benchmarks/evidence/bandit.py``; it prints Markdown tables.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from mabwiser.mab import MAB

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from bandits import SHARED

from w2s_data.utils.intervals import mean_interval
from w2s_selectors import (
    KLUCB,
    UCB1,
    BernoulliSources,
    EpsilonGreedy,
    Oracle,
    OverlapUCB,
    Policy,
    RoundRobin,
    ThompsonSampling,
    UniformRandom,
    lai_robbins_rate,
    regret_bound,
    simulate,
)

BUDGET = 2000
SETTINGS = {
    "gaps .1, .1, .2, .2": (0.5, 0.4, 0.4, 0.3, 0.3),
    "gaps .4 to .6": (0.9, 0.5, 0.5, 0.3, 0.3),
}


def policies(densities: tuple[float, ...]) -> dict[str, Policy]:
    """Label -> policy."""
    return {
        "overlap_ucb": OverlapUCB(),
        "ucb1": UCB1(),
        "kl_ucb": KLUCB(),
        "kl_ucb, exploration 3": KLUCB(3.0),
        "thompson": ThompsonSampling(),
        "epsilon_greedy": EpsilonGreedy(),
        "round_robin": RoundRobin(),
        "random": UniformRandom(),
        "oracle": Oracle(densities),
    }


def regret_tables(n_runs: int) -> None:
    """Regret beside the rate line and the bounds, single points and batches of 20 and 50."""
    for title, densities in SETTINGS.items():
        played, sources = policies(densities), BernoulliSources(densities)
        rate = float(lai_robbins_rate(densities, BUDGET))
        results, seconds = {}, {}
        for batch in (1, 20, 50):
            start = time.perf_counter()
            results[batch] = simulate(
                played, sources, budget=BUDGET, batch_size=batch, n_runs=n_runs, random_state=0
            )
            seconds[batch] = time.perf_counter() - start
        print(f"\n{title}: {BUDGET:,} items, {n_runs} runs; Lai–Robbins rate {rate:.1f}. ", end="")
        timed = ", ".join(f"{value:.1f}" for value in seconds.values())
        print(f"Seconds for all policies: {timed}\n")
        print("| policy | regret | sd | over the rate | bound | runs within the bound ", end="")
        print(
            "| to random | to random, batch 20 | batch 50 |\n|---|---|---|---|---|---|---|---|---|"
        )
        ratios = {
            batch: result.to_frame().set_index("policy")["regret_to_random"]
            for batch, result in results.items()
        }
        for name, policy in played.items():
            curves = results[1].regret[name]
            mean, low, high = (float(v) for v in mean_interval(curves[:, -1]))
            bound = regret_bound(policy, densities, results[1].spent)
            within = (curves <= bound.values).all(axis=1).mean()
            limits = f"{bound.values[-1]:,.1f} | {within:.0%}" if bound.source else "none | -"
            print(
                f"| {name} | {mean:.1f} ({low:.1f} to {high:.1f}) | {curves[:, -1].std():.1f} "
                f"| {mean / rate:.2f} | {limits} | "
                + " | ".join(f"{ratio[name]:.2f}" for ratio in ratios.values())
                + " |"
            )


def lock_in(n_runs: int) -> None:
    """The published index on single points: runs that stay with the worse source."""
    print(
        f"\nDensities .5 and .4, single points, {2 * n_runs} runs: mean regret, and the share of "
    )
    print("runs that lost more than half of the largest possible regret.\n")
    print(f"| items | overlap_ucb | lost | thompson | lost |\n{'|---' * 5}|")
    for budget in (2000, 20_000):
        result = simulate(
            ["overlap_ucb", "thompson"],
            BernoulliSources([0.5, 0.4]),
            budget=budget,
            n_runs=2 * n_runs,
            random_state=1,
        )
        final = [curves[:, -1] for curves in result.regret.values()]
        cells = [f"{v.mean():.1f} | {np.mean(v > 0.05 * budget):.1%}" for v in final]
        print(f"| {budget:,} | {' | '.join(cells)} |")


def mabwiser_regret(policy: object, densities: tuple[float, ...], seed: int, n: int) -> float:
    """Regret of one run of mabwiser, every source tried first."""
    world, gaps = np.random.default_rng(seed), max(densities) - np.array(densities)
    arms = list(range(len(densities)))
    bandit = MAB(arms, policy, seed=seed)
    bandit.fit(arms, [int(world.random() < p) for p in densities])
    lost = gaps.sum()
    for _ in range(n - len(arms)):
        arm = bandit.predict()
        bandit.partial_fit([arm], [int(world.random() < densities[arm])])
        lost += gaps[arm]
    return float(lost)


def agreement(n_runs: int, n: int = 1000) -> None:
    """Regret of the shared policies in both libraries."""
    densities = SETTINGS["gaps .1, .1, .2, .2"]
    print(f"\nRegret after {n:,} single points, mean and 95 % interval; {n_runs} runs each.\n")
    print(
        "| policy | w2s_selectors | mabwiser | difference in standard errors |\n|---|---|---|---|"
    )
    for name, (policy, theirs) in SHARED.items():
        result = simulate(
            [policy], BernoulliSources(densities), budget=n, n_runs=n_runs, random_state=0
        )
        own = result.regret[policy.name][:, -1]
        other = np.array([mabwiser_regret(theirs, densities, seed, n) for seed in range(n_runs)])
        shown = [
            "{:.1f} ({:.1f} to {:.1f})".format(*(float(v) for v in mean_interval(values)))
            for values in (own, other)
        ]
        error = np.hypot(own.std(), other.std()) / np.sqrt(n_runs)
        print(f"| {name} | {' | '.join(shown)} | {(own.mean() - other.mean()) / error:+.1f} |")


def main() -> None:
    """Print all tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--quick", action="store_true", help="20 runs")
    arguments = options.parse_args()
    n_runs = 20 if arguments.quick else arguments.runs
    regret_tables(n_runs)
    lock_in(n_runs)
    agreement(n_runs)


if __name__ == "__main__":
    main()
