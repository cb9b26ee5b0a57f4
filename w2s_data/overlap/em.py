r"""Fit of a mixture of types by EM, in which every step is two matrix products.

The log density of a component is linear in statistics :math:`T(x)` of a point, so that

.. math:: \log(w_k\, p_k(x_i)) = \theta_k^\top T(x_i) + \text{terms that no component changes}

The responsibilities R of a step give all that the next maximisation needs as :math:`R\,T`, and its
parameters give all responsibilities as :math:`\theta\,T^\top`. The additive form has
:math:`T = (1, x)`, since its components share a covariance; the separate one has
:math:`T = (1, x, x x^\top, \text{what the weak model said})`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.overlap.mixture import (
    LEAST,
    N_BINS,
    TYPES,
    Kind,
    Mixture,
    Points,
    evidence,
    log_sum_exp,
    root,
)
from w2s_data.utils.typing import FloatArray, IntArray

PRIOR_POINTS = 2  # per dimension, of the common covariance in that of a component
SHRINKAGE = {"additive": 0.02, "separate": 0.05}  # of correlations, so that few points suffice
# Variance within components, as a share of all: sums in float32 cannot tell less from none.
LEAST_VARIANCE = 1e-5
DOUBT = 0.1  # chance that a starting region is another one
SURE_STEPS = 5  # that are taken whatever they gain
LONGEST_JUMP = 8.0  # in steps; shorter after one that went too far


def fit_mixture(
    points: Points, kind: Kind, start: FloatArray, *, steps: int = 80, tolerance: float = 1e-4
) -> Mixture:
    """Fit by EM from responsibilities (n, 3, C), until the mean log-likelihood hardly rises.

    Every third step jumps ahead along the last two, which halves their number; a jump that lowers
    the likelihood is taken back (SQUAREM of Varadhan and Roland, *Simple and globally convergent
    methods for accelerating the convergence of any EM algorithm*, 2008).
    """
    form = (_Additive if kind == "additive" else _Separate)(points)
    share = np.ascontiguousarray(start.transpose(1, 2, 0), dtype=np.float32)
    last = _Step(None, share.reshape(-1, len(points)), -np.inf)
    share, path, longest, jumped = last.share, list[FloatArray](), LONGEST_JUMP, False
    for number in range(steps):
        step, joint = _em_step(form, share)
        gained = step.log_likelihood - last.log_likelihood
        if jumped and gained < 0:
            share, path, longest, jumped = last.share, [], max(2.0, longest / 2), False
            continue
        last, share = step, step.share
        if not jumped and abs(gained) < tolerance and number >= SURE_STEPS:
            break
        path, jumped = [*path, joint], False
        if len(path) == 3:
            share, jumped = _ahead(path, share, longest)
            path = []
    assert last.found is not None
    shares = last.share.reshape(TYPES, points.n_classes, -1).transpose(2, 0, 1)
    return replace(form.mixture(last.found), share=shares, log_likelihood=last.log_likelihood)


class _Step(NamedTuple):
    """Parameters, the responsibilities (K, n) by them, and their mean log-likelihood."""

    found: _Parameters | None
    share: FloatArray
    log_likelihood: float


def _em_step(form: _Form, share: FloatArray) -> tuple[_Step, FloatArray]:
    """Maximise with responsibilities, and return the logs (K, n) that the next ones come from."""
    found = form.maximise((share @ form.statistics).astype(np.float64))
    joint = form.natural(found).astype(np.float32) @ form.columns
    if form.elsewhere is not None:
        joint.reshape(TYPES, *form.elsewhere.shape)[:] += form.elsewhere
    after, logs = _softmax(joint)
    likelihood = form.common(found) + float(logs.mean(dtype=np.float64))
    return _Step(found, after, likelihood), joint


def _ahead(path: list[FloatArray], share: FloatArray, longest: float) -> tuple[FloatArray, bool]:
    """Return the responsibilities to which the last three steps lead, and whether they jump."""
    first, second, third = path
    change, bend = second - first, third - 2 * second + first
    # By the components that points belong to: logs of others may change by any amount.
    size, turn = (float(np.einsum("kn,kn,kn->", share, by, by)) for by in (change, bend))
    length = min(np.sqrt(size / max(turn, LEAST)), longest)
    if length <= 1:  # no further than the steps themselves
        return share, False
    return _softmax(first + np.float32(2 * length) * change + np.float32(length**2) * bend)[0], True


def _softmax(joint: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return shares of components (K, n), and the logs (n,) of what they are shares of."""
    largest = joint.max(axis=0)
    share = np.exp(joint - largest)
    total = share.sum(axis=0)
    share /= total
    return share, largest + np.log(total)


class _Parameters(NamedTuple):
    """Parameters of K components, in coordinates of mean 0 and variance 1."""

    weight: FloatArray  # (K,), sums of responsibilities
    means: FloatArray  # (K, p)
    roots: FloatArray  # (p, p) or (K, p, p)
    log_hard: FloatArray  # see `Mixture`
    log_shown: FloatArray


class _Form:
    """Statistics (n, q) of the points of a fit, and what follows from them."""

    kind: Kind

    def __init__(self, points: Points, values: FloatArray) -> None:
        self.points = points
        self.elsewhere = points.constraint
        self.n, self.p = values.shape
        exact = values.astype(np.float64)
        self.centre = exact.mean(axis=0)
        spread = exact.std(axis=0)
        self.scale = np.where(spread > 0, spread, 1.0)
        self.values = ((exact - self.centre) / self.scale).astype(np.float32)
        # Products of few components are twice as fast where the longer side is in order.
        self.columns = self._statistics()
        self.statistics = np.ascontiguousarray(self.columns.T)

    def _statistics(self) -> FloatArray:
        """Return the statistics of all points (q, n)."""
        ones = np.ones((1, self.n), dtype=np.float32)
        return np.vstack([ones, self.values.T])

    def maximise(self, sums: FloatArray) -> _Parameters:
        """Return the parameters, from sums (K, q) of the statistics by responsibilities."""
        raise NotImplementedError

    def natural(self, found: _Parameters) -> FloatArray:
        """Return what the statistics are multiplied by (K, q)."""
        raise NotImplementedError

    def common(self, found: _Parameters) -> float:  # noqa: ARG002
        """Return the mean over points of the log density that all components share."""
        # The density is that of the points before they were scaled.
        return float(-self.p / 2 * np.log(2 * np.pi) - np.log(self.scale).sum())

    def mixture(self, found: _Parameters) -> Mixture:
        """Return the fitted components, of the points as they were given."""
        shape = TYPES, self.points.n_classes
        roots = found.roots / self.scale[:, None]
        return Mixture(
            self.kind,
            (found.weight / self.n).reshape(shape),
            (found.means * self.scale + self.centre).reshape(*shape, self.p),
            roots if roots.ndim == 2 else roots.reshape(*shape, self.p, self.p),
            found.log_hard,
            found.log_shown,
            np.empty(0, dtype=np.float32),
            np.nan,
        )


class _Additive(_Form):
    """Means that add up, and one covariance."""

    kind: Kind = "additive"

    def __init__(self, points: Points) -> None:
        super().__init__(points, points.coordinates)
        self.design = _design(points.n_classes)
        exact = self.values.astype(np.float64)
        self.gram = exact.T @ exact

    def maximise(self, sums: FloatArray) -> _Parameters:
        weight, sums = sums[:, 0] + LEAST, sums[:, 1:]
        design = self.design
        normal = design.T @ (weight[:, None] * design)
        normal.flat[:: len(normal) + 1] += 1e-3
        means = design @ np.linalg.solve(normal, design.T @ sums)
        cross = means.T @ sums
        scatter = self.gram - cross - cross.T + means.T @ (weight[:, None] * means)
        one = root(_shrunk(scatter / self.n, SHRINKAGE["additive"]))
        return _Parameters(weight, means, one, np.zeros(N_BINS), np.zeros((2, N_BINS)))

    def natural(self, found: _Parameters) -> FloatArray:
        slopes = found.means @ found.roots
        constant = _log_shares(found.weight, self.n) - np.einsum("kp,kp->k", slopes, slopes) / 2
        return np.column_stack([constant, slopes @ found.roots.T])

    def common(self, found: _Parameters) -> float:
        white = np.einsum("ij,ij->", found.roots, self.gram @ found.roots) / self.n
        return super().common(found) + float(np.log(found.roots.diagonal()).sum() - white / 2)


class _Separate(_Form):
    """Means, covariances drawn to the common one, and what the weak model says."""

    kind: Kind = "separate"

    def __init__(self, points: Points) -> None:
        super().__init__(points, points.reduced)

    def _statistics(self) -> FloatArray:
        n_said = (self.points.n_classes + 1) * N_BINS
        self.one, self.other = np.triu_indices(self.p)
        self.said = slice(1 + self.p + len(self.one), None)
        columns = np.empty((self.said.start + n_said, self.n), dtype=np.float32)
        columns[0] = 1
        columns[1 : 1 + self.p] = self.values.T
        rows = columns[1 : 1 + self.p]
        np.multiply(rows[self.one], rows[self.other], out=columns[1 + self.p : self.said.start])
        columns[self.said] = np.arange(n_said)[:, None] == self.points.said
        return columns

    def maximise(self, sums: FloatArray) -> _Parameters:
        weight, means = sums[:, 0] + LEAST, sums[:, 1 : 1 + self.p]
        scatter = np.empty((len(sums), self.p, self.p))
        products = sums[:, 1 + self.p : self.said.start]
        scatter[:, self.one, self.other] = products
        scatter[:, self.other, self.one] = products
        scatter -= means[:, :, None] * (means / weight[:, None])[:, None, :]
        common = _shrunk(scatter.sum(axis=0) / self.n, SHRINKAGE["separate"])
        prior = PRIOR_POINTS * self.p
        roots = root((scatter + prior * common) / (weight + prior)[:, None, None])
        return _Parameters(weight, means / weight[:, None], roots, *self._evidence(sums))

    def natural(self, found: _Parameters) -> FloatArray:
        precision = found.roots @ found.roots.swapaxes(1, 2)
        slopes = np.einsum("kij,kj->ki", precision, found.means)
        theta = np.empty((len(found.weight), len(self.columns)))
        theta[:, 0] = _log_shares(found.weight, self.n)
        theta[:, 0] += np.log(np.diagonal(found.roots, axis1=1, axis2=2)).sum(axis=1)
        theta[:, 0] -= np.einsum("ki,ki->k", slopes, found.means) / 2
        theta[:, 1 : 1 + self.p] = slopes
        # A product of two coordinates stands once for the two halves of a quadratic form.
        half = np.where(self.one == self.other, -0.5, -1.0)
        theta[:, 1 + self.p : self.said.start] = precision[:, self.one, self.other] * half
        said = evidence(found.log_hard, found.log_shown, self.points.n_classes)
        theta[:, self.said] = said.reshape(len(theta), -1)
        return theta

    def _evidence(self, sums: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log chances of ranks of confidence: without the easy pattern, and with it."""
        n_classes = self.points.n_classes
        counts = sums[:, self.said].reshape(TYPES, n_classes, n_classes + 1, N_BINS)
        counts = counts[:, :, :n_classes]
        hard, shown = counts[Region.HARD].sum(axis=(0, 1)), counts[1:].sum(axis=0)
        right = np.einsum("ccb->b", shown)
        least = np.array([[1.0], [1.0], [0.25]])  # points in every rank, so that none is impossible
        by_rank = np.stack([hard, right, shown.sum(axis=(0, 1)) - right]) + least
        smooth = _smoothed(by_rank)
        return np.log(smooth[0] / smooth[0].sum()), np.log(smooth[1:] / smooth[1:].sum())


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
    share[:, Region.HARD] = hard[:, None] * np.exp(score - log_sum_exp(score, axis=1)[:, None])
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
    classes = np.exp(classes - log_sum_exp(classes, axis=1)[:, None])
    share = _doubted(regions)[:, :, None] * points.of_class[:, None, :]
    share[:, Region.HARD] = share[:, Region.HARD].sum(axis=1, keepdims=True) * classes
    plane = replace(points, reduced=along[:, None])
    return fit_mixture(plane, "additive", share + LEAST).share


def _log_shares(weight: FloatArray, n: int) -> FloatArray:
    return np.asarray(np.log(weight / n + LEAST))


def _doubted(regions: IntArray) -> FloatArray:
    """Regions as chances (n, 3)."""
    return np.eye(TYPES)[regions] * (1 - 1.5 * DOUBT) + DOUBT / 2


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
    """Return a covariance with weaker correlations, and a floor where points are all alike."""
    result = (1 - shrinkage) * covariance
    result.flat[:: len(covariance) + 1] += shrinkage * covariance.diagonal() + LEAST_VARIANCE
    return np.asarray(result)


def _smoothed(counts: FloatArray) -> FloatArray:
    """Average counts (..., N_BINS) with those of the ranks on both sides."""
    rank = np.arange(N_BINS)
    below, above = counts[..., np.maximum(rank - 1, 0)], counts[..., np.minimum(rank + 1, rank[-1])]
    return np.asarray(0.25 * below + 0.5 * counts + 0.25 * above)
