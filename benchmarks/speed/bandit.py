"""Time of a bandit's decision, beside mabwiser's, from 5 to 1,000 sources.

Run ``python benchmarks/speed/bandit.py``; it prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from mabwiser.mab import MAB

sys.path.append(str(Path(__file__).parents[1]))  # the helpers that both folders share
from bandits import SHARED
from measure import Row, compared, interleaved, table

from w2s_selectors import ArmState, Policy


def state_and_bandits(n_arms: int) -> tuple[ArmState, dict[str, MAB]]:
    """The same 20 judged points of every source in both libraries."""
    rng = np.random.default_rng(0)
    arms = np.repeat(np.arange(n_arms), 20)
    rewards = (rng.random(len(arms)) < 0.4).astype(int)
    bandits = {}
    for name, (_, theirs) in SHARED.items():
        bandits[name] = MAB(list(range(n_arms)), theirs, seed=0)
        bandits[name].fit(arms, rewards)
    successes = rewards.reshape(n_arms, 20).sum(axis=1)
    state = ArmState(
        successes=successes,
        trials=np.full(n_arms, 20),
        queries=np.ones(n_arms),
        pending=np.zeros(n_arms),
        costs=np.ones(n_arms),
        active=np.ones(n_arms),
        round=n_arms,
        horizon=10 * n_arms,
    )
    return state, bandits


def per_decision(quick: bool = False) -> list[Row]:
    """Choosing a source and taking in the answer of 20 points against mabwiser, interleaved."""
    answer = np.repeat([0, 1], 10)
    rows = []
    for n_arms in (5,) if quick else (5, 100, 1000):
        state, bandits = state_and_bandits(n_arms)
        rng = np.random.default_rng(0)
        repeats = max(10, 2000 // n_arms)

        def ours(policy: Policy, state: ArmState = state, rng: np.random.Generator = rng) -> None:
            arm = policy.choose(state, rng)
            state.asked(arm, 20).answered(arm, 10, 20)

        def theirs(bandit: MAB) -> None:
            bandit.partial_fit([bandit.predict()] * 20, answer)

        for name, (policy, _) in SHARED.items():
            calls = {
                "ours": partial(repeated, partial(ours, policy), repeats),
                "theirs": partial(repeated, partial(theirs, bandits[name]), repeats),
            }
            times = {
                side: [value / repeats for value in found]
                for side, found in interleaved(calls, 2 if quick else 7, warm_up=False).items()
            }
            what = f"a decision by {name}, {n_arms:,} sources"
            rows.append(compared(what, times["ours"], "mabwiser", times["theirs"]))
    return rows


def repeated(step: Callable[[], object], repeats: int) -> None:
    """Take a step many times."""
    for _ in range(repeats):
        step()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="Five sources only.")
    print(table(per_decision(parser.parse_args().quick)))


if __name__ == "__main__":
    main()
