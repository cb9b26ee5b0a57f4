"""Errors of predicted values on the test rows, with the same resamples for all models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from w2s_data.finetune.gain.intervals import Measurement, Score, measure
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

COUNT_BYTES = 32 * 2**20  # of resampled counts at a time
# Least difference that a single row makes, in targets' variances: two models that agree on
# every test row would otherwise differ by 0 with certainty, or significantly by rounding.
GRAIN = 0.1
MEASURES = ("mse", "rmse", "mae", "r2")


@dataclass(frozen=True)
class Errors:
    """Scores of one model on some test rows; squared errors over the variance of the targets."""

    square: Score
    absolute: Score
    explained: Score  # R^2

    def __sub__(self, other: Errors) -> Score:
        """Return the paired difference of the squared errors."""
        return self.square - other.square


class ErrorScorer:
    """Measures models on named parts of n test rows; the part "" is all that the result is about.

    Rows of one unit are drawn together, as exact duplicates are.
    """

    def __init__(
        self,
        targets: FloatArray,
        parts: Mapping[str, BoolArray],
        units: IntArray,
        *,
        n_resamples: int,
        level: float,
        seed: int,
    ) -> None:
        self.targets = targets
        self.parts = parts
        self.level = level
        main = targets[parts[""]]
        self.mean = float(main.mean())
        # Constant targets have no variance to compare with: errors are then as they are, and R^2 is
        # unknown.
        self.constant = not np.ptp(main)
        self.variance = 1.0 if self.constant else float(main.var())
        self._units = units
        self._n_units = {name: len(np.unique(units[rows])) for name, rows in parts.items()}
        self._n_resamples, self._seed = n_resamples, seed

    def score(self, models: Mapping[str, FloatArray]) -> dict[str, dict[str, Errors]]:
        """Score predictions (S, n) by model; errors by model and part."""
        predictions = {name: _distinct(values) for name, values in models.items()}
        scale = np.sqrt(self.variance)
        apart = {name: (own - self.targets) / scale for name, own in predictions.items()}
        stacked = np.concatenate(list(apart.values()))  # (K, n)
        middle = (self.targets - self.mean) / scale
        table = np.concatenate([stacked**2, np.abs(stacked), middle[None], middle[None] ** 2])
        ends = np.cumsum([len(own) for own in apart.values()])
        places = dict(zip(apart, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
        found: dict[str, dict[str, Errors]] = {name: {} for name in models}
        for part, rows in self.parts.items():
            drawn = self._resampled(np.where(rows, table, 0.0), rows)
            point = table[:, rows].mean(axis=1)
            k = len(stacked)
            for name, own in places.items():
                square, absolute = (
                    Score(point[at], drawn[at], self._n_units[part], grain=GRAIN)
                    for at in (own, k + own)
                )
                found[name][part] = Errors(
                    square, absolute, _explained(square, point[2 * k :], drawn[2 * k :])
                )
        return found

    def measurements(self, errors: Errors) -> dict[str, Measurement]:
        """Return mse, rmse, mae and r2 in units of the target."""
        square = self.difference(errors.square, least=0.0)
        scale = float(np.sqrt(self.variance))
        explained = measure(errors.explained, self.level, (-np.inf, 1.0))
        return {
            "mse": square,
            "rmse": _root(square),
            "mae": scaled(measure(errors.absolute, self.level, (0, np.inf)), scale),
            "r2": scaled(explained, np.nan) if self.constant else explained,
        }

    def difference(self, score: Score, least: float = -np.inf) -> Measurement:
        """Return a squared error, or a difference of two, in units of the target squared."""
        return scaled(measure(score, self.level, (least, np.inf)), self.variance)

    def _resampled(self, table: FloatArray, rows: BoolArray) -> FloatArray:
        """Return the mean (K, B) of each line of a table (K, n) over the rows of each resample."""
        means = np.empty((len(table), self._n_resamples))
        start = 0
        for counts in self._counts():
            total = counts @ rows
            own = np.divide(
                table @ counts.T,
                total,
                out=np.full((len(table), len(counts)), np.nan),
                where=total > 0,
            )
            means[:, start : start + len(counts)] = own
            start += len(counts)
        # A resample without a row of a small part says nothing about it: the mean takes its place.
        unknown = np.isnan(means[0])
        if unknown.any():
            means[:, unknown] = means[:, ~unknown].mean(axis=1, keepdims=True)
        return means

    def _counts(self) -> Iterator[FloatArray]:
        """Yield how often each row (b, n) is drawn, for some resamples at a time."""
        rng = np.random.default_rng(self._seed)
        n_units = int(self._units.max()) + 1
        step = max(1, COUNT_BYTES // (8 * len(self._units)))
        for start in range(0, self._n_resamples, step):
            size = min(step, self._n_resamples - start)
            drawn = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=size)
            yield drawn[:, self._units].astype(np.float64)


def scaled(measured: Measurement, factor: float) -> Measurement:
    """Return a measurement in other units."""
    return replace(
        measured,
        value=float(factor * measured.value),
        low=float(factor * measured.low),
        high=float(factor * measured.high),
        se_items=float(factor * measured.se_items),
        se_seeds=float(factor * measured.se_seeds),
    )


def _root(square: Measurement) -> Measurement:
    """Return the root of a mean square; its limits are the roots of the limits."""
    root = float(np.sqrt(square.value))
    slope = 0.5 / root if root > 0 else 0.0
    return replace(
        square,
        value=root,
        low=float(np.sqrt(max(square.low, 0.0))),
        high=float(np.sqrt(square.high)),
        se_items=slope * square.se_items,
        se_seeds=slope * square.se_seeds,
    )


def _explained(square: Score, point: FloatArray, drawn: FloatArray) -> Score:
    """Return R^2, the variance of each resample being its own; 0 where there is none."""
    variance = point[1] - point[0] ** 2
    variances = drawn[1] - drawn[0] ** 2
    known = variances > 1e-12
    ratio = np.divide(
        square.replicates,
        variances,
        out=np.ones_like(square.replicates),
        where=np.broadcast_to(known, square.replicates.shape),
    )
    own = square.point / variance if variance > 1e-12 else np.ones_like(square.point)
    return Score(1 - own, 1 - ratio, square.n, grain=GRAIN)


def _distinct(values: FloatArray) -> FloatArray:
    """Return predictions (S, n), of students that are all the same one of them."""
    return values[:1] if (values == values[:1]).all() else values
