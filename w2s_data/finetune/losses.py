"""Losses of students, one value per row.

Logits and targets have shape (..., C); targets are distributions over the C classes, soft or
one-hot, or a value each (C = 1). Each is a plain function of tensors, so that a test can compare it
with its closed form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

# In which offsets of several classes settle, and how far each goes to where its class would have
# its rows: all the way they would overshoot, since all move at once.
ROUNDS, STRIDE = 4, 2 / 3


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Return the cross-entropy, :math:`-\sum_c y_c \log p_c` with p the softmax of the logits."""
    return -(target * logits.log_softmax(-1)).sum(-1)


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    r"""Return the squared error of values (..., 1), :math:`(y - f)^2`."""
    return (target - predicted).square().sum(-1)


def huber_loss(predicted: Tensor, target: Tensor, delta: float) -> Tensor:
    r"""Return the squared error of values (..., 1) up to `delta`, and its tangent beyond.

    .. math:: r^2 \ \text{for}\ |r| \le \delta, \quad \delta (2 |r| - \delta)\ \text{else}

    Twice the loss of Huber, *Robust Estimation of a Location Parameter*, 1964, so that near 0 it is
    that of `squared_error`.
    """
    from torch.nn.functional import huber_loss as huber

    return 2 * huber(predicted, target, reduction="none", delta=delta).sum(-1)


def signed_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy with targets of any sign, whose sum is the weight of the row.

    Convex in the logits where that sum is at least 0. It has no closed form as a cross-entropy with
    distributions, and so a name of its own.
    """
    return cross_entropy(logits, target)


def generalized_cross_entropy(logits: Tensor, target: Tensor, q: float) -> Tensor:
    r"""Return the generalised cross-entropy, :math:`\sum_c y_c (1 - p_c^q) / q`.

    Cross-entropy as q -> 0; 1 - p_y, half the mean absolute error of a one-hot target, at q = 1.
    Labels that the student finds improbable weigh less, the more so the larger q: the gradient is
    that of the cross-entropy times p_y^q.
    Zhang, Sabuncu, *Generalized Cross Entropy Loss*, NeurIPS 2018, equation 6.
    """
    if q == 0:
        return cross_entropy(logits, target)
    # expm1 of q log p: at small q the difference 1 - p^q would lose all digits.
    return -(target * (q * logits.log_softmax(-1)).expm1()).sum(-1) / q


def harden(proba: Tensor) -> Tensor:
    """Return the one-hot vector of the most probable class; the first of equals."""
    import torch

    # Classes before rows, in which torch finds a maximum eight times as fast.
    best = proba.mT.max(-2, keepdim=True).indices
    classes = torch.arange(proba.shape[-1], device=proba.device).unsqueeze(-1)
    return (best == classes).to(proba.dtype).mT


def harden_evenly(logits: Tensor, shares: Tensor) -> Tensor:
    r"""Return one-hot classes of a batch (..., B, C) of which each has about its share (..., C).

    .. math:: \hat y_i = \mathrm{onehot}(\arg\max_c \log p_{ic} + b_c)

    Again and again each offset b_c goes part of the way to where its class would have its number of
    rows, were the other offsets fixed. For two classes that is a threshold, the quantile of Burns
    et al.; for more the shares are met up to a few rows.
    """
    import torch

    if logits.shape[-1] == 2:
        return _harden_by_threshold(logits, shares[..., :1])
    # Classes before rows, so that sums, maxima and orders are those of long vectors.
    scores = logits.mT.log_softmax(-2)
    # Whole numbers that add up to the rows: differences of the rounded cumulative shares.
    ends = (shares.cumsum(-1) * scores.shape[-1]).round().long()
    wanted = torch.diff(ends, dim=-1, prepend=torch.zeros_like(ends[..., :1])).unsqueeze(-1)
    if logits.device.type == "cpu":  # numpy takes a third of the time of torch for such arrays
        shifted = torch.from_numpy(_shifted(np, np.sort, scores.numpy(), wanted.numpy()))
    else:
        shifted = _shifted(torch, lambda values: values.sort().values, scores, wanted)
    return harden(shifted.mT)


def _harden_by_threshold(logits: Tensor, share: Tensor) -> Tensor:
    """Return one-hot classes of logits (..., B, 2), of which the first has a share (..., 1)."""
    import torch

    margins = logits[..., 1] - logits[..., 0]
    first = (share * margins.shape[-1]).round().long()
    if logits.device.type == "cpu":  # numpy takes a fifth of the time of torch
        ascending = torch.from_numpy(np.sort(margins.numpy()))
    else:
        ascending = margins.sort().values
    # Between the last margin of the first class and the next one; either class may have no row.
    limits = torch.nn.functional.pad(ascending, (1, 1), value=math.inf)
    limits[..., 0] = -math.inf
    threshold = (limits.gather(-1, first) + limits.gather(-1, first + 1)) / 2
    second = (margins > threshold).to(logits.dtype)
    return torch.stack([1 - second, second], -2).mT


def _shifted(xp: Any, ascending: Callable[[Any], Any], scores: Any, wanted: Any) -> Any:
    """Add to scores (..., C, B) offsets by which so many rows (..., C, 1) are of each class."""
    n_rows = scores.shape[-1]
    # The last row that the class may have, and the next one; it may have no row, or all of them.
    starts = xp.cumsum(xp.ones_like(wanted).reshape(-1), 0).reshape(wanted.shape) * n_rows - 1
    last, next_one = starts - (wanted - 1).clip(0), starts - wanted.clip(0, n_rows - 1)
    offsets = 0 * scores[..., :1]  # of the same precision
    beyond = (offsets + 2) * (wanted == 0) - (offsets + 2) * (wanted == n_rows)
    for _ in range(ROUNDS):
        shifted = scores + offsets
        best = xp.amax(shifted, -2, keepdims=True)
        is_best = shifted == best
        second = xp.amax(xp.where(is_best, -math.inf, shifted), -2, keepdims=True)
        margins = ascending(scores - xp.where(is_best, second, best)).reshape(-1)
        offsets = offsets - STRIDE * ((margins[last] + margins[next_one] + beyond) / 2 + offsets)
    return scores + offsets


def over_teachers(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a loss of targets (..., M, C): its mean over the teachers that do not abstain."""

    def mean(logits: Tensor, target: Tensor, *arguments: Any) -> Tensor:
        each = loss(logits.unsqueeze(-2), target, *arguments)  # (..., M)
        votes = (target.amax(-1) != target.amin(-1)).to(each.dtype)
        # Rows on which nobody votes are not trained on; they must only stay finite.
        return (each * votes).sum(-1) / votes.sum(-1).clamp(min=1)

    return mean


def ramp(step: int, n_steps: int, largest: float, share: float) -> float:
    """Return a weight that rises linearly from 0 at the first step to `largest`, then stays.

    The rise takes a `share` of the `n_steps`, in [0, 1]; 0 starts at `largest`.

    >>> [ramp(step, n_steps=100, largest=0.5, share=0.2) for step in (0, 10, 20, 99)]
    [0.0, 0.25, 0.5, 0.5]
    """
    rise = share * n_steps
    return largest if step >= rise else largest * step / rise


def confident_target(logits: Tensor, target: Tensor, own: float) -> Tensor:
    """Return the target of `Confidence`; `own` is the student's weight a, in [0, 1]."""
    return (1 - own) * target + own * harden(logits)


def evenly_confident_target(logits: Tensor, target: Tensor, own: float) -> Tensor:
    """Return the target of `Confidence` with the student's classes as frequent as `target` says."""
    return (1 - own) * target + own * harden_evenly(logits, target.mean(-2))


def adaptive_target(logits: Tensor, target: Tensor) -> Tensor:
    """Return the target of `VSup`, whose weight a of the student's label differs between rows.

    The weight is close to a half where student and teacher agree, and smaller the further apart
    they are.
    """
    hardened = harden(logits)
    # The ratio of exponentials as a sigmoid, which cannot overflow.
    own = (cross_entropy(logits, hardened) - cross_entropy(logits, target)).sigmoid().unsqueeze(-1)
    return (1 - own) * target + own * hardened


def confidence_loss(logits: Tensor, target: Tensor, own: float) -> Tensor:
    """Return the cross-entropy with `confident_target`, through which no gradient flows."""
    return cross_entropy(logits, confident_target(logits.detach(), target, own))


def even_confidence_loss(logits: Tensor, target: Tensor, own: float) -> Tensor:
    """Return the cross-entropy with `evenly_confident_target`, through which no gradient flows."""
    return cross_entropy(logits, evenly_confident_target(logits.detach(), target, own))


def adaptive_confidence_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy with `adaptive_target`, through which no gradient flows."""
    return cross_entropy(logits, adaptive_target(logits.detach(), target))


def evidence(logits: Tensor) -> Tensor:
    """Return the Dirichlet parameters, 1 + ReLU(logits)."""
    return logits.relu() + 1


def evidential_loss(logits: Tensor, target: Tensor, divergence: float) -> Tensor:
    """Return the loss of `Bayes`: the expected cross-entropy under a Dirichlet, and a penalty.

    The penalty, of weight `divergence`, is the divergence of the evidence against the target from
    the flat Dirichlet. Sensoy, Kaplan, Kandemir, *Evidential Deep Learning*, 2018, equations 4, 5.
    """
    alpha = evidence(logits)
    expected = (target * (alpha.sum(-1, keepdim=True).digamma() - alpha.digamma())).sum(-1)
    return expected + divergence * flat_divergence(target + (1 - target) * alpha)


def flat_divergence(alpha: Tensor) -> Tensor:
    """Return KL(Dir(alpha) || Dir(1, ..., 1)) >= 0, in nats."""
    total = alpha.sum(-1, keepdim=True)
    from_volume = total[..., 0].lgamma() - alpha.lgamma().sum(-1) - math.lgamma(alpha.shape[-1])
    return from_volume + ((alpha - 1) * (alpha.digamma() - total.digamma())).sum(-1)


def _fixed_target(logits: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001
    return target


# Losses that are the cross-entropy with a target through which no gradient flows.
_TARGETS: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    cross_entropy: _fixed_target,
    signed_cross_entropy: _fixed_target,
    confidence_loss: confident_target,
    even_confidence_loss: evenly_confident_target,
    adaptive_confidence_loss: adaptive_target,
}


def with_slopes(
    loss: Callable[..., Tensor], logits: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor]:
    r"""Return losses (..., B) of logits (..., B, C), and their derivatives by the logits.

    That of a cross-entropy is :math:`p_c \sum_k y_k - y_c`; others are differentiated by torch.
    """
    import torch

    if loss not in _TARGETS:
        leaf = logits.detach().requires_grad_()
        losses = loss(leaf, *arguments)
        (slopes,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), slopes
    # Classes before rows: sums over a few classes are then over long vectors.
    labels, *others = arguments
    target = _TARGETS[loss](logits, labels.mT.contiguous().mT, *others).mT
    logs = logits.mT.log_softmax(-2)
    slopes = logs.exp().mul_(target.sum(-2, keepdim=True)).sub_(target)
    return -(target * logs).sum(-2), slopes.mT
