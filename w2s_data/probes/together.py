"""Linear models of many label vectors on the same features: scaled, factorised and solved once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from w2s_data.compute.device import or_on_cpu
from w2s_data.probes.lbfgs import MEMORY
from w2s_data.probes.solvers import LogisticProblems, Solutions, ridge
from w2s_data.utils.typing import FloatArray

# Bytes of targets, scores and slopes of problems that are solved together; more come in groups.
TOGETHER_BYTES = 128 * 2**20
COPIES = 6  # of the targets that a step makes
# Variance, as a share of the mean square, of a column that is constant in the rows of a problem.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Objective:
    """Parameters of `LinearProbe` that say what is minimised, and how."""

    loss: str
    standardize: bool
    fit_intercept: bool
    max_iter: int
    tol: float
    device: str


@dataclass(frozen=True)
class Linear:
    """A solution on the unscaled features: coef (C, D) or (1, D), intercept (C,) or (1,)."""

    coef: FloatArray
    intercept: FloatArray
    loss: float
    n_iter: int


def solve_together(
    objective: Objective,
    features: FloatArray,
    targets: FloatArray,
    weights: FloatArray,
    penalties: Iterable[float],
) -> Iterator[list[Linear]]:
    """Yield the solutions of L problems at each penalty.

    Features are (n, D), targets (L, n, C), weights (L, n), 0 for rows that a problem leaves out.
    """
    weights = weights / weights.sum(axis=1, keepdims=True)
    binary = targets[:, :, 1:] if targets.shape[2] == 2 else targets
    if objective.loss == "ridge":
        for penalty in penalties:
            yield [
                _ridge(objective, features, *problem, penalty)
                for problem in zip(binary, weights, strict=True)
            ]
        return
    mean, scale = _scaling(objective, features, weights.mean(axis=0))
    scaled = (features - mean) / scale
    columns = _own_scales(objective, scaled, scale, weights) if objective.standardize else None
    # Made where the first penalty needs them, since a lost device is given up for all.
    made: dict[str, LogisticProblems] = {}

    def solved(device: str, penalty: float) -> Solutions:
        if device not in made:
            problem = scaled, binary, weights, objective.fit_intercept
            made[device] = LogisticProblems(*problem, device, columns)
        return made[device].minimize(penalty, objective.max_iter, objective.tol)

    for penalty in penalties:
        run = partial(solved, penalty=penalty)
        found = or_on_cpu(run, objective.device, "the probe")
        coef = found.coef / scale  # 0 for a constant column, whose scale is infinite
        intercept = found.intercept - coef @ mean
        yield [
            Linear(*parts)
            for parts in zip(
                coef, intercept, found.loss.tolist(), found.n_iter.tolist(), strict=True
            )
        ]


def groups_of(n_problems: int, shape: tuple[int, ...], n_classes: int) -> Iterator[slice]:
    """Divide problems on features (n, D) into groups whose arrays fit into memory together."""
    n, d = shape
    most = max(1, TOGETHER_BYTES // (8 * n_classes * (COPIES * n + 2 * MEMORY * d)))
    for first in range(0, n_problems, most):
        yield slice(first, min(first + most, n_problems))


def _ridge(
    objective: Objective,
    features: FloatArray,
    targets: FloatArray,
    weights: FloatArray,
    penalty: float,
) -> Linear:
    rows = weights > 0
    features, targets, weights = features[rows], targets[rows], weights[rows]
    mean, scale = _scaling(objective, features, weights)
    scaled = (features - mean) / scale
    weights = weights / weights.mean()
    coef, intercept = ridge(scaled, targets, weights, penalty, objective.fit_intercept)
    if targets.shape[1] == 1:  # scores around 0, as for the logistic: p = (1 + score) / 2
        coef, intercept = 2 * coef, 2 * intercept - 1
    coef = coef / scale
    return Linear(coef, intercept - coef @ mean, np.nan, 1)


def _scaling(
    objective: Objective, features: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return what is subtracted from each feature (D,), and what divides it."""
    mean: FloatArray = np.zeros(features.shape[1])
    scale: FloatArray = np.ones(features.shape[1])
    if objective.standardize:
        mean, scale = _weighted_moments(features, weights)
    elif objective.fit_intercept:
        mean = weights @ features / weights.sum()
    if not objective.fit_intercept:
        # Uncentred, a feature counts with its size: the sign of a row must not change it.
        # A constant one is an intercept of its own: leave it as it is.
        size = np.sqrt(mean**2 + scale**2) if objective.standardize else scale
        mean, scale = np.zeros_like(mean), np.where(np.isinf(scale), 1.0, size)
    return mean, scale


def _own_scales(
    objective: Objective, scaled: FloatArray, scale: FloatArray, weights: FloatArray
) -> FloatArray | None:
    """Return what scales features (L, D) for each problem's own rows; None where all are equal."""
    if (weights == weights[0]).all():
        return None
    squares = weights @ scaled**2
    variance = squares - (weights @ scaled) ** 2
    unscaled = variance * np.where(np.isinf(scale), 1.0, scale) ** 2
    noise = (np.finfo(np.float64).eps * len(scaled)) ** 2  # as in `_weighted_moments`
    constant = (variance <= ROUNDING * squares) | (unscaled <= noise)
    size = np.where(constant, 1.0, variance if objective.fit_intercept else squares)
    return np.where(constant, 0.0 if objective.fit_intercept else scale, 1 / np.sqrt(size))


def _weighted_moments(features: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    weights = weights / weights.sum()
    mean = weights @ features
    deviation = features - mean
    np.square(deviation, out=deviation)
    variance = weights @ deviation
    # Rounding leaves a constant column with a tiny variance; scaling by it would invent a signal.
    rounding = np.finfo(np.float64).eps * len(features) * np.maximum(1.0, np.abs(mean))
    return mean, np.where(variance <= rounding**2, np.inf, np.sqrt(variance))
