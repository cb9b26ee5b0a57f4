r"""A mixture of the three types of points, class by class, which needs no gold label.

A point of class c shows the easy pattern, the hard one, or both, so there are three types for each
of C classes: 3C Gaussian components of the strong features, reduced to a few principal directions,
and evidence of the weak model beside them. Two forms are fitted (`w2s_data.overlap.em`):

- "additive": the components share one covariance, and their means add up,
  :math:`m + [\mathrm{easy}]\,l_c + [\mathrm{hard}]\,r_c`; the weak model's log-odds are further
  coordinates. Few parameters, right where a missing pattern is noise.
- "separate": each component has a mean and a covariance of its own, drawn to the common one; the
  weak model's confidence enters by its rank, and its label by how often it is the class. For
  features in which items without a pattern are more varied than items with it.

A point with a gold label counts for the components of its class alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

Kind = Literal["additive", "separate"]

TYPES = len(Region)
N_BINS = 16  # of the confidence, by rank: its form differs from one weak model to the next
LEAST = 1e-9
ELSEWHERE = -50.0  # log chance of a component of another class than the gold label


@dataclass(frozen=True)
class Points:
    """All that the mixture knows of n points.

    Coordinates are float32: their noise is far above its rounding, and products take half the time.
    """

    reduced: FloatArray  # float32 (n, d), strong features along their main directions
    log_odds: FloatArray  # float32 (n, C - 1) of the weak model
    labels: IntArray  # (n,), the weak model's class; -1 where it abstains
    bins: IntArray  # (n,), rank of the confidence, 0 to N_BINS - 1
    gold: IntArray  # (n,), class codes, -1 where unknown
    n_classes: int

    def __len__(self) -> int:
        return len(self.reduced)

    def take(self, rows: IntArray | BoolArray, n_dims: int | None = None) -> Points:
        """Return some points, and the first dimensions of the reduced features."""
        return Points(
            self.reduced[rows, :n_dims],
            self.log_odds[rows],
            self.labels[rows],
            self.bins[rows],
            self.gold[rows],
            self.n_classes,
        )

    @cached_property
    def coordinates(self) -> FloatArray:
        """Reduced features and log-odds side by side (n, d + C - 1)."""
        return np.hstack([self.reduced, self.log_odds])

    @cached_property
    def said(self) -> IntArray:
        """The weak model's word (n,): its label, C where it abstains, times `N_BINS` + rank."""
        return np.where(self.labels < 0, self.n_classes, self.labels) * N_BINS + self.bins

    @property
    def of_class(self) -> FloatArray:
        """Weak labels as weights (n, C), even where the weak model abstains."""
        one_hot = np.eye(self.n_classes)[self.labels]
        one_hot[self.labels < 0] = 1 / self.n_classes
        return one_hot

    @property
    def constraint(self) -> FloatArray | None:
        """Log chances (C, n) that keep points with a gold label in components of its class."""
        known = self.gold >= 0
        if not known.any():
            return None
        other = known & (self.gold != np.arange(self.n_classes)[:, None])
        return np.where(other, np.float32(ELSEWHERE), np.float32(0))


@dataclass(frozen=True)
class Mixture:
    """Fitted components; arrays of them have the shape (3, C, ...), types in order of `Region`."""

    kind: Kind
    weights: FloatArray  # (3, C)
    means: FloatArray  # (3, C, p)
    roots: FloatArray  # (p, p) or (3, C, p, p): x @ root has the identity as covariance
    log_hard: FloatArray  # (N_BINS,), chance of a rank of confidence without the easy pattern
    log_shown: FloatArray  # (2, N_BINS), with it: that the weak label is right, and that it is not
    share: FloatArray  # float32 (n, 3, C), responsibilities of the points of the fit
    log_likelihood: float  # mean over the points of the fit

    @property
    def n_directions(self) -> int:
        """Dimensions of the reduced features."""
        extra = self.means.shape[1] - 1 if self.kind == "additive" else 0
        return int(self.means.shape[2]) - extra

    @property
    def lost_a_type(self) -> bool:
        """Whether no point is left for one of the types."""
        return bool((self.weights.sum(axis=1) < LEAST).any())

    def log_types(self, points: Points) -> FloatArray:
        """Return the log density (n, 3) of points under each type, whatever the types' shares."""
        # A type that has lost all its points has no density anywhere.
        inside = self.weights / np.maximum(self.weights.sum(axis=1, keepdims=True), LEAST)
        return log_sum_exp(self.log_density(points) + _log(inside)[..., None], axis=1).T

    def log_density(self, points: Points) -> FloatArray:
        """Return the log density (3, C, n) of points in each component.

        Points come last in memory: sums over the few components of each are then ten times as fast.
        """
        if self.kind == "additive":
            return _log_gaussian(points.coordinates, self.means, self.roots)
        gaussian = _log_gaussian(points.reduced, self.means, self.roots)
        said = evidence(self.log_hard, self.log_shown, points.n_classes)
        return gaussian + said[..., points.said]

    def log_features(self, points: Points) -> float:
        """Return the mean log density of the strong features alone, by which forms compare."""
        d = points.reduced.shape[1]
        roots = self.roots
        if roots.shape[-1] > d:  # without the log-odds, which only one form has
            covariance = np.linalg.inv(roots @ roots.T)[:d, :d]
            roots = root(covariance)
        parts = _log_gaussian(points.reduced, self.means[..., :d], roots)
        each = log_sum_exp(parts + _log(self.weights)[..., None], axis=(0, 1))
        return float(each.mean(dtype=np.float64))


def evidence(log_hard: FloatArray, log_shown: FloatArray, n_classes: int) -> FloatArray:
    """Return log chances (3, C, (C + 1) N_BINS) of all that the weak model can say."""
    log_right, log_wrong = log_shown
    hidden = log_hard - np.log(n_classes)
    shown = np.empty((n_classes, n_classes + 1, N_BINS))
    shown[:] = log_wrong - np.log(max(1, n_classes - 1))
    each = np.arange(n_classes)
    shown[each, each] = log_right
    # An abstention tells of no class, and how sure it is of none tells nothing more.
    shown[:, n_classes] = hidden
    both = np.stack([np.broadcast_to(hidden, shown.shape), shown, shown])
    return both.reshape(TYPES, n_classes, -1).astype(np.float32)


def shares_of(log_types: FloatArray, steps: int = 200) -> FloatArray:
    """Return the shares (3,) of the types among points of log densities (n, 3).

    The maximum of the likelihood with the densities as they are (Saerens, Latinne, Decaestecker,
    *Adjusting the outputs of a classifier to new a priori probabilities*, 2002).
    """
    density = np.exp(log_types - log_types.max(axis=1, keepdims=True))
    share = np.full(TYPES, 1 / TYPES)
    for _ in range(steps):
        after = share * ((1 / (density @ share)) @ density) / len(density)
        if np.abs(after - share).max() < 1e-5:
            return np.asarray(after)
        share = after
    return share


def bin_edges(confidence: FloatArray) -> FloatArray:
    """Return the confidences that divide ranks into `N_BINS` parts."""
    return np.asarray(np.quantile(confidence, np.arange(1, N_BINS) / N_BINS))


def log_odds(proba: FloatArray) -> FloatArray:
    """Return coordinates (n, C - 1) of the log-probabilities, in which no class is special."""
    # Saturated probabilities would be outliers of any Gaussian.
    logs = np.log(np.clip(proba, 1e-4, None))
    n_classes = proba.shape[1]
    basis = np.linalg.qr(np.eye(n_classes) - 1 / n_classes)[0][:, : n_classes - 1]
    return np.asarray((logs - logs.mean(axis=1, keepdims=True)) @ basis)


def root(covariance: FloatArray) -> FloatArray:
    """Return R, upper triangular, where x R has the identity as covariance."""
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:  # rounding left some direction less than no variance
        variance, axes = np.linalg.eigh(covariance)
        variance = np.maximum(variance, 1e-5 * variance[..., -1:])
        lower = np.linalg.cholesky((axes * variance[..., None, :]) @ axes.swapaxes(-1, -2))
    return np.asarray(np.linalg.inv(lower).swapaxes(-1, -2))


def _log_gaussian(values: FloatArray, means: FloatArray, roots: FloatArray) -> FloatArray:
    """Log density (3, C, n) of Gaussians with one root of the precision, or one each."""
    *shape, p = means.shape
    # From a middle point, so that squares of far values do not cancel the digits.
    middle = means.mean(axis=(0, 1))
    values, centres = values - middle.astype(np.float32), (means - middle).reshape(-1, p)
    diagonal = np.diagonal(roots, axis1=-2, axis2=-1).reshape(-1, p)
    constant = np.log(diagonal).sum(axis=1) - p / 2 * np.log(2 * np.pi)
    if roots.ndim == 2:
        white, centres = values @ roots.astype(np.float32), centres @ roots
        constant = constant - np.einsum("kd,kd->k", centres, centres) / 2
        result = centres.astype(np.float32) @ white.T
        result -= np.einsum("nd,nd->n", white, white) / 2
    else:
        own = roots.reshape(-1, p, p)
        shift = -np.einsum("kd,kde->ke", centres, own)
        # One product with all roots and, by a coordinate of ones, all shifts.
        joined = np.concatenate([own, shift[:, None]], axis=1).transpose(1, 0, 2)
        ones = np.ones((len(values), 1), dtype=np.float32)
        white = np.hstack([values, ones]) @ joined.reshape(p + 1, -1).astype(np.float32)
        white = white.reshape(len(values), -1, p)
        result = np.einsum("nkd,nkd->kn", white, white)  # faster than squaring and summing
        result *= -0.5
    result += constant[:, None].astype(np.float32)
    return np.asarray(result.reshape(*shape, -1))


def _log(weights: FloatArray) -> FloatArray:
    return np.asarray(np.log(weights + LEAST), dtype=np.float32)


def log_sum_exp(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """Sum in logarithms; that of scipy takes ten times as long, for infinite values."""
    largest = values.max(axis=axis, keepdims=True)
    total = np.exp(values - largest).sum(axis=axis)
    return np.asarray(np.log(total) + largest.reshape(total.shape))
