r"""Density ratio of two sides by a domain classifier: p(other | x) / p(reference | x), rescaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from w2s_data.shift.classifier import (
    Sides,
    cell_odds,
    cell_scores,
    discriminants,
    slopes,
)
from w2s_data.shift.structure import Placed
from w2s_data.utils.typing import BoolArray, FloatArray

# A reference row that stands for more than so many of its kind makes an estimate hang on its luck.
MOST_WEIGHT = 10.0


def held_out_scores(placed: Placed, sides: Sides) -> FloatArray:
    """Return the held-out scores (n, 3) of a view: both discriminants, and the cells."""
    columns = sides.other.astype(np.float32)[:, None]
    linear = discriminants(placed.points, columns, sides.folds)[:, :, 0]
    return np.vstack([linear, cell_scores(placed.cells, sides.other, sides.folds)]).T


def held_out_ratio(scores: FloatArray, sides: Sides) -> FloatArray:
    """Return the held-out log density ratio (n,) of rows with held-out scores (n, S)."""
    scaled, log_ratio = scores / _spread(scores), np.empty(len(scores))
    for fold in np.unique(sides.folds):
        train, held_out = sides.folds != fold, sides.folds == fold
        fitted = _Logistic.fitted(scaled[train], sides.other[train])
        log_ratio[held_out] = fitted.odds(scaled[held_out])
    return log_ratio - _offset(sides)


class DensityRatio:
    r"""Log density ratio of rows, from the scores of one or several views.

    .. math:: \log r(x) = \log \frac{p(other \mid x)}{p(reference \mid x)} -
        \log \frac{n_{other}}{n_{reference}}

    A logistic regression of held-out scores, of which each view has three, gives the probability,
    so that a classifier that has learned its rows by heart is not too sure of them.
    """

    def fit(self, placed: list[Placed], scores: list[FloatArray], sides: Sides) -> Self:
        """Fit on rows of both sides in each view, and their held-out scores."""
        joined = np.hstack(scores)
        self.spread_, self.offset_ = _spread(joined), _offset(sides)
        self.models_ = [_Discriminator.of(view, sides) for view in placed]
        self.held_out_ = held_out_ratio(joined, sides)
        self.logistic_ = _Logistic.fitted(joined / self.spread_, sides.other)
        return self

    def log_ratio(self, placed: list[Placed]) -> FloatArray:
        """Return the log density ratio (n,) of other rows, placed in the same views."""
        pairs = zip(self.models_, placed, strict=True)
        scores = np.hstack([model.scores(view) for model, view in pairs])
        return self.logistic_.odds(scores / self.spread_) - self.offset_


def _spread(scores: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(scores.std(axis=0), np.finfo(np.float32).tiny))


def _offset(sides: Sides) -> float:
    """Return the log odds of the other side among all rows."""
    return float(np.log(sides.other.sum() / (~sides.other).sum()))


def clipped_weights(log_ratio: FloatArray) -> FloatArray:
    """Return density ratios, large ones cut to 10."""
    return np.exp(np.minimum(log_ratio, np.log(MOST_WEIGHT)))


@dataclass(frozen=True)
class _Discriminator:
    """The classifiers of a view, trained on all rows."""

    mean: FloatArray  # (K,)
    directions: FloatArray  # (K, ridges)
    odds: tuple[FloatArray, ...]  # of the cells, at each scale

    @classmethod
    def of(cls, placed: Placed, sides: Sides) -> _Discriminator:
        mean, *found = slopes(placed.points, sides.other.astype(np.float32)[:, None])
        odds = tuple(cell_odds(scale, sides.other, scale.max() + 1) for scale in placed.cells.T)
        return cls(mean, np.hstack(found), odds)

    def scores(self, placed: Placed) -> FloatArray:
        """Return the scores (n, 3) of rows, on the scale of the held-out ones."""
        cells = np.zeros(len(placed))
        for scale, odds in zip(placed.cells.T, self.odds, strict=True):
            cells += np.append(odds, np.zeros(max(0, scale.max() + 1 - len(odds))))[scale]
        linear = (placed.points - self.mean) @ self.directions
        return np.column_stack([linear, cells / max(1, len(self.odds))])


@dataclass(frozen=True)
class _Logistic:
    """Logistic regression without negative coefficients.

    Held-out scores are lower where the side that is held out is missing among the others; a free
    coefficient would learn that, and see an AUC of .52 where there is no shift.
    """

    intercept: float
    coefficients: FloatArray

    @classmethod
    def fitted(cls, scores: FloatArray, other: BoolArray) -> _Logistic:
        """Fit with penalty |coefficients|^2 / 2, the usual one of scikit-learn."""
        signs = np.where(other, 1.0, -1.0)

        def objective(at: FloatArray) -> tuple[float, FloatArray]:
            margins = signs * (at[0] + scores @ at[1:])
            pulls = -signs * expit(-margins)
            loss = np.logaddexp(0, -margins).sum() + (at[1:] ** 2).sum() / 2
            return float(loss), np.append(pulls.sum(), scores.T @ pulls + at[1:])

        limits = [(None, None)] + [(0.0, None)] * scores.shape[1]
        start = np.append(np.log(other.mean() / (1 - other.mean())), np.zeros(scores.shape[1]))
        found = minimize(objective, start, jac=True, bounds=limits, method="L-BFGS-B").x
        return cls(float(found[0]), found[1:])

    def odds(self, scores: FloatArray) -> FloatArray:
        """Return log odds (n,) of the other side."""
        return np.asarray(self.intercept + scores @ self.coefficients)
