"""Values of the drawn points: as text, and in ranges by which a map is coloured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.ranges import quantile_ranges
from w2s_data.utils.typing import FloatArray
from w2s_reports.formats import significant

PARTS = 5  # ranges of equal counts; more colours are hard to tell apart
# From low to high: two warm colours, a neutral one, two blues, each with a shape of its own.
STYLES = (
    ("category-6", "triangle-up"),
    ("category-1", "diamond"),
    ("muted", "circle"),
    ("category-2", "square"),
    ("category-5", "x"),
)
COLOURINGS = (("value_range", "Gold value"), ("weak_range", "Weak value"), ("error_range", "Error"))


def value_columns(scored: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, Any]:
    """Return the values of drawn points as coded texts, and in ranges of all scored points."""
    columns: dict[str, Any] = {}
    for name, source in (("label", "target"), ("weak_label", "weak_value")):
        if source in drawn and drawn[source].notna().any():
            texts = [None if pd.isna(v) else significant(float(v)) for v in drawn[source]]
            codes, levels = pd.factorize(np.array(texts, dtype=object))
            columns[name] = {"levels": list(levels), "codes": codes.tolist()}
    for key, values in coloured(scored).items():
        names, ranges = quantile_ranges(values, PARTS)
        if len(names) > 1:
            place = pd.Series(ranges, index=scored.index)
            columns[key] = {"levels": names, "codes": place.loc[drawn.index].tolist()}
    return columns


def coloured(scored: pd.DataFrame) -> dict[str, FloatArray]:
    """Return gold values, weak values and absolute errors of all scored points."""
    target, weak = (
        scored[name].to_numpy(dtype=np.float64, na_value=np.nan)
        if name in scored
        else np.full(len(scored), np.nan)
        for name in ("target", "weak_value")
    )
    return {"value_range": target, "weak_range": weak, "error_range": np.abs(target - weak)}
