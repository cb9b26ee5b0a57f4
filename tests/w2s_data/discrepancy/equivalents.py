r"""Variances of teacher and student on any rows by fixed points: the check of the closed forms.

Least squares on n rows drawn with weights l_i from the rows x_i of a population, label noise 1:

.. math::
    G &= \Bigl(\sum l_i \frac{x_i x_i^T}{1 + q_i / n}\Bigr)^{-1}, \quad q_i = x_i^T G x_i \\
    M &= G \sum l_i x_i x_i^T \frac{v_i + x_i^T M x_i / n}{(1 + q_i / n)^2} G

with residual variances v_i; M / n is the covariance of the coefficients. A leave-one-out argument
that sharpens with n, after Hastie, Montanari, Rosset, Tibshirani, *Surprises in High-Dimensional
Ridgeless Least Squares Interpolation*, 2022.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def expected_variances(
    strong: Any, weak: Any, n: float, N: float, labelled: Any, pool: Any, tolerance: float = 1e-9
) -> tuple[Any, Any]:
    """Return the variances (P,) of teacher and student at each row, for label noise 1.

    `labelled` and `pool` weight the P rows; they are rescaled to sum 1.
    """
    teacher = Fit(weak, labelled, n, tolerance)
    spread = teacher.covariance(np.ones(len(weak)))
    student = Fit(strong, pool, N, tolerance)
    passed = student.map(weak)  # what the student makes of the teacher's coefficients, on average
    unseen = weak - strong @ passed  # noise to the student
    own = student.covariance(forms(unseen, spread))
    return forms(weak, spread), forms(strong, passed @ spread @ passed.T + own)


class Fit:
    """Least squares on n rows drawn with weights from x."""

    def __init__(self, x: Any, weights: Any, n: float, tolerance: float) -> None:
        self.x, self.n, self.tolerance = x, n, tolerance
        self.weights = np.asarray(weights) / np.sum(weights)
        self.inflation, change = np.ones(len(x)), np.inf
        while change > tolerance:
            last = self.inflation
            scaled = x * (self.weights / last)[:, None]
            self.inverse = np.linalg.inv(scaled.T @ x)
            self.inflation = 1 + forms(x, self.inverse) / n
            change = np.max(np.abs(self.inflation / last - 1))

    def map(self, targets: Any) -> Any:
        """Return the mean coefficients (d, k) for targets (P, k)."""
        return self.inverse @ ((self.x * (self.weights / self.inflation)[:, None]).T @ targets)

    def covariance(self, noise: Any) -> Any:
        """Return the covariance (d, d) of the coefficients for residual variances (P,)."""
        own, change = np.zeros(len(self.x)), np.inf
        while change > self.tolerance:
            share = self.weights / self.inflation**2 * (noise + own / self.n)
            spread = self.inverse @ ((self.x * share[:, None]).T @ self.x) @ self.inverse
            last, own = own, forms(self.x, spread)
            change = np.max(np.abs(own - last)) / np.max(own)
        return spread / self.n


def forms(x: Any, matrix: Any) -> Any:
    """Return x_i^T matrix x_i of every row."""
    return np.einsum("ij,ij->i", x @ matrix, x)
