"""Values of the drawn points: as text, and in ranges by which a map is coloured."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

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


@dataclass(frozen=True)
class Ranges:
    """Ranges of equal counts: the name of each, and the range of each row, -1 if unknown."""

    names: list[str]
    codes: list[int]


def value_columns(scored: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, Any]:
    """Return the values of drawn points as coded texts, and in ranges of all scored points."""
    columns: dict[str, Any] = {}
    for name, source in (("label", "target"), ("weak_label", "weak_value")):
        if source in drawn and drawn[source].notna().any():
            texts = [None if pd.isna(v) else significant(float(v)) for v in drawn[source]]
            codes, levels = pd.factorize(np.array(texts, dtype=object))
            columns[name] = {"levels": list(levels), "codes": codes.tolist()}
    for key, values in coloured(scored).items():
        if (ranges := in_ranges(values)) is not None:
            place = pd.Series(ranges.codes, index=scored.index)
            own = place.loc[drawn.index].tolist()
            columns[key] = {"levels": ranges.names, "codes": own}
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


def in_ranges(values: FloatArray) -> Ranges | None:
    """Divide values into ranges of equal counts; None where fewer than two are left.

    >>> in_ranges(np.array([1.0, 2, 3, 4, 5])).names[0], in_ranges(np.ones(9))
    ('1.00 to 1.80', None)
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    edges = np.unique(np.quantile(known, np.linspace(0, 1, PARTS + 1)))
    if len(edges) < 3:
        return None
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    names = [
        f"{significant(float(low), 3)} to {significant(float(high), 3)}"
        for low, high in itertools.pairwise(edges)
    ]
    return Ranges(names, np.where(np.isfinite(values), codes, -1).tolist())
