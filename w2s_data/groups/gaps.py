r"""Clear gaps: directions along which the points of one class split into two.

Over-clustering proposes directions: Fisher's discriminant between every two of its cells, and the
first principal components. Along a direction the exact one-dimensional two-means split has the
separation

.. math:: D = (m_1 - m_0) / \sqrt{(s_0^2 + s_1^2) / 2}

of its two parts: 2.65 for normal values, 3.46 for evenly spread ones, about 3.9 for two normal
groups that lie four standard deviations apart. Directions are learned on one half of the points,
and D is measured on the other, since in many dimensions some direction splits any finite sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_data.errors import FeatureError
from w2s_data.groups.kmeans import kmeans
from w2s_data.utils.linalg import eigh
from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

EVENLY_SPREAD = 2 * math.sqrt(3)  # separation that values without any gap can reach
HALF_AS_CLEAR = 0.5  # of the clearest split: finer ones are topics within groups
MAX_COMPONENTS = 50  # whose covariance already has 1,275 entries to estimate
MAX_CELLS = 16  # 120 pairs of cells propose a direction each
ROWS_PER_CELL = 30  # with fewer, cell means are as uncertain as they are far apart
N_AXES = 10  # principal components that are tried themselves
N_REFINED = 8  # proposals, the clearest first, that are followed to their fixed point
MAX_STEPS = 15  # a bound: steps end at the fixed point
# Shrinks the covariance inside parts towards a multiple of the identity: keeps Fisher's
# discriminant finite along directions without spread, and from fitting noise in the others.
SHRINKAGE = 0.02
LEAST_SHARE, LEAST_ROWS = 0.02, 10  # of a part: smaller ones are never split off
SPLITTABLE_ROWS = 300  # from fewer, chance alone shows gaps (in 1 of 100 clouds of 200 rows)
MOST_GROUPS = 8  # of one class


@dataclass(frozen=True)
class Split:
    """Rows of group `parent` with x @ direction > threshold become the next group."""

    parent: int
    direction: FloatArray
    threshold: float
    separation: float


def find_splits(
    points: FloatArray,
    most: int | None,
    rng: np.random.Generator,
    hints: Sequence[FloatArray] = (),
) -> list[Split]:
    """Split the clearest gap first, until no gap is clear or there are `most` groups.

    A gap is clear if its separation exceeds that of evenly spread values and half of that of the
    first split. With `most`, the number is wanted whether gaps are clear or not. `hints` are
    directions (D,) that show a gap in other classes, to be tried in this one too.
    """
    mean, axes = principal_axes(points)
    reduced = (points - mean) @ axes
    hinted = [axes.T @ hint for hint in hints]
    codes = np.zeros(len(points), dtype=np.int64)
    proposals = [_clearest(reduced, rng, hinted)]
    splits: list[Split] = []
    while len(splits) + 1 < (MOST_GROUPS if most is None else most):
        gaps = [proposal for proposal in proposals if proposal is not None]
        if not gaps:
            break
        best = max(gaps, key=lambda proposal: proposal[2])
        direction, threshold, separation = best
        bar = max(EVENLY_SPREAD, HALF_AS_CLEAR * splits[0].separation) if splits else EVENLY_SPREAD
        if most is None and separation <= bar:
            break
        parent = next(i for i, proposal in enumerate(proposals) if proposal is best)
        full = axes @ direction
        splits.append(Split(parent, full, threshold + float(mean @ full), separation))
        codes[(codes == parent) & (reduced @ direction > threshold)] = len(splits)
        proposals[parent] = _clearest(reduced[codes == parent], rng)
        proposals.append(_clearest(reduced[codes == len(splits)], rng))
    return splits


def apply_splits(points: FloatArray, splits: list[Split]) -> IntArray:
    """Assign each point to a group 0 ... len(splits)."""
    codes = np.zeros(len(points), dtype=np.int64)
    for number, split in enumerate(splits, start=1):
        above = points @ split.direction > split.threshold
        codes[(codes == split.parent) & above] = number
    return codes


def two_means(values: FloatArray, least: int) -> tuple[float, float]:
    """Find the best threshold into two segments of `least` values or more, and its separation.

    (NaN, 0) where the values do not vary or are too few.
    """
    ordered = np.sort(values)
    n = len(ordered)
    scale = ordered.std() if n else 0.0
    if n < 2 * least or scale <= 1e-6 * np.abs(ordered).max():
        return math.nan, 0.0
    scaled = (ordered - ordered.mean()) / scale
    count = np.arange(least, n - least + 1)
    first, square = np.cumsum(scaled)[count - 1], np.cumsum(scaled**2)[count - 1]
    mean0, mean1 = first / count, -first / (n - count)
    spread0 = square / count - mean0**2
    spread1 = (n - square) / (n - count) - mean1**2
    spread = np.maximum(count * spread0 + (n - count) * spread1, 0)
    best = int(np.argmin(spread))
    inside = max(0.0, spread0[best]) + max(0.0, spread1[best])
    # Repeated values have no spread inside: the floor keeps their separation finite.
    separation = (mean1[best] - mean0[best]) / math.sqrt(max(inside / 2, 1e-6))
    cut = count[best]
    return float((ordered[cut - 1] + ordered[cut]) / 2), float(separation)


def principal_axes(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute the mean (D,) and the first principal axes (D, d) of non-zero variance."""
    mean = points.mean(axis=0, dtype=np.float64)
    centred = points - mean
    variances, axes = eigh(centred.T @ centred / len(points))
    kept = variances > 1e-10 * max(variances[-1], 1e-300)  # the rest is rounding
    if not np.isfinite(variances).all():
        raise FeatureError("features are so large that their squares overflow: rescale them")
    return mean, axes[:, kept][:, ::-1][:, :MAX_COMPONENTS]


def _clearest(
    points: FloatArray, rng: np.random.Generator, hints: Sequence[FloatArray] = ()
) -> tuple[FloatArray, float, float] | None:
    """Find direction, threshold and held-out separation of the clearest gap."""
    least = max(LEAST_ROWS, math.ceil(LEAST_SHARE * len(points)))
    if len(points) < SPLITTABLE_ROWS or points.shape[1] == 0:
        return None
    learned = np.zeros(len(points), dtype=bool)
    learned[rng.permutation(len(points))[: len(points) // 2]] = True
    half, held_out = points[learned], points[~learned]
    least_half = max(2, least // 2)
    refined = []
    for direction in [*hints, *_proposed(half, least_half, rng)]:
        followed = _refined(half, direction, least_half)
        # On points that the direction was not learned from.
        refined.append((two_means(held_out @ followed, least_half)[1], followed))
    if not refined:
        return None
    separation, direction = max(refined, key=lambda pair: pair[0])
    direction = _refined(points, direction, least)
    threshold = two_means(points @ direction, least)[0]
    if math.isnan(threshold):
        return None
    return direction, _bayes_threshold(points @ direction, threshold), separation


def _proposed(points: FloatArray, least: int, rng: np.random.Generator) -> list[FloatArray]:
    """Propose the directions with the largest separation on these points."""
    n_cells = max(2, min(MAX_CELLS, len(points) // ROWS_PER_CELL))
    cells = kmeans(points, n_cells, device="cpu", random_state=rng).codes
    sizes = np.bincount(cells, minlength=n_cells)
    present = np.flatnonzero(sizes)
    means = np.stack([points[cells == cell].mean(axis=0) for cell in present])
    inside = points - means[np.searchsorted(present, cells)]
    first, second = np.triu_indices(len(present), 1)
    between = np.linalg.solve(_shrunk(inside), (means[first] - means[second]).T)
    directions = np.hstack([between, np.eye(points.shape[1])[:, :N_AXES]])
    separations = [two_means(values, least)[1] for values in (points @ directions).T]
    order = np.argsort(-np.asarray(separations), kind="stable")[:N_REFINED]
    return [directions[:, i] for i in order if separations[i] > 0]


def _refined(points: FloatArray, direction: FloatArray, least: int) -> FloatArray:
    """Follow a direction to Fisher's discriminant of the split that it makes itself."""
    above: BoolArray | None = None
    for _ in range(MAX_STEPS):
        values = points @ direction
        threshold = two_means(values, least)[0]
        now = values > threshold
        if math.isnan(threshold) or (above is not None and bool((now == above).all())):
            break
        above = now
        means = points[~above].mean(axis=0), points[above].mean(axis=0)
        inside = points - np.where(above[:, None], means[1], means[0])
        direction = np.linalg.solve(_shrunk(inside), means[1] - means[0])
    return direction


def _shrunk(inside: FloatArray) -> FloatArray:
    """Shrink the covariance of centred points a little towards a multiple of the identity."""
    covariance = inside.T @ inside / len(inside)
    size = covariance.shape[0]
    ridge = SHRINKAGE * np.trace(covariance) / size + 1e-12 * np.square(inside).max() + 1e-300
    return np.asarray((1 - SHRINKAGE) * covariance + ridge * np.eye(size))


def _bayes_threshold(values: FloatArray, threshold: float) -> float:
    """Find the point where two normal densities, fitted to a split by EM, are equal.

    Two-means puts the threshold half-way, which cuts into the larger of two unequal groups.
    """
    from scipy.special import expit

    def log_odds(at: FloatArray) -> FloatArray:
        logs = np.log(sizes / np.sqrt(spread))[:, None]
        logs = logs - (at - means[:, None]) ** 2 / (2 * spread[:, None])
        return np.asarray(logs[1] - logs[0])

    inside = values.std() ** 2 * 1e-4  # keeps a density from collapsing onto one value
    above = (values > threshold).astype(np.float64)
    for _ in range(MAX_STEPS):
        weights = np.stack([1 - above, above])
        sizes = weights.sum(axis=1)
        if sizes.min() < 2:
            return threshold
        means = weights @ values / sizes
        spread = (weights * (values - means[:, None]) ** 2).sum(axis=1) / sizes + inside
        above = expit(log_odds(values))
    between = np.sort(values[(values > means[0]) & (values < means[1])])
    crossed = np.flatnonzero(log_odds(between) > 0)
    if not len(crossed):
        return threshold
    at = crossed[0]
    return float(between[at] if at == 0 else (between[at - 1] + between[at]) / 2)
