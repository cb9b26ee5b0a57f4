"""The scale of weak values: slope and offset of the line from them to the gold values."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import NotApplicableError
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.values.weak import FEWEST_RECALIBRATED, ValueLabels
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import Estimate, mean_estimate, student_interval
from w2s_data.utils.typing import FloatArray

# A slope off by this share, or a mean off by this share of the targets' standard deviation, costs
# 1 % of their variance, which is little beside the error of most teachers.
FAR = 0.1
_NOTHING = Estimate(np.nan).to_dict()
UNKNOWN = {"slope": _NOTHING, "offset": _NOTHING, "bias": _NOTHING, "far": False}


def find_scales(
    dataset: W2SDataset, weak: ValueLabels, *, apply: bool, level: float = LEVEL
) -> list[dict[str, Any]]:
    """Compare each teacher's values with the gold ones of the labelled split, on a line.

    Each record has `name`, `n` gold rows, estimates of `slope`, `offset` and `bias` (mean of gold
    minus weak), `far` (whether slope or bias are significantly and clearly off) and `applied`.

    Teachers that learned from gold rows have their scale, and are left alone.

    Raises
    ------
    NotApplicableError
        If the line is to be applied, and there are too few gold rows to know it, or no need.
    """
    rows = gold_rows(dataset).rows
    targets = dataset.targets[rows]
    learned = weak.learned or (None,) * len(weak.names)
    if apply and all(one is not None for one in learned):
        raise NotApplicableError(
            "recalibrate is for ready-made weak values: a teacher that learns from gold rows has "
            "their scale"
        )
    records = []
    for name, values, one in zip(weak.names, weak.values.T, learned, strict=True):
        known = np.isfinite(values[rows])
        n = int(known.sum())
        if one is not None:
            records.append({"name": name, "n": n, **UNKNOWN, "applied": False})
            continue
        if apply and n < FEWEST_RECALIBRATED:
            raise NotApplicableError(
                f"recalibrate needs {FEWEST_RECALIBRATED} gold rows or more with a value of "
                f"{name!r}; there are {n}: label more, or leave it out"
            )
        line = fit_line(values[rows][known], targets[known], level)
        records.append({"name": name, "n": n, **line, "applied": apply})
    return records


def fit_line(weak: FloatArray, gold: FloatArray, level: float) -> dict[str, Any]:
    """Return slope and offset of the least-squares line from weak to gold values (n,).

    >>> x = np.arange(20.0)
    >>> line = fit_line(x, 3 + 2 * x + np.tile([0.1, -0.1], 10), 0.95)
    >>> round(line["slope"]["value"], 1), round(line["offset"]["value"], 1), line["far"]
    (2.0, 3.0, True)
    """
    n = len(gold)
    if n < 3 or np.ptp(weak) == 0:  # no line, or one without an interval
        return dict(UNKNOWN)
    centred = weak - weak.mean()
    square = float(centred @ centred)
    slope = float(centred @ gold / square)
    offset = float(gold.mean() - slope * weak.mean())
    residuals = gold - offset - slope * weak
    noise = float(residuals @ residuals / (n - 2))
    errors = np.sqrt([noise / square, noise * (1 / n + weak.mean() ** 2 / square)])
    limits = [
        student_interval(value, error, n - 2, level)
        for value, error in zip((slope, offset), errors, strict=True)
    ]
    slope_is, offset_is = (
        Estimate(value, float(low), float(high), level)
        for value, (low, high) in zip((slope, offset), limits, strict=True)
    )
    bias = mean_estimate(gold - weak, level)
    other_slope = not slope_is.low <= 1 <= slope_is.high and abs(slope - 1) > FAR
    other_level = bias.differs_from_zero and abs(bias.value) > FAR * gold.std()
    parts = {"slope": slope_is, "offset": offset_is, "bias": bias}
    named = {name: part.to_dict() for name, part in parts.items()}
    return {**named, "far": bool(other_slope or other_level)}


def scale_warnings(scales: list[dict[str, Any]]) -> list[str]:
    """Say which teachers' values are on another scale, and what to do."""
    return [
        f"the weak values of {scale['name']!r} are not on the scale of the gold ones: on "
        f"{scale['n']:,} gold rows the line from weak to gold has slope {_shown(scale['slope'])} "
        f"and offset {_shown(scale['offset'])} instead of 1 and 0 (noise in weak values flattens "
        "it too); recalibrate applies the line"
        for scale in scales
        if scale["far"] and not scale["applied"]
    ]


def _shown(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.3g} ({estimate['low']:.3g} to {estimate['high']:.3g})"
