"""PGR and OPR over gold and weak labels, with the discrepancy's prediction (Dong et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from w2s_data.discrepancy.analyzer import DiscrepancyAnalyzer
from w2s_data.errors import InputError
from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import (
    Kind,
    Line,
    Point,
    SweepResult,
    facts_of,
    line_of,
    on_scale,
    ratio_over_seeds,
    series,
)
from w2s_data.sweep.theory import standardised, used_dimensions
from w2s_data.sweep.world import FEWEST, Cell, Draw, World

PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the present size
TEACHER, STUDENT = "teacher", "student of weak labels"
GOLD, CEILING = "student of the gold labels alone", "ceiling"
PGR, OPR = "PGR", "OPR"
PREDICTED = {PGR: "PGR by the theory", OPR: "OPR by the theory"}
THEORY, VARIANCE = "student by the theory", "variance of the student by the theory"
# The theory knows no error but label noise; where others rule, its ratios leave every scale.
SENSIBLE = {PGR: (-1.0, 1.5), OPR: (0.0, 5.0)}
AXES = {"gold": "gold labels", "pool": "weak labels"}


def sizes(present: int) -> list[int]:
    """Return sizes up to the present one, each twice the one before.

    >>> sizes(500)
    [62, 125, 250, 500]
    """
    return [n for n in (int(part * present) for part in PARTS) if n >= FEWEST]


def measure(world: World, seed: int, options: SweepOptions) -> Cell:
    """Train teacher, student, gold-only student and ceiling at every size."""
    draw, cell = world.draw(seed), Cell()
    n, n_pool = len(draw.labelled), len(draw.pool)
    # Nested, so that each set adds rows to the one before.
    labelled, pool = draw.rng.permutation(draw.labelled), draw.rng.permutation(draw.pool)
    gold, varied = draw.gold(), sizes(n if options.over == "gold" else n_pool)
    if len(varied) < 2:
        raise InputError(
            f"{n if options.over == 'gold' else n_pool} {AXES[options.over]} make no curve: at "
            f"least {2 * FEWEST} are needed"
        )
    analyzer = discrepancy_of(draw)
    for size in varied:
        taught, used = labelled, pool
        if options.over == "gold":
            taught = labelled[:size]
        else:
            used = pool[:size]
        proba = draw.teach(taught)
        cell.add(TEACHER, size, draw.teacher_hits(proba).mean())
        cell.add(STUDENT, size, draw.hits(used, proba).mean())
        cell.add(GOLD, size, draw.hits(taught, gold).mean())
        if world.knows_pool:
            cell.add(CEILING, size, draw.hits(used, gold).mean())
        if analyzer is not None and len(taught) > analyzer.d_w_ + 1:
            told = analyzer.predict_variance(len(taught), len(used))
            if np.isfinite(told.student.value) and told.student.value > 0:
                cell.add(VARIANCE, size, told.student.value)
            for name, value in ((PGR, told.pgr.value), (OPR, told.opr.value)):
                if SENSIBLE[name][0] <= value <= SENSIBLE[name][1]:
                    cell.add(PREDICTED[name], size, value)
    if analyzer is not None:
        shared = float(np.clip(analyzer.correlation_dimension_, 0, analyzer.d_w_))
        cell.facts = {"d_w": analyzer.d_w_, "d_s": analyzer.d_s_, "d_sw": shared}
    return cell


def discrepancy_of(draw: Draw) -> DiscrepancyAnalyzer | None:
    """Measure the discrepancy on the dimensions that teacher and student use."""
    world = draw.world
    if world.weak is None:
        return None
    rows = np.concatenate([draw.labelled, draw.pool])
    strong, weak = (standardised(side[rows]) for side in (world.strong, world.weak))
    most = len(rows) // 4
    d_s = used_dimensions(strong, float(world.student.l2), most)
    d_w = used_dimensions(weak, float(world.teacher.l2), most)
    try:
        return DiscrepancyAnalyzer(d_s, d_w, n_jackknife=0).fit(strong, weak)
    except InputError:  # too few rows: the curves are measured all the same
        return None


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds, with PGR and OPR of the means."""
    accuracy: dict[str, Kind] = {
        STUDENT: "measured",
        TEACHER: "reference",
        GOLD: "reference",
        CEILING: "reference",
    }
    lines = [line_of(cells, name, kind, "accuracy", level) for name, kind in accuracy.items()]
    lines += _theory(cells, lines[0], level)
    ratios = _ratios(cells, level)
    lines += ratios
    lines += [line_of(cells, told, "predicted", name, level) for name, told in PREDICTED.items()]
    known = tuple(line for line in lines if line.points)
    facts = facts_of(cells, level)
    student = next(line for line in known if line.name == STUDENT)
    first, last = student.points[0], student.points[-1]
    return SweepResult(
        options.over,
        AXES[options.over],
        known,
        facts,
        len(cells),
        f"From {first.x:,.0f} to {last.x:,.0f} {AXES[options.over]} the accuracy of the student "
        f"changes from {first.value.value:.3f} to {last.value.value:.3f}."
        + "".join(f" {line.name} goes from {_ends(line)}." for line in ratios if line.points),
        () if facts else ("The discrepancy needs weak features: nothing is predicted here.",),
    )


def _theory(cells: Sequence[Cell], student: Line, level: float) -> list[Line]:
    """Return the predicted variance of the student, and its curve on the scale of the accuracy."""
    variance = line_of(cells, VARIANCE, "predicted", "variance", level)
    at = {point.x for point in variance.points}
    measured = replace(student, points=tuple(p for p in student.points if p.x in at))
    if len(at) < 2:
        return []
    return [*on_scale([variance], [measured], [THEORY], sign=-1.0), variance]


def _ratios(cells: Sequence[Cell], level: float) -> list[Line]:
    """Return PGR and OPR at every size, from the means over seeds."""
    teacher, student, gold, ceiling = (
        series(cells, name) for name in (TEACHER, STUDENT, GOLD, CEILING)
    )
    recovered, outperforming = [], []
    for x, own in student.items():
        mine = np.array(own)
        ratio = ratio_over_seeds(1 - np.array(gold[x]), 1 - mine, level)
        outperforming.append(Point(x, ratio))
        if ceiling:
            gap = np.array(ceiling[x]) - np.array(teacher[x])
            recovered.append(Point(x, ratio_over_seeds(mine - np.array(teacher[x]), gap, level)))
    found = ((PGR, recovered), (OPR, outperforming))
    return [
        Line(name, "measured", name, tuple(p for p in points if np.isfinite(p.value.value)))
        for name, points in found
    ]


def _ends(line: Line) -> str:
    return " to ".join(f"{line.points[end].value.value:.2f}" for end in (0, -1))
