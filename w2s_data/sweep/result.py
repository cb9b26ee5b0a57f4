"""Results of a sweep: lines of a figure with intervals over seeds, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data.sweep.world import Cell
from w2s_data.utils.intervals import Estimate, mean_estimate
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import FloatArray

Kind = Literal["measured", "predicted", "reference"]


# Note of a chart that shows both measured and predicted curves.
SCALED = (
    "The theory is about squared errors by label noise: its curve has the mean and spread of the "
    "measured one, and only its shape is predicted."
)


@dataclass(frozen=True)
class Point:
    """A value of a line; without a position it is one level for the whole figure."""

    x: float | None
    value: Estimate


@dataclass(frozen=True)
class Line:
    """One line of the figure, or of one of its panels."""

    name: str
    kind: Kind
    unit: str
    points: tuple[Point, ...]
    panel: str = ""

    def values(self) -> FloatArray:
        """Return the values in the order of the positions."""
        return np.array([point.value.value for point in self.points])


@dataclass(frozen=True, repr=False)
class SweepResult:
    """One published figure on one's own data.

    Attributes
    ----------
    over : str
        Quantity that was varied.
    axis : str
        Meaning of the positions.
    lines : tuple of Line
        Intervals are Student's over the seeds, for these test rows.
    facts : dict of Estimate
        Numbers of the whole figure, such as the slope.
    reading : str
        One or two sentences.
    table : tuple of dict
        One row per pair of models, where these are what was varied.
    """

    over: str
    axis: str
    lines: tuple[Line, ...]
    facts: dict[str, Estimate]
    n_seeds: int
    reading: str
    notes: tuple[str, ...] = ()
    table: tuple[dict[str, Any], ...] = ()

    def __getitem__(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        content: dict[str, Any] = jsonable(asdict(self))
        return content

    def to_frame(self) -> pd.DataFrame:
        """Return one row per point: name, kind, unit, panel, x, value, value_low, value_high."""
        return pd.DataFrame(
            asdict(line) | {"x": point.x, **point.value.columns("value")}
            for line in self.lines
            for point in line.points
        ).drop(columns="points")

    def __repr__(self) -> str:
        shown = [f"{name} {value.value:.4g}" for name, value in self.facts.items()]
        return f"SweepResult(over={self.over!r}, n_seeds={self.n_seeds}; {', '.join(shown)})"


def mean_over_seeds(values: Sequence[float] | FloatArray, level: float) -> Estimate:
    """Return the mean over seeds with Student's interval; NaN where a seed has none.

    Seeds that all have the same value, as without any draw in them, say nothing of an interval.

    >>> mean_over_seeds([0.1, 0.2, 0.3], 0.95)
    Estimate(0.2, -0.04841 to 0.4484)
    """
    array = np.asarray(values, dtype=np.float64)
    if np.ptp(array) == 0:
        return Estimate(float(array.mean()), level=level)
    return mean_estimate(array, level)


def ratio_over_seeds(above: FloatArray, below: FloatArray, level: float) -> Estimate:
    """Return the ratio of two means over seeds, with an interval by the delta method.

    NaN unless the lower mean is clearly positive, at least .01.

    >>> ratio_over_seeds(np.array([0.1, 0.2, 0.3]), np.full(3, 0.4), 0.95).value
    0.5
    """
    if not below.mean() >= 0.01:
        return Estimate(np.nan, level=level)
    ratio = float(above.mean() / below.mean())
    around = mean_over_seeds((above - ratio * below) / below.mean() + ratio, level)
    return Estimate(ratio, around.low, around.high, level)


def series(cells: Sequence[Cell], name: str) -> dict[float | None, list[float]]:
    """Return the values of a line over the seeds, by position."""
    found: dict[float | None, list[float]] = {}
    for cell in cells:
        for line, x, value in cell.points:
            if line == name:
                found.setdefault(x, []).append(value)
    return found


def line_of(cells: Sequence[Cell], name: str, kind: Kind, unit: str, level: float) -> Line:
    """Average a line over the seeds, point by point."""
    values = series(cells, name).items()
    return Line(name, kind, unit, tuple(Point(x, mean_over_seeds(v, level)) for x, v in values))


def facts_of(cells: Sequence[Cell], level: float) -> dict[str, Estimate]:
    """Average the numbers of the whole figure over the seeds."""
    names = dict.fromkeys(name for cell in cells for name in cell.facts)
    return {
        name: mean_over_seeds([cell.facts[name] for cell in cells if name in cell.facts], level)
        for name in names
    }


def rank_correlation(lines: Sequence[Line], others: Sequence[Line]) -> float:
    """Return Spearman's correlation of lines at the same positions; NaN if one does not vary."""
    from scipy.stats import spearmanr

    values, other = _values(lines), _values(others)
    if not (np.ptp(values) > 0 and np.ptp(other) > 0):
        return np.nan
    return float(spearmanr(values, other).statistic)


def on_scale(
    theory: Sequence[Line], measured: Sequence[Line], names: Sequence[str], sign: float = 1.0
) -> list[Line]:
    """Return predicted lines with the mean and spread of the measured ones, whose scale they lack.

    `sign` is -1 where the prediction is an error and the measurement its opposite.

    >>> def line(*values):
    ...     points = (Point(x, Estimate(v)) for x, v in enumerate(values))
    ...     return Line("a", "measured", "gain", tuple(points))
    >>> on_scale([line(0, 10)], [line(0.5, 0.7)], ["b"])[0].values().round(3).tolist()
    [0.5, 0.7]
    """
    predicted, found = sign * _values(theory), _values(measured)
    spread = predicted.std()
    scale = sign * (found.std() / spread if spread > 0 else 0.0)
    start = found.mean() - scale * sign * predicted.mean()

    def moved(value: Estimate) -> Estimate:
        low, high = sorted((start + scale * value.low, start + scale * value.high))
        return Estimate(float(start + scale * value.value), float(low), float(high), value.level)

    return [
        replace(
            line,
            name=name,
            kind="predicted",
            unit=like.unit,
            points=tuple(replace(point, value=moved(point.value)) for point in line.points),
        )
        for line, like, name in zip(theory, measured, names, strict=True)
    ]


def _values(lines: Sequence[Line]) -> FloatArray:
    return np.array(list(chain.from_iterable(line.values() for line in lines)))
