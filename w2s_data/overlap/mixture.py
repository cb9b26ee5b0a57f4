r"""A mixture of the three types of points, class by class, fitted by EM without any gold label.

A point of class c shows the easy pattern, the hard one, or both, so there are three types for each
of C classes: 3C Gaussian components of the strong features, reduced to a few principal directions,
and evidence of the weak model beside them. Two forms are fitted:

- "additive": the components share one covariance, and their means add up,
  :math:`m + [\mathrm{easy}]\,l_c + [\mathrm{hard}]\,r_c`; the weak model's log-odds are further
  coordinates. Few parameters, right where a missing pattern is noise.
- "separate": each component has a mean and a covariance of its own, drawn to the common one; the
  weak model's confidence enters by its rank, and its label by how often it is the class. For
  features in which items without a pattern are more varied than items with it.

A point with a gold label counts for the components of its class alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

Kind = Literal["additive", "separate"]

TYPES = len(Region)
N_BINS = 16  # of the confidence, by rank: its form differs from one weak model to the next
DOUBT = 0.1  # chance that a starting region is another one
PRIOR_POINTS = 2  # per dimension, of the common covariance in that of a component
SHRINKAGE = {"additive": 0.02, "separate": 0.05}  # of correlations, so that few points suffice
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
    def gram(self) -> FloatArray:
        """Sums of the products of coordinates, float64, which every step of a fit needs."""
        values = self.coordinates.astype(np.float64)
        return values.T @ values

    @cached_property
    def said(self) -> IntArray:
        """The weak model's word (n,): its label, C where it abstains, times `N_BINS` + rank."""
        return np.where(self.labels < 0, self.n_classes, self.labels) * N_BINS + self.bins

    @cached_property
    def of_said(self) -> FloatArray:
        """The same as columns (n, (C + 1) N_BINS) of zeros and ones, by which a product counts."""
        return np.eye((self.n_classes + 1) * N_BINS, dtype=np.float32)[self.said]

    @property
    def of_class(self) -> FloatArray:
        """Weak labels as weights (n, C), even where the weak model abstains."""
        one_hot = np.eye(self.n_classes)[self.labels]
        one_hot[self.labels < 0] = 1 / self.n_classes
        return one_hot

    @property
    def constraint(self) -> FloatArray:
        """Log chances (C, n) that keep points with a gold label in components of its class."""
        other = (self.gold >= 0) & (self.gold != np.arange(self.n_classes)[:, None])
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
        return _log_sum_exp(self.log_density(points) + _log(inside)[..., None], axis=1).T

    def log_density(self, points: Points) -> FloatArray:
        """Return the log density (3, C, n) of points in each component.

        Points come last in memory: sums over the few components of each are then ten times as fast.
        """
        if self.kind == "additive":
            return _log_gaussian(points.coordinates, self.means, self.roots)
        gaussian = _log_gaussian(points.reduced, self.means, self.roots)
        return gaussian + self._evidence(points.n_classes)[..., points.said]

    def log_features(self, points: Points) -> float:
        """Return the mean log density of the strong features alone, by which forms compare."""
        d = points.reduced.shape[1]
        roots = self.roots
        if roots.shape[-1] > d:  # without the log-odds, which only one form has
            covariance = np.linalg.inv(roots @ roots.T)[:d, :d]
            roots = _root(covariance)
        parts = _log_gaussian(points.reduced, self.means[..., :d], roots)
        each = _log_sum_exp(parts + _log(self.weights)[..., None], axis=(0, 1))
        return float(each.mean(dtype=np.float64))

    def _evidence(self, n_classes: int) -> FloatArray:
        """Log chances (3, C, (C + 1) N_BINS) of all that the weak model can say."""
        log_right, log_wrong = self.log_shown
        hidden = self.log_hard - np.log(n_classes)
        shown = np.empty((n_classes, n_classes + 1, N_BINS))
        shown[:] = log_wrong - np.log(max(1, n_classes - 1))
        each = np.arange(n_classes)
        shown[each, each] = log_right
        # An abstention tells of no class, and how sure it is of none tells nothing more.
        shown[:, n_classes] = hidden
        both = np.stack([np.broadcast_to(hidden, shown.shape), shown, shown])
        return both.reshape(TYPES, n_classes, -1).astype(np.float32)


def fit_mixture(
    points: Points, kind: Kind, start: FloatArray, *, steps: int = 80, tolerance: float = 1e-4
) -> Mixture:
    """Fit by EM from responsibilities (n, 3, C), until the mean log-likelihood hardly rises."""
    share = np.ascontiguousarray(start.transpose(1, 2, 0), dtype=np.float32)
    before, fixed = -np.inf, points.constraint
    maximise = _additive if kind == "additive" else _separate
    for step in range(steps):
        mixture = maximise(points, share)
        joint = mixture.log_density(points)
        joint += _log(mixture.weights)[..., None]
        joint += fixed
        largest = joint.max(axis=(0, 1))
        share = np.exp(joint - largest)
        total = share.sum(axis=(0, 1))
        share /= total
        now = float((largest + np.log(total)).mean(dtype=np.float64))
        if abs(now - before) < tolerance and step > 3:
            break
        before = now
    return replace(mixture, share=share.transpose(2, 0, 1), log_likelihood=now)


def start_from_regions(points: Points, regions: IntArray) -> FloatArray:
    """Return responsibilities (n, 3, C): the given regions, in doubt, and the weak labels.

    A hard-only point, whose weak label says nothing, gets the class towards which overlap points
    differ from easy-only ones.
    """
    types, labels = _doubted(regions), points.of_class
    share = types[:, :, None] * labels[:, None, :]
    values = points.reduced
    means = np.einsum("ntc,nd->tcd", share, values) / (share.sum(axis=0)[..., None] + LEAST)
    shift = means[Region.OVERLAP] - means[Region.EASY]
    shift = shift - shift.mean(axis=0)
    covariance = np.cov(values.T).reshape(values.shape[1], -1)
    covariance = covariance + 1e-6 * np.trace(covariance) * np.eye(len(covariance))
    hard = types[:, Region.HARD]
    centre = hard @ values / hard.sum()
    score = (values - centre) @ np.linalg.solve(covariance, shift.T)
    score = 2 * score / (score.std() + LEAST)
    share[:, Region.HARD] = hard[:, None] * np.exp(score - _log_sum_exp(score, axis=1)[:, None])
    return share + LEAST


def start_from_axis(points: Points, regions: IntArray) -> FloatArray | None:
    """Return responsibilities of two classes, by the main direction of the hard-only points.

    Where a missing pattern is noise, hard-only points vary most along the hard pattern. A mixture
    of that direction and the log-odds alone finds the types, and all directions start from them.
    """
    hard = regions == Region.HARD
    if points.n_classes != 2 or hard.sum() < 3:
        return None
    values = points.reduced
    centre = values[hard].mean(axis=0)
    axis = np.linalg.svd(values[hard] - centre, full_matrices=False)[2][0]
    along = (values - centre) @ axis
    along = along / (along[hard].std() + LEAST)
    # Overlap points show one class in both patterns, so that their weak labels orient the axis.
    sign = np.where(points.labels == 1, 1.0, -1.0)
    if (along * sign)[~hard].sum() < 0:
        along = -along
    classes = np.stack([-3 * along, 3 * along], axis=1) / 2
    classes = np.exp(classes - _log_sum_exp(classes, axis=1)[:, None])
    share = _doubted(regions)[:, :, None] * points.of_class[:, None, :]
    share[:, Region.HARD] = share[:, Region.HARD].sum(axis=1, keepdims=True) * classes
    plane = replace(points, reduced=along[:, None])
    return fit_mixture(plane, "additive", share + LEAST).share


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


def _doubted(regions: IntArray) -> FloatArray:
    """Regions as chances (n, 3)."""
    return np.eye(TYPES)[regions] * (1 - 1.5 * DOUBT) + DOUBT / 2


def _additive(points: Points, share: FloatArray) -> Mixture:
    """Maximise with responsibilities (3, C, n): means that add up, one covariance."""
    values, n_classes = points.coordinates, points.n_classes
    weight, sums = _moments(share, values)
    design = _design(n_classes)
    normal = design.T @ (weight[:, None] * design) + 1e-3 * np.eye(design.shape[1])
    means = design @ np.linalg.solve(normal, design.T @ sums)
    cross = means.T @ sums
    scatter = points.gram - cross - cross.T + means.T @ (weight[:, None] * means)
    root = _root(_shrunk(scatter / len(points), SHRINKAGE["additive"]))
    return _mixture("additive", share, means.reshape(TYPES, n_classes, -1), root, None)


def _separate(points: Points, share: FloatArray) -> Mixture:
    """Maximise with responsibilities (3, C, n): means, covariances, what the weak model says."""
    values, d = points.reduced, points.reduced.shape[1]
    weight, sums = _moments(share, values)
    means = sums / weight[:, None]
    # A product of an array with itself: half of it is computed, the other mirrored.
    scaled = np.sqrt(share.reshape(len(weight), -1, 1)) * values
    scatter = (scaled.transpose(0, 2, 1) @ scaled).astype(np.float64)
    scatter -= sums[:, :, None] * means[:, None, :]
    common = _shrunk(scatter.sum(axis=0) / len(points), SHRINKAGE["separate"])
    prior = PRIOR_POINTS * d
    roots = _root((scatter + prior * common) / (weight + prior)[:, None, None])
    shape = (TYPES, points.n_classes)
    tables = _evidence_tables(points, share)
    return _mixture(
        "separate", share, means.reshape(*shape, d), roots.reshape(*shape, d, d), tables
    )


def _moments(share: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weight (3 C,) of each component, and the sum (3 C, p) of its points, float64."""
    flat = share.reshape(-1, len(values))
    return flat.sum(axis=1, dtype=np.float64) + LEAST, (flat @ values).astype(np.float64)


def _evidence_tables(points: Points, share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log chances of ranks of confidence: without the easy pattern, and with it by right label."""
    n_classes = points.n_classes
    said = share.reshape(-1, len(points)) @ points.of_said
    counts = said.reshape(TYPES, n_classes, n_classes + 1, N_BINS)[:, :, :n_classes]
    hard, shown = counts[Region.HARD].sum(axis=(0, 1)), counts[1:].sum(axis=0)
    right = np.einsum("ccb->b", shown)
    least = np.array([[1.0], [1.0], [0.25]])  # points in every rank, so that none is impossible
    by_rank = np.stack([hard, right, shown.sum(axis=(0, 1)) - right]) + least
    smooth = _smoothed(by_rank)
    return np.log(smooth[0] / smooth[0].sum()), np.log(smooth[1:] / smooth[1:].sum())


def _smoothed(counts: FloatArray) -> FloatArray:
    """Average counts (..., N_BINS) with those of the ranks on both sides."""
    rank = np.arange(N_BINS)
    below, above = counts[..., np.maximum(rank - 1, 0)], counts[..., np.minimum(rank + 1, rank[-1])]
    return np.asarray(0.25 * below + 0.5 * counts + 0.25 * above)


def _mixture(
    kind: Kind,
    share: FloatArray,
    means: FloatArray,
    roots: FloatArray,
    tables: tuple[FloatArray, FloatArray] | None,
) -> Mixture:
    weights = share.mean(axis=2, dtype=np.float64)
    hard, shown = tables or (np.zeros(N_BINS), np.zeros((2, N_BINS)))
    return Mixture(kind, weights, means, roots, hard, shown, share.transpose(2, 0, 1), np.nan)


def _design(n_classes: int) -> FloatArray:
    """Which shifts a component's mean holds, (3 C, 1 + 2 C): the centre, easy and hard patterns."""
    design = np.zeros((TYPES, n_classes, 1 + 2 * n_classes))
    design[..., 0] = 1
    shows = {Region.HARD: (False, True), Region.EASY: (True, False), Region.OVERLAP: (True, True)}
    for region, (easy, hard) in shows.items():
        for c in range(n_classes):
            design[region, c, 1 + c] = easy
            design[region, c, 1 + n_classes + c] = hard
    return design.reshape(TYPES * n_classes, -1)


def _shrunk(covariance: FloatArray, shrinkage: float) -> FloatArray:
    diagonal = np.diag(np.diag(covariance))
    ridge = 1e-6 * diagonal + LEAST * np.eye(len(covariance))
    return np.asarray((1 - shrinkage) * covariance + shrinkage * diagonal + ridge)


def _root(covariance: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).swapaxes(-1, -2))


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


def _log_sum_exp(values: FloatArray, axis: int | tuple[int, ...]) -> FloatArray:
    """Sum in logarithms; that of scipy takes ten times as long, for infinite values."""
    largest = values.max(axis=axis, keepdims=True)
    total = np.exp(values - largest).sum(axis=axis)
    return np.asarray(np.log(total) + largest.reshape(total.shape))
