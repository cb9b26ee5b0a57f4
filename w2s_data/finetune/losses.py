r"""Losses of students, one value per row.

Logits and targets have shape (..., C); targets are distributions over the C classes, soft or
one-hot. Each is a plain function of tensors, so that a test can compare it with its closed form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    r"""Return the cross-entropy, :math:`-\sum_c y_c \log p_c` with p the softmax of the logits.

    Examples
    --------
    >>> import torch
    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor([0.6931])
    """
    return -(target * logits.log_softmax(-1)).sum(-1)


def generalized_cross_entropy(logits: Tensor, target: Tensor, q: float) -> Tensor:
    r"""Return the generalised cross-entropy, :math:`\sum_c y_c (1 - p_c^q) / q`.

    Cross-entropy as q -> 0; 1 - p_y, half the mean absolute error of a one-hot target, at q = 1.
    Labels that the student finds improbable weigh less, the more so the larger q: the gradient is
    that of the cross-entropy times p_y^q.

    References
    ----------
    Zhang, Sabuncu, *Generalized Cross Entropy Loss*, NeurIPS 2018, equation 6.

    Examples
    --------
    >>> import torch
    >>> generalized_cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), q=1.0)
    tensor([0.5000])
    """
    if q == 0:
        return cross_entropy(logits, target)
    # expm1 of q log p: at small q the difference 1 - p^q would lose all digits.
    return -(target * (q * logits.log_softmax(-1)).expm1()).sum(-1) / q


def harden(proba: Tensor) -> Tensor:
    """Return the one-hot vector of the most probable class; the first of equals.

    Examples
    --------
    >>> import torch
    >>> harden(torch.tensor([[0.2, 0.5, 0.3]]))
    tensor([[0., 1., 0.]])
    """
    from torch.nn.functional import one_hot

    return one_hot(proba.argmax(-1), proba.shape[-1]).to(proba.dtype)


def ramp(step: int, n_steps: int, largest: float, share: float) -> float:
    """Return a weight that rises linearly from 0 at the first step to `largest`, then stays.

    The rise takes a `share` of the `n_steps`, in [0, 1]; 0 starts at `largest`.

    Examples
    --------
    >>> [ramp(step, n_steps=100, largest=0.5, share=0.2) for step in (0, 10, 20, 99)]
    [0.0, 0.25, 0.5, 0.5]
    """
    rise = share * n_steps
    return largest if step >= rise else largest * step / rise


def confidence_loss(logits: Tensor, target: Tensor, own: float) -> Tensor:
    r"""Return the cross-entropy to :math:`(1 - a) y + a \hat y`.

    Here y-hat is the student's hardened prediction, through which no gradient flows.

    The weight a of the student's own label, `own`, is in [0, 1].

    References
    ----------
    Burns et al., *Weak-to-Strong Generalization*, 2023, section 4.3.2.
    """
    return cross_entropy(logits, (1 - own) * target + own * harden(logits.detach()))


def adaptive_confidence_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""Return the confidence loss with a weight for each row.

    .. math:: a = \frac{e^{\mathrm{CE}(p, \hat y)}}{e^{\mathrm{CE}(p, \hat y)} +
              e^{\mathrm{CE}(p, y)}}

    Close to a half where student and teacher agree, and smaller the further apart they are: a
    confident student hardly needs its own label. No gradient flows through a.

    References
    ----------
    Guo et al., *Vision Superalignment*, 2024, equation 4.
    """
    to_own = cross_entropy(logits, harden(logits.detach()))
    to_teacher = cross_entropy(logits, target)
    # The ratio of exponentials as a sigmoid, which cannot overflow.
    own = (to_own - to_teacher).sigmoid().detach()
    return (1 - own) * to_teacher + own * to_own


def evidence(logits: Tensor) -> Tensor:
    """Return the Dirichlet parameters, 1 + ReLU(logits)."""
    return logits.relu() + 1


def evidential_loss(logits: Tensor, target: Tensor, divergence: float) -> Tensor:
    r"""Return the expected cross-entropy under a Dirichlet of evidence ReLU(logits), and a penalty.

    .. math:: \mathbb E_{p \sim \mathrm{Dir}(\alpha)}[-\sum_c y_c \log p_c]
              = \sum_c y_c (\psi(\textstyle\sum_k \alpha_k) - \psi(\alpha_c)),
              \qquad \alpha = 1 + \mathrm{ReLU}(z)

    The penalty is the divergence of the evidence against the target from the flat Dirichlet,
    :math:`\mathrm{KL}(\mathrm{Dir}(y + (1 - y) \alpha) \,\|\, \mathrm{Dir}(1))`.

    `divergence` is the weight of the penalty, >= 0.

    References
    ----------
    Sensoy, Kaplan, Kandemir, *Evidential Deep Learning*, NeurIPS 2018, equations 4 and 5.

    Examples
    --------
    >>> import torch  # two classes without evidence: a flat distribution of p, E[-log p] = 1
    >>> loss = evidential_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), divergence=0.0)
    >>> round(float(loss), 3)
    1.0
    """
    alpha = evidence(logits)
    expected = (target * (alpha.sum(-1, keepdim=True).digamma() - alpha.digamma())).sum(-1)
    return expected + divergence * flat_divergence(target + (1 - target) * alpha)


def flat_divergence(alpha: Tensor) -> Tensor:
    """Return KL(Dir(alpha) || Dir(1, ..., 1)) >= 0, in nats."""
    total = alpha.sum(-1, keepdim=True)
    from_volume = total[..., 0].lgamma() - alpha.lgamma().sum(-1) - math.lgamma(alpha.shape[-1])
    return from_volume + ((alpha - 1) * (alpha.digamma() - total.digamma())).sum(-1)
