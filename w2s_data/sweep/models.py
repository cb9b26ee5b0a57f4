"""Pairs of weak and strong models: the gain beside d_sw and overlap density."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from w2s_data.overlap.detector import OverlapDetector
from w2s_data.sweep.options import SweepOptions
from w2s_data.sweep.result import Line, Point, SweepResult, mean_over_seeds
from w2s_data.sweep.sizes import discrepancy_of
from w2s_data.sweep.world import Cell, World
from w2s_data.utils.intervals import Estimate

COLUMNS = ("teacher", "student", "gain", "ceiling", "overlap density", "d_w", "d_s", "d_sw")


def pairs(options: SweepOptions) -> list[tuple[str, str]]:
    """Return all pairs of a weak and a strong model."""
    return list(product(options.weak_models, options.strong_models))


def measure(world: World, seed: int, options: SweepOptions) -> Cell:
    """Train teacher, student and ceiling of every pair on the same rows."""
    cell = Cell()
    for weak, strong in pairs(options):
        draw = world.with_models(strong, weak).draw(seed)
        proba, pool = draw.teach(), draw.pool
        teacher, student = draw.teacher_hits(proba).mean(), draw.hits(pool, proba).mean()
        detector = OverlapDetector(quantify="count", n_resamples=0, device="cpu", random_state=seed)
        found = {
            "teacher": teacher,
            "student": student,
            "gain": student - teacher,
            "overlap density": detector.fit(draw.world.strong[pool], proba[pool]).density_,
        }
        if world.knows_pool:
            found["ceiling"] = draw.hits(pool, draw.gold()).mean()
        if (analyzer := discrepancy_of(draw)) is not None:
            shared = np.clip(analyzer.correlation_dimension_, 0, analyzer.d_w_)
            found |= {"d_w": analyzer.d_w_, "d_s": analyzer.d_s_, "d_sw": shared}
        for name, value in found.items():
            cell.facts[f"{weak} | {strong} | {name}"] = float(value)
    return cell


def read(cells: Sequence[Cell], options: SweepOptions, level: float) -> SweepResult:
    """Average the seeds; say which of density and discrepancy ranks the pairs as the gain does."""
    table: list[dict[str, Any]] = []
    for weak, strong in pairs(options):
        row: dict[str, Any] = {"weak": weak, "strong": strong}
        for name in COLUMNS:
            values = [cell.facts.get(f"{weak} | {strong} | {name}") for cell in cells]
            known = [value for value in values if value is not None]
            row[name] = mean_over_seeds(known, level) if known else Estimate(np.nan, level=level)
        table.append(row)
    lines = tuple(
        Line(
            f"{row['weak']}, {row['strong']}",
            "measured",
            "gain",
            (Point(row["overlap density"].value, row["gain"]),),
        )
        for row in table
    )
    ranks = _ranks(table, level) if len(table) > 2 else {}
    said = "; ".join(f"with {name} {value.value:+.2f}" for name, value in ranks.items())
    best = max(table, key=lambda row: row["gain"].value)
    return SweepResult(
        options.over,
        "overlap density of the pair",
        lines,
        ranks,
        len(cells),
        f"{best['strong']} gains most, {100 * best['gain'].value:+.1f} points over {best['weak']}."
        + f" Rank correlation of the gain over the pairs: {said}." * bool(said),
        table=tuple(table),
    )


def _ranks(table: Sequence[dict[str, Any]], level: float) -> dict[str, Estimate]:
    """Return the rank correlation of the gain with density and with the unshared dimensions."""
    from scipy.stats import spearmanr

    gain = [row["gain"].value for row in table]
    signs = {
        "overlap density": [row["overlap density"].value for row in table],
        "1 - d_sw / d_w": [1 - row["d_sw"].value / row["d_w"].value for row in table],
    }
    return {
        name: Estimate(float(spearmanr(gain, values).statistic), level=level)
        for name, values in signs.items()
        if np.isfinite(values).all()
    }
