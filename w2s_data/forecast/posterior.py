"""Class probabilities of every row from a small labelled set: kernel ridge, scaled and stacked.

Each class has a score against the rest; the scores of labelled rows are leave-one-out scores, so
that they are as far from the labels as those of rows that were never labelled. Classes share the
slopes that turn scores into probabilities: a class of a few rows could not learn its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from w2s_data.utils.typing import FloatArray, IntArray

# Ridge penalties, 10^-3.5 ... 10^1 in half decades, for kernels whose diagonal is 1 on average. All
# of them share one singular value decomposition, so that a finer grid than needed costs nothing.
PENALTIES = tuple(float(value) for value in 10.0 ** np.arange(-3.5, 1.5, 0.5))
SCALING_L2 = 1e-4  # keeps the slope of separable scores finite
NEWTON_STEPS = 100  # a bound: the steps end as soon as the gradient vanishes
HALVINGS = 30  # of a Newton step, after which it is below rounding
SMALLEST = 1e-12  # probability inside a logarithm
ROUNDING = 1e-12  # of a mean loss: without it, steps at the optimum are halved to nothing


@dataclass(frozen=True)
class Posterior:
    """Scores and probabilities (n, C) of labelled rows, leave-one-out, and (N, C) of the pool."""

    labelled_scores: FloatArray
    pool_scores: FloatArray
    labelled: FloatArray
    pool: FloatArray
    loss: float  # leave-one-out log-loss


def label_posteriors(
    strong: tuple[FloatArray, FloatArray], weak: tuple[FloatArray, FloatArray], codes: IntArray
) -> dict[str, Posterior]:
    """Fit posteriors on the strong, the weak and the mean kernel, by name ("both" the mean).

    Features are pairs of labelled rows (n, D) and the pool (N, D).
    """
    sides: dict[str, tuple[FloatArray, ...]] = {
        "weak": kernel_features(*weak),
        "strong": kernel_features(*strong),
    }
    # Columns side by side, each over sqrt(2), have the mean of both kernels as inner product.
    both = (np.hstack(pair) / np.sqrt(2) for pair in zip(*sides.values(), strict=True))
    sides["both"] = tuple(both)
    return {
        name: kernel_posterior(labelled, codes, pool) for name, (labelled, pool) in sides.items()
    }


def kernel_features(labelled: FloatArray, pool: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Standardise over all rows; inner products are means over the columns that vary."""
    everything = np.concatenate([labelled, pool])
    mean, scale = everything.mean(axis=0), everything.std(axis=0)
    # Rounding leaves constant columns a tiny spread; scaling by it would invent a signal.
    varies = scale > 1e-9 * np.maximum(1.0, np.abs(mean))
    scale = np.where(varies, scale, np.inf) * np.sqrt(max(1, varies.sum()))
    return (labelled - mean) / scale, (pool - mean) / scale


def kernel_posterior(labelled: FloatArray, codes: IntArray, pool: FloatArray) -> Posterior:
    r"""Fit kernel ridge with exact leave-one-out scores, scaled to probabilities.

    The penalty has the lowest leave-one-out log-loss after Platt scaling. For the linear kernel
    plus one, targets y = +-1, singular values sigma, left vectors U,

    .. math::
        H = U\,\mathrm{diag}\frac{\sigma^2}{\sigma^2 + \lambda}\,U^T, \qquad
        \text{score}_i = \frac{(Hy)_i - H_{ii} y_i}{1 - H_{ii}}

    Features (n, D), (N, D) are scaled so that their inner products are the kernel. The scaling is
    that of Platt, *Probabilistic outputs for support vector machines*, 1999, here without smoothed
    targets, with a slope of at least 0, and for any number of classes.
    """
    n = len(codes)
    targets = 2.0 * np.eye(codes.max() + 1)[codes] - 1
    left, singular, right = np.linalg.svd(_with_one(labelled), full_matrices=False)
    projected = left.T @ targets
    penalties = np.asarray(PENALTIES)[:, None]
    kept = singular**2 / (singular**2 + penalties)  # (penalties, rank)
    leverage = (kept @ (left**2).T)[:, :, None]
    scores = (left @ (kept[:, :, None] * projected) - leverage * targets) / (1 - leverage)
    slopes, intercepts = platt_scaling(scores, codes)
    proba = softmax(slopes * scores + intercepts, axis=-1)
    losses = -np.log(np.maximum(proba[:, np.arange(n), codes], SMALLEST)).mean(axis=1)
    best = int(np.argmin(losses))
    coef = right.T @ ((singular / (singular**2 + penalties[best]))[:, None] * projected)
    pool_scores = _with_one(pool) @ coef
    return Posterior(
        labelled_scores=scores[best],
        pool_scores=pool_scores,
        labelled=proba[best],
        pool=softmax(slopes[best] * pool_scores + intercepts[best], axis=-1),
        loss=float(losses[best]),
    )


def stacked_proba(labelled: FloatArray, codes: IntArray, pool: FloatArray) -> FloatArray:
    """Combine S scores (S, n, C), (S, N, C) into probabilities (N, C) by a logit with l2 = 1 / n.

    Those of labelled rows must be out of sample.
    """
    mean = labelled.mean(axis=1, keepdims=True)
    scale = _spread(labelled)
    scale = np.where(scale > 0, scale, np.inf)
    inputs = ((labelled - mean) / scale).transpose(1, 2, 0)
    slopes, intercepts = conditional_logit(inputs[None], codes, 1 / len(codes))
    logits = ((pool - mean) / scale).transpose(1, 2, 0) @ slopes[0] + intercepts[0]
    return np.asarray(softmax(logits, axis=-1))


def platt_scaling(scores: FloatArray, codes: IntArray) -> tuple[FloatArray, FloatArray]:
    """Fit slopes (K, 1, 1) >= 0 and intercepts (K, 1, C) of log-odds in scores (K, n, C)."""
    scale = np.maximum(_spread(scores), SMALLEST)
    slopes, intercepts = conditional_logit((scores / scale)[..., None], codes, SCALING_L2)
    shares = np.bincount(codes) / len(codes)
    # A negative slope would call the score's favourite the least likely class: then the score says
    # nothing, and the class shares remain.
    intercepts = np.where(slopes < 0, np.log(shares), intercepts)
    return np.maximum(slopes, 0)[:, :, None] / scale, intercepts[:, None]


def conditional_logit(
    inputs: FloatArray, codes: IntArray, l2: float
) -> tuple[FloatArray, FloatArray]:
    r"""Fit K small logits at once by Newton's method: classes share slopes, not intercepts.

    .. math:: P(c \mid x) \propto \exp(b_c + \textstyle\sum_s a_s x_{cs})

    Inputs (K, n, C, S) give slopes (K, S) and intercepts (K, C). The penalty is
    l2 (C / (C - 1))^2 |a|^2 / 2 beside the mean cross-entropy: for two classes with opposite scores
    that is logistic regression on the second class's scores, with penalty l2. The model is that of
    McFadden, *Conditional logit analysis of qualitative choice behavior*, 1974.
    """
    n_problems, n, n_classes, n_scores = inputs.shape
    own = np.broadcast_to(np.eye(n_classes), (n_problems, n, n_classes, n_classes))
    design = np.concatenate([inputs, own], axis=3)
    chosen = np.eye(n_classes)[codes]
    shared = np.full(n_scores, l2 * (n_classes / (n_classes - 1)) ** 2)
    penalty = np.append(shared, np.zeros(n_classes))
    ridge = np.diag(penalty + 1e-9)  # intercepts matter up to a constant only
    parameters = np.zeros((n_problems, n_scores + n_classes))

    def logits(at: FloatArray) -> FloatArray:
        return np.asarray((design @ at[:, None, :, None])[..., 0])

    def objective(at: FloatArray) -> FloatArray:
        proba = softmax(logits(at), axis=-1)[:, np.arange(n), codes]
        loss = -np.log(np.maximum(proba, 1e-300)).mean(axis=1)
        return np.asarray(loss + 0.5 * (penalty * at**2).sum(axis=1))

    value = objective(parameters)
    for _ in range(NEWTON_STEPS):
        proba = softmax(logits(parameters), axis=-1)
        gradient = np.einsum("kncp,knc->kp", design, proba - chosen) / n + penalty * parameters
        if np.abs(gradient).max() < 1e-9:
            break
        mean = np.einsum("knc,kncp->knp", proba, design)
        spread = np.einsum("knc,kncp,kncq->kpq", proba, design, design, optimize=True)
        hessian = (spread - mean.transpose(0, 2, 1) @ mean) / n + ridge
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        for _ in range(HALVINGS):  # halve the steps that overshoot
            trial = objective(parameters - step)
            worse = trial > value + ROUNDING
            if not worse.any():
                break
            step[worse] /= 2
        parameters, value = parameters - step, trial
    return parameters[:, :n_scores], parameters[:, n_scores:]


def _spread(scores: FloatArray) -> FloatArray:
    """Return the standard deviation of scores (K, n, C) inside classes, (K, 1, 1)."""
    return np.asarray(np.sqrt(scores.var(axis=1, keepdims=True).mean(axis=2, keepdims=True)))


def _with_one(features: FloatArray) -> FloatArray:
    return np.column_stack([features, np.ones(len(features))])
