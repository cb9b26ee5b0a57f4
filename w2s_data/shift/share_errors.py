"""Errors of class shares by what probabilities say of them, without what pulls to equal shares.

Estimates stay at the shares of the gold rows where probabilities say nothing, in every draw of a
bootstrap, whose spread is then no error.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import null_space

from w2s_data.utils.typing import FloatArray, IntArray

LEAST = 1e-12  # variance, so that probabilities that never differ are no exact equations
LEAST_INFORMATION = 1e-9


def likelihood_errors(proba: FloatArray, prior: FloatArray, shares: FloatArray) -> FloatArray:
    """Return standard errors (C,) of the likeliest shares, by Fisher's information.

    `proba` (N, C) are probabilities of the pool, which assume a prior.

    >>> prior = np.array([0.5, 0.5])
    >>> likelihood_errors(np.eye(2)[[0, 1, 1, 1]], prior, np.array([0.25, 0.75])).round(2).tolist()
    [0.22, 0.22]
    >>> bool(likelihood_errors(np.full((4, 2), 0.5), prior, prior).min() > 1e3)
    True
    """
    likelihoods = proba / prior
    ratios = (likelihoods / (likelihoods @ shares)[:, None]) @ _changes(len(shares))
    return _errors(ratios.T @ ratios)


def black_box_errors(
    gold: FloatArray, codes: IntArray, pool: FloatArray, shares: FloatArray
) -> FloatArray:
    """Return standard errors (C,) of shares from mean probabilities, without the penalty.

    Means of the gold rows (n, C) of each class and of the pool (N, C) are both uncertain. A class
    without gold rows has share 0 and error 0.
    """
    classes = np.unique(codes)
    changes = _changes(gold.shape[1])
    gold, pool = gold @ changes, pool @ changes
    noise = np.atleast_2d(np.cov(pool, rowvar=False, ddof=0)) / len(pool)
    means = []
    for c in classes:
        own = gold[codes == c]
        means.append(own.mean(axis=0))
        noise += shares[c] ** 2 * np.atleast_2d(np.cov(own, rowvar=False, ddof=0)) / len(own)
    slopes = np.transpose(means) @ _changes(len(classes))
    errors = np.zeros(len(shares))
    noise += LEAST * np.eye(len(noise))
    errors[classes] = _errors(slopes.T @ np.linalg.solve(noise, slopes))
    return errors


def _changes(n_classes: int) -> FloatArray:
    """Return directions (C, C - 1) in which shares can change: their sum stays 1."""
    return np.asarray(null_space(np.ones((1, n_classes))))


def _errors(information: FloatArray) -> FloatArray:
    """Return the standard errors (C,) of shares; huge where there is no information."""
    values, vectors = np.linalg.eigh(information)
    directions = _changes(len(values) + 1) @ vectors
    variances = directions**2 / np.maximum(values, LEAST_INFORMATION)
    return np.asarray(np.sqrt(variances.sum(axis=1)))
