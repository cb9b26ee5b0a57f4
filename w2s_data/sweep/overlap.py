"""Gain over the share of overlap points in training sets of equal size (Shin et al., figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import SweepResult, facts_of, line_of
from w2s_data.sweep.world import Cell, World, check_size

SHARES = np.linspace(0, 1, 11).round(1)
STUDENT = "student of the mixture"
RANDOM, CONFIDENT = "as many random points", "the most confident points"
CEILING, TEACHER = "random points with gold labels", "teacher"
LEVELS = (RANDOM, CONFIDENT, CEILING, TEACHER)


def measure(world: World, seed: int, options: SweepOptions) -> Cell:
    """Train students on mixtures of overlap points and others, and on controls of the same size."""
    draw, cell = world.draw(seed), Cell()
    proba = draw.teach()
    pool = draw.pool
    # Counted: the mixture's level takes bootstraps that no training set depends on.
    detector = OverlapDetector(quantify="count", n_resamples=0, device="cpu", random_state=seed)
    regions = detector.fit(world.strong[pool], proba[pool]).regions_
    overlap, others = pool[regions == Region.OVERLAP], pool[regions != Region.OVERLAP]
    size = check_size(min(len(overlap), len(others)), "overlap points, or others,")

    def accuracy(rows_of_draw: list[np.ndarray], targets: np.ndarray = proba) -> float:
        return float(np.mean([draw.hits(rows, targets).mean() for rows in rows_of_draw]))

    curve = []
    for share in SHARES:
        n = round(share * size)
        mixtures = [
            np.concatenate([draw.subset(overlap, n), draw.subset(others, size - n)])
            for _ in range(options.draws)
        ]
        curve.append(accuracy(mixtures))
        cell.add(STUDENT, share, curve[-1])
    random = [draw.subset(pool, size) for _ in range(options.draws)]
    confident = pool[np.argsort(-detector.confidence_, kind="stable")[:size]]
    cell.add(RANDOM, None, accuracy(random))
    cell.add(CONFIDENT, None, accuracy([confident]))
    if world.knows_pool:
        cell.add(CEILING, None, accuracy(random, draw.gold()))
    cell.add(TEACHER, None, draw.teacher_hits(proba).mean())
    cell.facts = {
        "slope": float(np.polyfit(SHARES, curve, 1)[0]),
        "overlap minus random": curve[-1] - accuracy(random),
        "overlap density": float(detector.density_),
        "points": float(size),
    }
    return cell


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds, and say whether overlap points teach more than others."""
    lines = [line_of(cells, STUDENT, "measured", "accuracy", level)]
    lines += [line_of(cells, name, "reference", "accuracy", level) for name in LEVELS]
    facts = facts_of(cells, level)
    slope = facts["slope"]
    points = f"{100 * slope.value:+.1f} points ({100 * slope.low:+.1f} to {100 * slope.high:+.1f})"
    return SweepResult(
        options.over,
        "share of overlap points in the training set",
        tuple(line for line in lines if line.points),
        facts,
        len(cells),
        f"From no overlap points to overlap points alone, the accuracy of a student of "
        f"{facts['points'].value:,.0f} points changes by {points}. The level of the most confident "
        "points shows how much of that a filter by confidence reaches.",
    )
