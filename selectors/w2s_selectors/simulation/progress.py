"""Growth of overlap and regret while a budget is spent, for a selection and its replays.

The regions come from the detector that was fitted on the whole pool, not from those that a
selection saw while it ran, so that a selection cannot flatter itself. They are estimates too, and
so is a regret that is measured with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.intervals import LEVEL, Estimate, mean_estimate, prediction_halfwidth
from w2s_data.utils.typing import FloatArray
from w2s_selectors.simulation.regret import cumulative_regret

MEASURES = ("overlap", "regret")


def measure_progress(
    replayed: pd.DataFrame, sources: pd.DataFrame, sizes: FloatArray, overlap: Mapping[str, bool]
) -> pd.DataFrame:
    """Accumulate overlap and regret of every run, round by round.

    `replayed` and `sources` are those of a `SelectionResult`, `sizes` (K,) the items that each
    source holds, and `overlap` says of each item of the pool whether it is an overlap point.

    Returns `replayed` without its ids, with `overlap` (points so far) and `regret` (the points so
    far that the same money would have been expected to bring more from the best source that held
    items then).
    """
    frame = replayed.drop(columns="ids")
    frame["overlap"] = [float(sum(overlap[name] for name in ids)) for ids in replayed["ids"]]
    runs = frame.groupby(["strategy", "run"], sort=False)
    frame["overlap"] = runs["overlap"].cumsum()
    # Run by run: only a single run's stock says which source was the best remaining one.
    number = pd.Index(sources["source"])
    for rows in runs.groups.values():
        part = frame.loc[rows]
        frame.loc[rows, "regret"] = cumulative_regret(
            number.get_indexer(part["source"]),
            sources["density"],
            items=part["items"],
            costs=sources["cost"],
            sizes=sizes,
        )
    return frame


def final_progress(progress: pd.DataFrame, level: float = LEVEL) -> dict[str, dict[str, Any]]:
    """Average the final overlap and regret over the runs of each strategy.

    `overlap_noise` and `regret_noise` say how far one more run may lie from the mean.
    """
    ends = progress.groupby(["strategy", "run"], sort=False)[list(MEASURES)].last()
    final: dict[str, dict[str, Any]] = {}
    for strategy, part in ends.groupby(level=0, sort=False):
        record = final[str(strategy)] = {}
        for name in MEASURES:
            record[name] = mean_estimate(part[name], level)
            record[f"{name}_noise"] = float(prediction_halfwidth(part[name], level))
    return final


def progress_curves(
    progress: pd.DataFrame, n_points: int = 41, level: float = LEVEL
) -> list[dict[str, Any]]:
    """Average each strategy at `n_points` evenly spaced spendings, with limits for one more run.

    Each point has `spent`, and by strategy the estimates of `overlap` and `regret`: the mean
    minus and plus `prediction_halfwidth`, NaN limits for one run.
    """
    grid = np.linspace(0.0, float(progress["spent"].max()), n_points)
    points: list[dict[str, Any]] = [{"spent": float(spent)} for spent in grid]
    for strategy, part in progress.groupby("strategy", sort=False):
        for name in MEASURES:
            lines = [_at(grid, run["spent"], run[name]) for _, run in part.groupby("run")]
            mean, noise = np.mean(lines, axis=0), prediction_halfwidth(lines, level)
            for point, value, half in zip(points, mean, noise, strict=True):
                # Neither measure can be negative; np.maximum passes the NaN of a single run on.
                low, high = float(np.maximum(0.0, value - half)), float(value + half)
                estimate = Estimate(float(value), low, high, level)
                point.setdefault(str(strategy), {})[name] = estimate
    return points


def _at(grid: FloatArray, spent: pd.Series[float], values: pd.Series[float]) -> FloatArray:
    """Interpolate a cumulative quantity between rounds, as if items came one by one."""
    return np.asarray(np.interp(grid, [0.0, *spent], [0.0, *values]))
