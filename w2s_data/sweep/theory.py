"""Dimensions that regularised probes use, on which the theories of least squares are asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray

# Curvature of the logistic loss where it is steepest, p (1 - p) = 1/4: a penalty on the weights is
# a ridge of four times its size.
RIDGE = 4.0


def standardised(features: FloatArray) -> FloatArray:
    """Scale columns to mean 0 and variance 1, as the probes do; constant ones become 0."""
    scale = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(scale > 0, scale, np.inf))


def used_dimensions(features: FloatArray, l2: float, most: int) -> int:
    r"""Count the effective dimensions of a logistic probe on standardised features.

    .. math:: df_2 = \sum_j \left(\frac{\lambda_j}{\lambda_j + 4\,l_2}\right)^2

    with the eigenvalues of their correlation matrix; at least 1 and at most `most`.

    >>> rng = np.random.default_rng(0)
    >>> used_dimensions(rng.normal(size=(4000, 6)), 1e-4, 100)
    6
    >>> used_dimensions(rng.normal(size=(4000, 6)), 1.0, 100)
    1
    """
    scaled = standardised(features)
    values = np.linalg.eigvalsh(scaled.T @ scaled / len(scaled)).clip(0)
    return int(np.clip(round(float(((values / (values + RIDGE * l2)) ** 2).sum())), 1, most))


@dataclass(frozen=True)
class LeastSquares:
    r"""Teacher and student of least squares on endless rows of two groups, in given shares.

    With second moments :math:`\Lambda` and cross moments c of each group, mixed by its shares
    :math:`\eta_l` and :math:`\eta_u`,

    .. math:: \theta = (\Lambda_l + \rho_w I)^{-1} c_l, \qquad
              \alpha = (\Lambda_u + \rho_s I)^{-1} E_u[\psi\, \varphi^T \theta]

    Without label noise, the risk that is left is the shortcut that teacher and student share.

    >>> rng = np.random.default_rng(0)
    >>> labels, inside = rng.integers(0, 2, 4000), rng.random(4000) < 0.5
    >>> core = rng.normal(size=4000) + 2 * labels
    >>> shortcut = np.where(inside, 1 - labels, labels) + 0.3 * rng.normal(size=4000)
    >>> weak = np.column_stack([core + rng.normal(size=4000), shortcut])
    >>> limit = LeastSquares(weak, np.column_stack([core, shortcut]), labels, inside, 1e-3, 1e-3)
    >>> bool(limit.gains(0.5, [0.5])[0] > 0.02)  # it sees the core without its teacher's noise
    True
    """

    weak: FloatArray  # (M, D_w), standardised here, as the probes do
    strong: FloatArray  # (M, D_s)
    labels: FloatArray  # (M,) class codes
    inside: BoolArray  # (M,) in the group
    weak_ridge: float
    strong_ridge: float

    def gains(self, eta_labelled: float, etas: Iterable[float]) -> FloatArray:
        """Return the gain in accuracy, both groups alike, at each share of the pool."""
        targets = np.eye(int(self.labels.max()) + 1)[self.labels]
        phi, psi = (_with_constant(standardised(side)) for side in (self.weak, self.strong))
        taught = phi @ self._solve(phi, targets, eta_labelled, self.weak_ridge)
        right = self._accuracy(taught)
        return np.array(
            [
                self._accuracy(psi @ self._solve(psi, taught, eta, self.strong_ridge)) - right
                for eta in etas
            ]
        )

    def _solve(
        self, features: FloatArray, targets: FloatArray, eta: float, ridge: float
    ) -> FloatArray:
        weight = np.where(
            self.inside, eta / max(1, self.inside.sum()), (1 - eta) / max(1, (~self.inside).sum())
        )
        weighted = features * weight[:, None]
        penalty = np.full(features.shape[1], ridge)
        penalty[0] = 1e-9  # of the constant
        return np.linalg.solve(weighted.T @ features + np.diag(penalty), weighted.T @ targets)

    def _accuracy(self, scores: FloatArray) -> float:
        hit = scores.argmax(axis=1) == self.labels
        return float((hit[self.inside].mean() + hit[~self.inside].mean()) / 2)


def _with_constant(features: FloatArray) -> FloatArray:
    return np.column_stack([np.ones(len(features)), features])
