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

    Parameters
    ----------
    replayed, sources : DataFrame
        Of a `SelectionResult`.
    sizes : array (K,)
        Items that each source holds, in the order of `sources`.
    overlap : mapping of item id to bool
        Whether each item of the pool, bought or not, is an overlap point.

    Returns
    -------
    DataFrame
        `replayed` without its ids, with `overlap` (points so far) and `regret` (points so far that
        the same money would have brought more from the best source that held items then; expected
        by the sources' densities in `overlap`).
    """
    frame = replayed.drop(columns="ids")
    gained = [float(sum(overlap[name] for name in ids)) for ids in replayed["ids"]]
    frame["overlap"] = gained
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

    Returns
    -------
    dict
        By strategy, `overlap` and `regret` as an `Estimate` each, and as `overlap_noise` and
        `regret_noise` how far one more run may lie from them (`prediction_halfwidth`).
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
    """Average each strategy at evenly spaced spendings, with limits for one more run.

    Parameters
    ----------
    progress : DataFrame
        From `measure_progress`.
    n_points : int
        Number of amounts, from 0 to the whole spending.

    Returns
    -------
    list of dict
        `spent`, and by strategy a dict of `overlap` and `regret`: an `Estimate` each, the mean
        minus and plus `prediction_halfwidth`. NaN limits for one run.
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
