r"""Expected risks of ridge teacher and student on features of any law, by fixed points.

A learner on n rows drawn from a population of rows x_i with weights l_i has a leave-one-out
equivalent that sharpens with n,

.. math:: G = \Bigl(\sum l_i \frac{x_i x_i^T}{1 + q_i / n} + \frac{\lambda}{n} I\Bigr)^{-1},
          \qquad q_i = x_i^T G x_i

after Hastie, Montanari, Rosset, Tibshirani, *Surprises in High-Dimensional Ridgeless Least
Squares Interpolation*, 2022. Where `theory.risks` are 20 to 30 % too low, for features with a
common heavy tail, these were within 1 % of simulations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.theory import ROLES, Risks, check_variances
from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_weights

TOLERANCE, MOST_STEPS = 1e-6, 2000  # of the largest relative change of a fixed point


@dataclass(frozen=True)
class ExpectedRisks:
    """Expected squared errors to the target, and the part of them that no number of rows removes.

    With labels in place of the target both hold their noise, and the difference does not.
    """

    risks: Risks
    bias: Risks

    @property
    def variance(self) -> Risks:
        """Return what more rows would remove."""
        return Risks(**{r: getattr(self.risks, r) - getattr(self.bias, r) for r in ROLES})


def expected_risks(
    strong_features: ArrayLike,
    weak_features: ArrayLike,
    target: ArrayLike,
    *,
    n: int,
    N: int,
    noise: float = 0.0,
    teacher_penalty: float = 0.0,
    student_penalty: float = 0.0,
    intercept: bool = True,
    weights: Mapping[str, ArrayLike] | None = None,
) -> ExpectedRisks:
    r"""Return the risks that are expected over draws of rows from a population.

    Parameters
    ----------
    strong_features, weak_features : array (R, D_s), (R, D_w)
        Rows of the population, 20 to 40 times as many as dimensions; in memory.
    target : float array (R,)
        The noiseless target, or labels with ``noise=0``: risks are then errors to labels.
    n, N : int
        Labelled and pool rows. Without a penalty n must exceed the dimensions of both sides, and N
        those of the strong one, with two to spare.
    noise : float
        Variance of the label noise on top of `target`.
    teacher_penalty, student_penalty : float
        As those of `design.design_risks`; the latter for gold alone and ceiling too.
    intercept : bool
    weights : mapping, optional
        For "labelled", "pool" and "test": how often a row (R,) is drawn there, which realises any
        shares of groups. By default all rows alike.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> strong, weak = rng.normal(size=(4000, 20)), rng.normal(size=(4000, 15))
    >>> weak[:, :5] = strong[:, :5]
    >>> found = expected_risks(strong, weak, np.zeros(4000), n=60, N=200, noise=1.0,
    ...                        intercept=False)
    >>> round(found.risks.teacher, 2), round(found.risks.student, 2)  # exact: .341 and .139
    (0.34, 0.14)
    """
    check_variances({"noise": noise})
    f = np.asarray(target, dtype=np.float64)
    psi, phi = (_columns(side, len(f), intercept) for side in (strong_features, weak_features))
    given = weights or {}
    gold, pool, test = (
        check_weights(given.get(name), len(f)) for name in ("labelled", "pool", "test")
    )
    gold, pool, test = (each / each.sum() for each in (gold, pool, test))
    teacher = _Fit.of(phi, gold, n, teacher_penalty, intercept)
    both = (n * gold + N * pool) / (n + N)
    found = {
        "teacher": teacher.errors(f, noise, test),
        "student": _taught(
            teacher, _Fit.of(psi, pool, N, student_penalty, intercept), f, noise, test
        ),
        "sft": _Fit.of(psi, gold, n, student_penalty, intercept).errors(f, noise, test),
        "ceiling": _Fit.of(psi, both, n + N, student_penalty, intercept).errors(f, noise, test),
    }
    return ExpectedRisks(
        Risks(**{role: bias + variance for role, (bias, variance) in found.items()}),
        Risks(**{role: bias for role, (bias, _) in found.items()}),
    )


def _columns(features: ArrayLike, n_rows: int, intercept: bool) -> FloatArray:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) != n_rows or not np.isfinite(x).all():
        raise InputError(f"features must be finite numbers of shape ({n_rows}, D); got {x.shape}")
    return np.column_stack([x, np.ones(n_rows)]) if intercept else x


@dataclass(frozen=True)
class _Fit:
    """Ridge regression on n rows that are drawn with weights from x."""

    x: FloatArray
    weights: FloatArray
    n: int
    inverse: FloatArray  # G
    inflation: FloatArray  # 1 + q / n

    @classmethod
    def of(cls, x: FloatArray, weights: FloatArray, n: int, penalty: float, constant: bool) -> _Fit:
        d = x.shape[1]
        if not penalty >= 0:
            raise InputError(f"a penalty must be at least 0; got {penalty!r}")
        if penalty == 0 and n <= d + 1:
            raise InputError(
                f"{n} rows do not determine {d} dimensions: pass a penalty, or take "
                "ridgeless.ridgeless_risks"
            )
        ridge = np.full(d, penalty / n)
        if constant:
            ridge[-1] = 0.0  # an intercept is not penalised
        inflation: FloatArray = np.ones(len(x))
        for _ in range(MOST_STEPS):
            scaled = x * (weights / inflation)[:, None]
            inverse: FloatArray = np.linalg.inv(scaled.T @ x + np.diag(ridge))
            last, inflation = inflation, 1 + _forms(x, inverse) / n
            if np.max(np.abs(inflation / last - 1)) < TOLERANCE:
                return cls(x, weights, n, inverse, inflation)
        raise InputError(f"{n} rows of {d} dimensions are too few for an expected risk")

    def mean_map(self, targets: FloatArray) -> FloatArray:
        """Return the mean coefficients (d,) or (d, k) for targets (R,) or (R, k)."""
        return self.inverse @ ((self.x * (self.weights / self.inflation)[:, None]).T @ targets)

    def covariance(self, noise: FloatArray) -> FloatArray:
        """Return the covariance (d, d) of the coefficients for residual variances (R,)."""
        own, spread = np.zeros(len(self.x)), np.zeros_like(self.inverse)
        for _ in range(MOST_STEPS):
            share = self.weights / self.inflation**2 * (noise + own / self.n)
            spread = self.inverse @ ((self.x * share[:, None]).T @ self.x) @ self.inverse
            last, own = own, _forms(self.x, spread)
            if np.max(np.abs(own - last)) <= TOLERANCE * np.max(own):
                break
        return spread / self.n

    def of_labels(self, f: FloatArray, noise: float) -> tuple[FloatArray, FloatArray]:
        """Return the mean coefficients of a model of labels, and their covariance."""
        theta = self.mean_map(f)
        # The population is a sample itself, to which its best model is a little too near.
        size = 1 / np.sum(self.weights**2)
        residual = (f - self.x @ theta) ** 2 * size / max(1.0, size - self.x.shape[1])
        return theta, self.covariance(noise + residual)

    def errors(self, f: FloatArray, noise: float, test: FloatArray) -> tuple[float, float]:
        """Return squared bias and variance at the test rows."""
        theta, spread = self.of_labels(f, noise)
        bias = test @ (f - self.x @ theta) ** 2
        return float(bias), float(test @ _forms(self.x, spread))


def _taught(
    teacher: _Fit, student: _Fit, f: FloatArray, noise: float, test: FloatArray
) -> tuple[float, float]:
    """Return squared bias and variance of a student of the teacher's outputs."""
    theta, spread = teacher.of_labels(f, noise)
    passed = student.mean_map(teacher.x)  # what it makes of the teacher's coefficients
    unseen = teacher.x - student.x @ passed
    of_pool = (unseen @ theta) ** 2 + _forms(unseen, spread)  # noise to the student
    own = student.covariance(of_pool)
    inherited = passed @ spread @ passed.T
    bias = test @ (f - student.x @ (passed @ theta)) ** 2
    return float(bias), float(test @ _forms(student.x, inherited + own))


def _forms(x: FloatArray, matrix: FloatArray) -> Any:
    """Return x_i' matrix x_i of every row."""
    return np.einsum("ij,ij->i", x @ matrix, x)
