"""How overlap and regret grow while a budget is spent: what was chosen beside other orders.

The regions are those of the detector that was fitted on the whole pool, not those that a selection
saw while it ran. Against them nothing that a selection believed of itself counts; but they are
estimates too, and so is a regret that is measured with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.intervals import mean_interval, prediction_halfwidth
from w2s_data.utils.typing import FloatArray
from w2s_selectors.simulation.regret import cumulative_regret

MEASURES = ("overlap", "regret")


def measure_progress(
    replayed: pd.DataFrame, sources: pd.DataFrame, sizes: FloatArray, overlap: Mapping[str, bool]
) -> pd.DataFrame:
    """Cumulative overlap and regret of every run, by round.

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

    Examples
    --------
    >>> replayed = pd.DataFrame({"strategy": "chosen", "run": 0, "round": [0, 1], "items": 2,
    ...                          "source": ["a", "b"], "spent": [2.0, 4.0],
    ...                          "ids": [("a0", "a1"), ("b0", "b1")]})
    >>> owners = pd.DataFrame({"source": ["a", "b"], "cost": 1.0})
    >>> overlap = {"a0": False, "a1": False, "b0": True, "b1": True}
    >>> sizes, owner = np.array([2.0, 2.0]), {"a0": "a", "a1": "a", "b0": "b", "b1": "b"}
    >>> measure_progress(replayed, owners.assign(density=[0.0, 1.0]), sizes, overlap)[
    ...     ["overlap", "regret"]].values.tolist()
    [[0.0, 2.0], [2.0, 2.0]]
    """
    frame = replayed.drop(columns="ids")
    gained = [float(sum(overlap[name] for name in ids)) for ids in replayed["ids"]]
    frame["overlap"] = gained
    runs = frame.groupby(["strategy", "run"], sort=False)
    frame["overlap"] = runs["overlap"].cumsum()
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


def final_progress(progress: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Mean over the runs of each strategy at their ends, with interval and noise.

    Returns
    -------
    dict
        By strategy, `overlap` and `regret` with `_low`, `_high` and `_noise`, see
        `prediction_halfwidth`.
    """
    ends = progress.groupby(["strategy", "run"], sort=False)[list(MEASURES)].last()
    found: dict[str, dict[str, float]] = {}
    for strategy, part in ends.groupby(level=0, sort=False):
        record: dict[str, float] = {}
        for name in MEASURES:
            mean, low, high = mean_interval(part[name])
            record |= {name: float(mean), f"{name}_low": float(low), f"{name}_high": float(high)}
            record[f"{name}_noise"] = float(prediction_halfwidth(part[name]))
        found[str(strategy)] = record
    return found


def progress_curves(progress: pd.DataFrame, n_points: int = 41) -> list[dict[str, Any]]:
    """Mean of each strategy over what was spent, with limits for one more run.

    Parameters
    ----------
    progress : DataFrame
        From `measure_progress`.
    n_points : int
        Evenly spaced amounts from 0 to what was spent.

    Returns
    -------
    list of dict
        `spent`, and by strategy a dict of `overlap` and `regret`, each with `_low` and `_high`:
        the mean, minus and plus `prediction_halfwidth`. NaN limits for one run.
    """
    grid = np.linspace(0.0, float(progress["spent"].max()), n_points)
    points: list[dict[str, Any]] = [{"spent": float(spent)} for spent in grid]
    for strategy, part in progress.groupby("strategy", sort=False):
        for name in MEASURES:
            lines = [_at(grid, run["spent"], run[name]) for _, run in part.groupby("run")]
            mean, noise = np.mean(lines, axis=0), prediction_halfwidth(lines)
            for point, value, half in zip(points, mean, noise, strict=True):
                point.setdefault(str(strategy), {}).update(
                    {name: float(value), f"{name}_low": float(max(0.0, value - half))}
                    | {f"{name}_high": float(value + half)}
                )
    return points


def _at(grid: FloatArray, spent: pd.Series[float], values: pd.Series[float]) -> FloatArray:
    """A cumulative quantity between rounds: items come one by one."""
    return np.asarray(np.interp(grid, [0.0, *spent], [0.0, *values]))
