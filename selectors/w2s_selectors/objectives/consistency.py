"""Label consistency: how well a source's weak labels follow from the strong features.

Points come in batches. Each adds to small sums, and the first points of each source are kept as
rows of at most 65 numbers; features are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from w2s_data.features.matrix import row_blocks
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray
from w2s_selectors.objectives.base import Rows

# Measured together on 16 pools of real text. Components have mean variance 1, so that the penalty
# weighs like 32 points without an opinion.
N_COMPONENTS = 64
RIDGE_PENALTY = 32.0
MINIMUM_POINTS = 40  # to stop a source: the standard error of its z is then .16
KEPT_POINTS = 200_000  # of all sources together, and at least 200 of each
EXACT_POINTS = 4_000  # up to here consistency is computed in every round
GROWTH = 0.01  # and beyond, whenever there is this share more of points
BLOCK_BYTES = 16 * 2**20  # of the points whose predictions are computed together


@dataclass(frozen=True, eq=False)
class Projection:
    """Leading principal components of standardised features, scaled to a mean variance of 1.

    The same penalty then means the same whatever the features' scale and dimension.
    """

    mean: FloatArray
    weights: FloatArray

    @classmethod
    def fit(cls, features: FloatArray, n_components: int = N_COMPONENTS, seed: int = 0) -> Self:
        """Learn at most `n_components` components from rows (n, D)."""
        from sklearn.decomposition import PCA

        rows = np.asarray(features, dtype=np.float64)
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        # A constant column has a deviation of rounding errors, which scaling would blow up.
        constant = deviation <= 1e-7 * np.maximum(1.0, np.abs(mean))
        scale = np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))
        if constant.all():
            return cls(mean, np.zeros((rows.shape[1], 1)))
        # The seed matters for large D only, where the solver is randomised.
        pca = PCA(min(n_components, *rows.shape), random_state=seed % 2**32)
        variances = pca.fit((rows - mean) * scale).explained_variance_
        kept = variances > 1e-10 * variances[0]  # the rest is rounding: rows of lower rank
        axes = pca.components_[kept].T / np.sqrt(variances[kept].mean())
        return cls(mean, scale[:, None] * axes)

    def __call__(self, features: FloatArray) -> FloatArray:
        """Project rows (n, D) to (n, d)."""
        return np.asarray((features - self.mean) @ self.weights)


class LabelConsistency:
    r"""How well a source's weak labels follow from the strong features, by source.

    A ridge regression of the centred weak probabilities t on z (components and a constant),
    fitted on all points, predicts each point as if it had been left out,

    .. math::
        \hat t_{-i} = t_i
        - \frac{t_i - z_i^\top w}{1 - z_i^\top (Z^\top Z + \lambda I)^{-1} z_i}

    and is correlated with t inside each source, all classes together: `correlation` (K,), NaN
    below four of the `n_points` (K,), or where labels or predictions are constant. `agreeing` (K,)
    counts points whose weak label is also the most probable class of the left-out prediction.
    """

    def __init__(self, n_sources: int, n_components: int, n_classes: int) -> None:
        self._gram = np.zeros((n_components + 1, n_components + 1))
        self._moments = np.zeros((n_components + 1, n_classes))
        self._room = max(200, KEPT_POINTS // n_sources)
        self._points, self._targets = Rows(np.float64), Rows(np.float64)
        self._sources = Rows(np.int64)
        self.n_points = np.zeros(n_sources, dtype=np.int64)
        self.correlation = np.full(n_sources, np.nan)
        self.agreeing = np.zeros(n_sources)
        self._n_seen = self._n_computed = 0

    def add(self, source: IntArray, components: FloatArray, weak_proba: FloatArray) -> None:
        """Add points; `source` (n,) holds the source of each."""
        z = np.column_stack([components, np.ones(len(components))])
        # Centred at 1/C: the regression, penalised, shrinks towards having no opinion.
        t = weak_proba - 1 / weak_proba.shape[1]
        self._gram += z.T @ z
        self._moments += z.T @ t
        self._n_seen += len(z)
        room = self._room - self.n_points
        kept = np.concatenate([np.flatnonzero(source == k)[: room[k]] for k in np.unique(source)])
        self._points.append(z[kept])
        self._targets.append(t[kept])
        self._sources.append(source[kept])
        self.n_points += np.bincount(source[kept], minlength=len(self.n_points))

    def update(self) -> None:
        """Compute the attributes again; with many points, only once enough new ones have come."""
        from scipy.linalg import solve_triangular

        if EXACT_POINTS < self._n_seen < (1 + GROWTH) * self._n_computed:
            return
        self._n_computed = self._n_seen
        # With the inverse Cholesky factor, leverages and predictions of all points are products.
        factor = np.linalg.cholesky(self._gram + RIDGE_PENALTY * np.eye(len(self._gram)))
        inverse = solve_triangular(factor, np.eye(len(factor)), lower=True)
        weights = inverse @ self._moments
        targets, predicted = self._targets.array, np.empty_like(self._targets.array)
        for rows in row_blocks(self._points.array.shape, BLOCK_BYTES, itemsize=8):
            whitened = self._points.array[rows] @ inverse.T
            leverage = np.einsum("ij,ij->i", whitened, whitened)
            residual = targets[rows] - whitened @ weights
            predicted[rows] = targets[rows] - residual / (1 - leverage)[:, None]
        source, n_sources = self._sources.array, len(self.n_points)
        self.correlation = _correlation(source, targets, predicted, n_sources)
        agree = targets.argmax(axis=1) == predicted.argmax(axis=1)
        self.agreeing = np.bincount(source, agree, minlength=n_sources).astype(np.float64)

    @property
    def fisher_z(self) -> FloatArray:
        """atanh of the correlation, (K,)."""
        # Kept off +-1, whose atanh is infinite and would carry the quartile with it.
        return np.asarray(np.arctanh(np.clip(self.correlation, -1 + 1e-12, 1 - 1e-12)))


def screened_out(fisher_z: FloatArray, n_points: IntArray) -> tuple[BoolArray, float]:
    """Return the sources to stop, and the limit: half the upper quartile of z over the sources.

    A source is stopped if it has at least 40 points and z + 1 / sqrt(n - 3) is below the limit.
    Where the upper quartile is not positive, the sources cannot be compared and none is stopped.

    >>> screened_out(np.array([0.8, 0.7, 0.1, 0.75]), np.array([90, 90, 90, 30]))
    (array([False, False,  True, False]), 0.38...)
    """
    known = np.isfinite(fisher_z)
    if not known.any():
        return np.zeros(len(fisher_z), dtype=np.bool_), np.nan
    # The upper quartile is a clean source's z as long as a quarter of the sources are clean; half
    # of it leaves room for sources that are harder, not wrong.
    limit = float(np.quantile(fisher_z[known], 0.75)) / 2
    error = 1 / np.sqrt(np.maximum(n_points - 3, 1))
    below = np.where(known, fisher_z, np.inf) + error < limit
    return below & (n_points >= MINIMUM_POINTS) & (limit > 0), limit


def _correlation(source: IntArray, t: FloatArray, predicted: FloatArray, k: int) -> FloatArray:
    """Return Pearson's correlation (K,) inside each source: classes are centred, then pooled."""
    n = np.bincount(source, minlength=k).astype(np.float64)

    def summed(values: FloatArray) -> FloatArray:
        return np.column_stack([np.bincount(source, column, minlength=k) for column in values.T])

    def centred(values: FloatArray) -> FloatArray:
        return np.asarray(values - (summed(values) / np.maximum(n, 1)[:, None])[source])

    a, b = centred(t), centred(predicted)
    products = np.column_stack([(a * b).sum(axis=1), (a * a).sum(axis=1), (b * b).sum(axis=1)])
    covariance, of_t, of_prediction = summed(products).T
    scale = np.sqrt(of_t * of_prediction)
    defined = (n >= 4) & (of_t > 1e-12 * n) & (of_prediction > 1e-12 * n)
    return np.where(defined, covariance / np.where(defined, scale, 1.0), np.nan)
