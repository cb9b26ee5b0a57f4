"""Accuracy after every round of a selection: policy, random and oracle (Shin et al., figure 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.errors import InputError
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import SweepResult, facts_of, line_of
from w2s_data.sweep.world import FEWEST, Cell, Draw, World
from w2s_data.utils.typing import IntArray

MOST_ROUNDS = 20  # that a student is trained after
POLICY, RANDOM, ORACLE = "items of the selection", "random items", "densest sources first"


def measure(world: World, seed: int, options: SweepOptions) -> Cell:
    """Train students on what had been bought after each round, and on as many other items."""
    if len(world.rounds) < 2:
        raise InputError("a selection of a single round makes no curve")
    draw, cell = world.fixed(seed), Cell()
    orders = {
        POLICY: [np.concatenate(world.rounds)],
        RANDOM: [draw.rng.permutation(draw.pool) for _ in range(options.draws)],
        ORACLE: [_densest_first(draw, seed)],
    }
    bought = np.cumsum([len(rows) for rows in world.rounds])
    shown = np.unique(np.linspace(0, len(bought) - 1, MOST_ROUNDS).round().astype(int))
    for n in (int(bought[number]) for number in shown if bought[number] >= FEWEST):
        for name, each in orders.items():
            hits = [draw.hits(order[:n], world.weak_proba).mean() for order in each]
            cell.add(name, n, np.mean(hits))
    last = {name: value for name, _, value in cell.points[-len(orders) :]}
    cell.facts = {
        "selection minus random": last[POLICY] - last[RANDOM],
        "oracle minus random": last[ORACLE] - last[RANDOM],
    }
    return cell


def _densest_first(draw: Draw, seed: int) -> IntArray:
    """Order the pool by the overlap density of its sources, which a policy has to find out."""
    world, pool = draw.world, draw.pool
    detector = OverlapDetector(quantify="count", n_resamples=0, device="cpu", random_state=seed)
    regions = detector.fit(world.strong[pool], world.weak_proba[pool]).regions_
    assert world.sources is not None
    codes = np.unique(world.sources[pool].astype(str), return_inverse=True)[1]
    counts = np.bincount(codes)
    density = np.bincount(codes, weights=regions == Region.OVERLAP) / np.maximum(1, counts)
    shuffled = draw.rng.permutation(len(pool))
    return np.asarray(pool[shuffled[np.argsort(-density[codes[shuffled]], kind="stable")]])


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds, and say what the selection is worth beside a random one."""
    lines = (
        line_of(cells, POLICY, "measured", "accuracy", level),
        line_of(cells, RANDOM, "reference", "accuracy", level),
        line_of(cells, ORACLE, "reference", "accuracy", level),
    )
    facts = facts_of(cells, level)
    own, oracle = facts["selection minus random"], facts["oracle minus random"]
    return SweepResult(
        options.over,
        "items bought",
        lines,
        facts,
        len(cells),
        f"A student of all {lines[0].points[-1].x:,.0f} items of the selection is "
        f"{100 * own.value:+.1f} points ({100 * own.low:+.1f} to {100 * own.high:+.1f}) beside one "
        f"of as many random items, one of the densest sources {100 * oracle.value:+.1f}.",
        ("The selection is the one of the run; draws are of the items it is compared with.",),
    )
