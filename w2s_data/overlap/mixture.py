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
from scipy.special import logsumexp

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
    """All that the mixture knows of n points."""

    reduced: FloatArray  # (n, d), strong features along their main directions
    log_odds: FloatArray  # (n, C - 1) of the weak model
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
        """Sums of the products of coordinates, which every step of a fit needs."""
        return self.coordinates.T @ self.coordinates

    @property
    def of_class(self) -> FloatArray:
        """Weak labels as weights (n, C), even where the weak model abstains."""
        one_hot = np.eye(self.n_classes)[self.labels]
        one_hot[self.labels < 0] = 1 / self.n_classes
        return one_hot

    @property
    def constraint(self) -> FloatArray:
        """Log chances (n, 1, C) that keep points with a gold label in components of its class."""
        other = (self.gold >= 0) & (self.gold != np.arange(self.n_classes)[:, None])
        return np.where(other, ELSEWHERE, 0.0).T[:, None, :]


@dataclass(frozen=True)
class Mixture:
    """Fitted components; arrays of them have the shape (3, C, ...), types in order of `Region`."""

    kind: Kind
    weights: FloatArray  # (3, C)
    means: FloatArray  # (3, C, p)
    roots: FloatArray  # (p, p) or (3, C, p, p): x @ root has the identity as covariance
    log_hard: FloatArray  # (N_BINS,), chance of a rank of confidence without the easy pattern
    log_shown: FloatArray  # (2, N_BINS), with it: that the weak label is right, and that it is not
    share: FloatArray  # (n, 3, C), responsibilities of the points of the fit
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
        joint = self.log_density(points) + np.log(inside + LEAST)
        return np.asarray(logsumexp(joint, axis=2))

    def log_density(self, points: Points) -> FloatArray:
        """Return the log density (n, 3, C) of points in each component."""
        if self.kind == "additive":
            return self._gaussian(points.coordinates)
        return self._gaussian(points.reduced) + self._evidence(points)

    def log_features(self, points: Points) -> float:
        """Return the mean log density of the strong features alone, by which forms compare."""
        d = points.reduced.shape[1]
        roots = self.roots
        if roots.shape[-1] > d:  # without the log-odds, which only one form has
            covariance = np.linalg.inv(roots @ roots.T)[:d, :d]
            roots = _root(covariance)
        parts = _log_gaussian(points.reduced, self.means[..., :d], roots)
        return float(logsumexp(parts + np.log(self.weights + LEAST), axis=(1, 2)).mean())

    def _gaussian(self, values: FloatArray) -> FloatArray:
        return _log_gaussian(values, self.means, self.roots)

    def _evidence(self, points: Points) -> FloatArray:
        """Log chance (n, 3, C) of the weak model's label and confidence."""
        n_classes = points.n_classes
        right = points.labels[:, None] == np.arange(n_classes)
        log_right, log_wrong = self.log_shown
        spread = np.log(max(1, n_classes - 1))
        shown = np.where(right, log_right[points.bins, None], log_wrong[points.bins, None] - spread)
        hidden = self.log_hard[points.bins, None] - np.log(n_classes)
        # An abstention tells of no class, and how sure it is of none tells nothing more.
        shown = np.where(points.labels[:, None] < 0, hidden, shown)
        hidden = np.broadcast_to(hidden, shown.shape)
        return np.stack([hidden.T, shown.T, shown.T]).transpose(2, 0, 1)


def fit_mixture(
    points: Points, kind: Kind, start: FloatArray, *, steps: int = 80, tolerance: float = 1e-4
) -> Mixture:
    """Fit by EM from responsibilities (n, 3, C), until the mean log-likelihood hardly rises."""
    share, before, fixed = start, -np.inf, points.constraint
    maximise = _additive if kind == "additive" else _separate
    for step in range(steps):
        mixture = maximise(points, share)
        joint = mixture.log_density(points) + np.log(mixture.weights + LEAST) + fixed
        largest = joint.max(axis=(1, 2), keepdims=True)
        share = np.exp(joint - largest)
        total = share.sum(axis=(1, 2), keepdims=True)
        share /= total
        now = float((largest + np.log(total)).mean())
        if abs(now - before) < tolerance and step > 3:
            break
        before = now
    return replace(mixture, share=share, log_likelihood=now)


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
    share[:, Region.HARD] = hard[:, None] * np.exp(score - logsumexp(score, 1, keepdims=True))
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
    classes = np.exp(classes - logsumexp(classes, axis=1, keepdims=True))
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
    """Maximise: means that add up, one covariance."""
    values, n_classes = points.coordinates, points.n_classes
    flat = _by_component(share)
    weight = flat.sum(axis=1) + LEAST
    sums = flat @ values
    design = _design(n_classes)
    normal = design.T @ (weight[:, None] * design) + 1e-3 * np.eye(design.shape[1])
    means = design @ np.linalg.solve(normal, design.T @ sums)
    cross = means.T @ sums
    scatter = points.gram - cross - cross.T + means.T @ (weight[:, None] * means)
    root = _root(_shrunk(scatter / len(points), SHRINKAGE["additive"]))
    return _mixture("additive", share, means.reshape(TYPES, n_classes, -1), root, None)


def _separate(points: Points, share: FloatArray) -> Mixture:
    """Maximise: a mean and a covariance for each component, and what the weak model says."""
    values, d = points.reduced, points.reduced.shape[1]
    flat = _by_component(share)
    weight = flat.sum(axis=1) + LEAST
    means = (flat @ values) / weight[:, None]
    within = values.T @ values - (means * weight[:, None]).T @ means
    common = _shrunk(within / len(points), SHRINKAGE["separate"])
    prior = PRIOR_POINTS * d
    roots = []
    for own, mean, total in zip(flat, means, weight, strict=True):
        scatter = (values * own[:, None]).T @ values - total * np.outer(mean, mean)
        roots.append(_root((scatter + prior * common) / (total + prior)))
    shape = (TYPES, points.n_classes)
    tables = _evidence_tables(points, share)
    return _mixture(
        "separate", share, means.reshape(*shape, d), np.reshape(roots, (*shape, d, d)), tables
    )


def _by_component(share: FloatArray) -> FloatArray:
    """Return responsibilities as (3 C, n), which is how a step of a fit leaves them in memory."""
    return np.asarray(share.transpose(1, 2, 0).reshape(-1, len(share)))


def _evidence_tables(points: Points, share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log chances of ranks of confidence: without the easy pattern, and with it by right label."""
    voted, shown = points.labels >= 0, share[:, 1:].sum(axis=1)
    right = shown[np.arange(len(shown)), points.labels]
    counts = (share[:, Region.HARD].sum(axis=1), right, shown.sum(axis=1) - right)
    least = (1.0, 1.0, 0.25)  # points in every rank, so that no rank is impossible
    smooth = [
        _smoothed(np.bincount(points.bins, own * voted, N_BINS) + least_own)
        for own, least_own in zip(counts, least, strict=True)
    ]
    both = np.stack(smooth[1:])
    return np.log(smooth[0] / smooth[0].sum()), np.log(both / both.sum())


def _smoothed(counts: FloatArray) -> FloatArray:
    return np.convolve(np.pad(counts, 1, "edge"), [0.25, 0.5, 0.25], "valid")


def _mixture(
    kind: Kind,
    share: FloatArray,
    means: FloatArray,
    roots: FloatArray,
    tables: tuple[FloatArray, FloatArray] | None,
) -> Mixture:
    weights = share.sum(axis=0) / len(share)
    hard, shown = tables or (np.zeros(N_BINS), np.zeros((2, N_BINS)))
    return Mixture(kind, weights, means, roots, hard, shown, share, np.nan)


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
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)).T)


def _log_gaussian(values: FloatArray, means: FloatArray, roots: FloatArray) -> FloatArray:
    """Log density (n, 3, C) of Gaussians with one root of the precision, or one each."""
    types, n_classes, p = means.shape
    if roots.ndim == 2:
        # From a middle point, so that squares of far values do not cancel the digits.
        middle = means.mean(axis=(0, 1))
        white, centres = (values - middle) @ roots, (means - middle).reshape(-1, p) @ roots
        near = centres @ white.T - np.einsum("cd,cd->c", centres, centres)[:, None] / 2
        near -= np.einsum("nd,nd->n", white, white) / 2
        result = near.reshape(types, n_classes, -1) + np.log(np.diag(roots)).sum()
    else:
        result = np.empty((types, n_classes, len(values)))
        for t, c in np.ndindex(types, n_classes):
            off = values @ roots[t, c] - means[t, c] @ roots[t, c]
            distance = np.einsum("nd,nd->n", off, off)  # faster than squaring and summing
            result[t, c] = np.log(np.diag(roots[t, c])).sum() - distance / 2
    result -= p / 2 * np.log(2 * np.pi)
    # Points last in memory, here and in all that is added to it: sums over the few components of
    # each point are then ten times as fast.
    return np.asarray(result.transpose(2, 0, 1))
