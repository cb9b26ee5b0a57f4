"""Gain over a group's share of the pool, with the theory's curve (Liu, Dong, Lei, figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from w2s_data.errors import InputError
from w2s_data.spurious.analyzer import SpuriousAnalyzer
from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import (
    SCALED,
    SweepResult,
    facts_of,
    line_of,
    on_scale,
    rank_correlation,
)
from w2s_data.sweep.theory import RIDGE, LeastSquares, standardised, used_dimensions
from w2s_data.sweep.world import Cell, Draw, World, check_size
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
AVERAGE, WORST = "gain, both groups alike", "gain where it is worst"
THEORY = "theory, both groups alike"
LIMIT = "least squares on endless rows, both groups alike"
RAW = "theory, as a part of the teacher's risk"
FEWEST_TESTED = 10  # test rows of a group


def minority(world: World, options: SweepOptions) -> tuple[str, BoolArray]:
    """Return the group whose share is varied, and which rows are in it (R,)."""
    if world.groups is None:
        raise InputError("there are no groups whose share could be varied: name their column")
    names = world.groups.astype(str)
    known, counts = np.unique(names[world.splits == "labelled"], return_counts=True)
    everywhere = np.unique(names)
    if options.group is not None and options.group not in everywhere:
        raise InputError(f"group {options.group!r} is not one of {', '.join(everywhere[:8])}")
    if len(everywhere) < 2:
        raise InputError("all rows are of one group, whose share cannot be varied")
    chosen = options.group or str(known[counts.argmin()])
    return chosen, np.asarray(names == chosen)


def measure(world: World, seed: int, options: SweepOptions) -> Cell:
    """Train teachers and students at each pair of shares, and predict their order."""
    _, inside = minority(world, options)
    tested = inside[world.splits == "test"]
    if min(tested.sum(), (~tested).sum()) < FEWEST_TESTED:
        raise InputError(
            f"{min(tested.sum(), (~tested).sum())} test rows of a group are too few to measure its "
            f"accuracy: at least {FEWEST_TESTED}"
        )
    draw, cell = world.draw(seed), Cell()
    for share in (None, *options.eta_labelled):
        _measure_teacher(draw, cell, inside, share)
    own = {x: value for line, x, value in cell.points if line == AVERAGE}
    cell.facts = {
        "fall of the average gain": own[SHARES[0]] - own[SHARES[-1]],
        "share in the labelled set": float(inside[draw.labelled].mean()),
        "share in the pool": float(inside[draw.pool].mean()),
        "points": cell.facts["points"],
    }
    return cell


def _named(line: str, share: float | None) -> str:
    return line if share is None else f"{line}; teacher at {share:.0%}"


def _measure_teacher(draw: Draw, cell: Cell, inside: BoolArray, share: float | None) -> None:
    """Measure one teacher: all shares of the pool, at the same size."""
    labelled = draw.labelled
    if share is not None:
        labelled = with_share(draw, labelled, inside, share, len(labelled))
    proba, pool = draw.teach(labelled), draw.pool
    n_inside, n_outside = np.count_nonzero(inside[pool]), np.count_nonzero(~inside[pool])
    size = min(*(n_inside / s for s in SHARES), *(n_outside / (1 - s) for s in SHARES))
    n = check_size(int(size), f"pool points, of which up to {SHARES[-1]:.0%} are of the group,")
    cell.facts["points"] = float(n)
    tested = inside[draw.test]
    right = draw.teacher_hits(proba)
    predict = _theory(draw, labelled, inside, n)
    for eta, value in zip(SHARES, _limit(draw, labelled, inside), strict=False):
        cell.add(_named(LIMIT, share), eta, value)
    for eta in SHARES:
        rows = with_share(draw, pool, inside, eta, n)
        gain = draw.hits(rows, proba) - right
        parts = gain[tested].mean(), gain[~tested].mean()
        cell.add(_named(AVERAGE, share), eta, np.mean(parts))
        cell.add(_named(WORST, share), eta, np.min(parts))
        if predict is not None:
            cell.add(_named(RAW, share), eta, predict(eta))


def with_share(draw: Draw, rows: IntArray, inside: BoolArray, share: float, n: int) -> IntArray:
    """Draw n of the rows, this share of them of the group; fewer where there are not as many."""
    own, other = rows[inside[rows]], rows[~inside[rows]]
    most = min(n, int(len(own) / share) if share else n, int(len(other) / (1 - share)))
    k = round(share * most)
    return np.concatenate([draw.subset(own, k), draw.subset(other, most - k)])


def _theory(
    draw: Draw, labelled: IntArray, inside: BoolArray, n: int
) -> Callable[[float], float] | None:
    """Fit the theory to the dimensions that teacher and student use; None if it has no answer.

    Return the gain, as a part of the teacher's risk, by the share of the group in n pool points.
    """
    world = draw.world
    if world.weak is None:
        return None
    rows = np.concatenate([labelled, draw.pool])
    strong, weak = (standardised(side[rows]) for side in (world.strong, world.weak))
    analyzer = SpuriousAnalyzer(
        used_dimensions(strong, float(world.student.l2), len(draw.pool) // 3),
        used_dimensions(weak, float(world.teacher.l2), len(labelled) // 3),
        n_jackknife=0,
    )
    # Two groups compared with each other are judged for the smaller one.
    swapped = np.count_nonzero(inside[rows]) > len(rows) / 2
    judged = inside[rows] != swapped
    taught = np.arange(len(rows)) < len(labelled)
    try:
        analyzer.fit(strong, weak, groups=judged, labelled=taught)
    except InputError:  # too few rows: what is measured does not depend on it
        return None

    def predict(eta: float) -> float:
        risks = analyzer.predict_risk(1 - eta if swapped else eta, 0.5, N=n).average
        return float(risks.relative_gain.value)

    return predict


def _limit(draw: Draw, labelled: IntArray, inside: BoolArray) -> FloatArray:
    """Return the gains that least squares has without noise; none where labels are unknown."""
    world = draw.world
    if world.weak is None or not world.knows_pool:
        return np.empty(0)
    rows = np.concatenate([draw.labelled, draw.pool])
    limit = LeastSquares(
        world.weak[rows],
        world.strong[rows],
        world.labels[rows],
        inside[rows],
        RIDGE * float(world.teacher.l2),
        RIDGE * float(world.student.l2),
    )
    return limit.gains(float(inside[labelled].mean()), SHARES)


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds; put the theory on the scale of the measurement, and compare the order."""
    teachers = (None, *options.eta_labelled)
    measured = [line_of(cells, _named(AVERAGE, s), "measured", "gain", level) for s in teachers]
    worst = [line_of(cells, _named(WORST, s), "measured", "gain", level) for s in teachers]
    raw = [line_of(cells, _named(RAW, s), "predicted", "share", level) for s in teachers]
    limit = [line_of(cells, _named(LIMIT, s), "predicted", "gain", level) for s in teachers]
    known = [line for line in raw if line.points]
    lines, facts = [*measured, *worst], facts_of(cells, level)
    notes: tuple[str, ...] = ()
    said, rho = "", np.nan
    if all(line.points for line in limit):
        lines += limit
        rho = rank_correlation(limit, measured)
        notes = (
            "The dashed line has no free number: accuracies of least squares, reweighted to the "
            "shares, on all rows with a label. It knows of no noise, and so lies higher.",
        )
    elif len(known) == len(teachers):
        lines += on_scale(raw, measured, [_named(THEORY, share) for share in teachers])
        rho = rank_correlation(raw, measured)
        first, last = raw[0].values()[[0, -1]]
        notes = (
            f"{SCALED} In its own units the gain goes from {first:.4f} to {last:.4f} of the "
            "teacher's risk: a shortcut that the labels share is beyond it.",
        )
    else:
        notes = ("The theory needs weak features, and enough rows of both groups for them.",)
    facts["rank correlation with the theory"] = Estimate(rho, level=level)
    if np.isfinite(rho):
        said = f" The theory's order of the shares has rank correlation {rho:.2f} with it."
    fall = facts["fall of the average gain"]
    return SweepResult(
        options.over,
        "share of the group in the pool",
        (*lines, *known),
        facts,
        len(cells),
        f"From {SHARES[0]:.0%} to {SHARES[-1]:.0%} of the group in the pool, with "
        f"{facts['share in the labelled set'].value:.0%} in the labelled set, the gain falls by "
        f"{100 * fall.value:.1f} points ({100 * fall.low:.1f} to {100 * fall.high:.1f})." + said,
        notes,
    )
