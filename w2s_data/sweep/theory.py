"""Dimensions that regularised probes use, on which the theories of least squares are asked."""

from __future__ import annotations

import numpy as np

from w2s_data.utils.typing import FloatArray

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
