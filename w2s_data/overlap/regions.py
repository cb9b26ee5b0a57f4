"""Regions of points: assignment by thresholds, shares with intervals, degenerate cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.regions import Region
from w2s_data.overlap.quantify import Shares
from w2s_data.utils.intervals import Estimate, share_interval
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray

# Columns of a table of shares: that of overlap points is the density.
SHARES = {Region.HARD: "hard_only", Region.EASY: "easy_only", Region.OVERLAP: "density"}


def assign_regions(hard: BoolArray, alignment: FloatArray, threshold: float) -> AnyArray:
    """Return the region (N,) of each point, int8; no point is overlap under a NaN threshold."""
    regions = np.full(len(hard), Region.EASY, dtype=np.int8)
    regions[hard] = Region.HARD
    regions[~hard & (alignment >= threshold)] = Region.OVERLAP
    return regions


def degeneracy(regions: AnyArray, confidence: FloatArray, threshold: float) -> str | None:
    """Describe why a density is undefined or trivial under an alignment threshold; else None."""
    hard = regions == Region.HARD
    if hard.all():
        return (
            "every point is hard-only (the weak model is equally unsure of all): "
            "the overlap density is 0"
        )
    if not hard.any():
        return (
            f"the weak confidence is constant ({confidence[0]:.3g}), so there are no hard-only "
            "points: the density is undefined (NaN) and all points count as easy-only; it needs "
            "the weak model's probabilities, or its confidence in each point"
        )
    if np.isnan(threshold):
        return (
            f"the {int((~hard).sum())} points that are not hard-only have no alignment change "
            "point: the overlap density is undefined (NaN) and they count as easy-only"
        )
    return None


def from_columns(row: Any, column: str, level: float) -> Estimate:
    """Read the estimate that a row of `share_table` holds."""
    value, low, high = (float(row[f"{column}{end}"]) for end in ("", "_low", "_high"))
    return Estimate(value, low, high, level)


def share_table(
    regions: AnyArray,
    codes: IntArray,
    names: Sequence[Any],
    replicates: FloatArray,
    *,
    defined: bool,
    level: float,
) -> pd.DataFrame:
    """Return the share of each region in each group, with its interval.

    Points with negative codes are in no group; `replicates` (resamples, groups, 3) are shares by
    value of `Region`.
    """
    inside = codes >= 0
    # One count over group and region together: no pass per group.
    cells = np.bincount(3 * codes[inside] + regions[inside], minlength=3 * len(names))
    cells = cells.reshape(-1, 3)
    total = cells.sum(axis=1)
    share = cells / total[:, None]
    if not defined:  # without a density only the share of hard-only points is known
        share[:, [Region.EASY, Region.OVERLAP]] = np.nan
    rows = []
    for g, name in enumerate(names):
        row = {"name": name, "n": total[g]}
        for region, column in SHARES.items():
            value = float(share[g, region])
            limits = share_interval(replicates[:, g, region], value, total[g], level)
            row |= Estimate(value, *limits, level).columns(column)
        rows.append(row)
    columns = [f"{column}{end}" for column in SHARES.values() for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["name", "n", *columns])


def quantified_table(shares: Shares, codes: IntArray, names: Sequence[Any]) -> pd.DataFrame:
    """Return the same table as `share_table`, of shares that a mixture of the types gives."""
    total = np.bincount(codes[codes >= 0], minlength=len(names))
    table: dict[str, Any] = {"name": list(names), "n": total}
    for region, column in SHARES.items():
        for end, values in zip(("", "_low", "_high"), shares, strict=True):
            table[f"{column}{end}"] = values[:, region]
    return pd.DataFrame(table)
