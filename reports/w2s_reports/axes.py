"""Axes that the interval marks of a column of a table share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def scale(estimates: Sequence[Mapping[str, Any]], start: float | None = 0.0) -> tuple[float, float]:
    """Return the axis that the interval marks of a column share: tenths that hold every value."""
    numbers = (e[side] for e in estimates for side in ("value", "low", "high"))
    values = [number for number in numbers if number is not None] or [0.0, 1.0]
    # At most 0.9, so that the axis keeps a width of a tenth.
    low = min(0.9, math.floor(min(values) * 10) / 10) if start is None else start
    # Less than a rounding error above a tenth is that tenth.
    high = math.ceil(max(values) * 10 - 1e-9) / 10
    return low, min(1.0, max(low + 0.1, high))


def value_scale(estimates: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the axis that the interval marks of errors share: from 0, or from the lowest limit.

    >>> value_scale([{"value": 2.0, "low": 1.5, "high": 3.0}])
    (0.0, 3.0)
    """
    numbers = (e[side] for e in estimates for side in ("value", "low", "high"))
    values = [number for number in numbers if number is not None] or [0.0, 1.0]
    low, high = min(0.0, *values), max(0.0, *values)
    return low, high if high > low else low + 1.0
