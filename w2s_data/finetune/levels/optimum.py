"""The optimum of many penalised heads on the same rows: L-BFGS, all of them in one product."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from w2s_data.probes.lbfgs import ROUNDING_32, minimize_together
from w2s_data.probes.solvers import MAX_PRECONDITIONED
from w2s_data.utils.typing import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

# Applies to the gradient where every curvature is at most 1: ten times less moves no probability
# by a thousandth. Under a weak penalty float32 may not reach it.
TOLERANCE = 2e-5
MOST_ITERATIONS = 200
SAMPLED = 8  # rows per feature from which the curvature of the features is known well enough
LEAST_CURVATURE = 1e-6  # of the largest: float32 cannot tell less from none

# Yields rows (b, D) of the features, and where they are among the n.
Blocks = Callable[[], Iterable[tuple[slice, "Tensor"]]]


def solve_heads(
    blocks: Blocks, labels: Tensor, weights: Tensor, l2: float, fit_intercept: bool = True
) -> tuple[Tensor, Tensor]:
    r"""Return weights (K, C, D) and intercepts (K, C) of K heads, each with weights of its own.

    Head k minimises, with labels (K or 1, C, n) and weights v (K, n) that sum to 1,

    .. math:: \sum_i v_i \mathrm{CE}(y_i, \mathrm{softmax}(W x_i + b)) + \tfrac{l_2}{2} \|W\|^2
    """
    import torch

    n_heads, n_classes = len(weights), labels.shape[1]
    root = inverse_root(blocks, weights, l2, 0.25 if n_classes == 2 else 0.5)
    heads = _Heads(blocks, labels, weights, l2, root, fit_intercept)
    # One vector tells two classes apart, with the penalty that it has in `LinearProbe`.
    shape = n_heads, 1 if n_classes == 2 else n_classes, len(root) + 1
    start = np.zeros((n_heads, shape[1] * shape[2]))
    solved = minimize_together(heads.objective, start, MOST_ITERATIONS, TOLERANCE, ROUNDING_32)
    found = weights.new_tensor(solved.parameters).view(shape)
    if n_classes == 2:
        found = torch.cat([-found / 2, found / 2], 1)
    return found[..., :-1] @ root, found[..., -1]


@dataclass(frozen=True, eq=False)
class _Heads:
    """The objective of `solve_heads`, in coordinates in which no curvature is above 1."""

    blocks: Blocks
    labels: Tensor
    weights: Tensor
    l2: float
    root: Tensor
    fit_intercept: bool

    def objective(self, flat: FloatArray, heads: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return values (A,) and gradients (A, C (D + 1)) of some heads (A,).

        A head's parameters are C times weights and then intercept, in the coordinates of the
        solution; with C = 1 those that tell the second of two classes from the first.
        """
        import torch

        own = torch.from_numpy(heads).to(self.weights.device)
        weights = self.weights[own, None]
        labels = self.labels if len(self.labels) == 1 else self.labels[own]
        at = weights.new_tensor(flat).view(len(own), -1, len(self.root) + 1)
        coef = (at[..., :-1] @ self.root).view(-1, len(self.root))  # (A C, D)
        intercept = at[..., -1].reshape(-1, 1)
        values = 0.5 * self.l2 * coef.square().view(len(own), -1).sum(1)
        gradient, slopes = torch.zeros_like(at), self.l2 * coef
        for part, rows in self.blocks():
            logits = torch.addmm(intercept, coef, rows.T).view(*at.shape[:2], -1)
            losses, residual = _cross_entropy(logits, labels[..., part])
            values += (losses * weights[..., part]).sum((1, 2))
            residual *= weights[..., part]
            slopes.addmm_(residual.view(len(coef), -1), rows)
            if self.fit_intercept:
                gradient[..., -1] += residual.sum(2)
        gradient[..., :-1] = (slopes @ self.root.T).view(*at.shape[:2], -1)
        return _on_host(values), _on_host(gradient.view(len(own), -1))


def _cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return losses (K, 1, n) of logits (K, C, n) with labels, and their slopes by the logits.

    With C = 1 the logits are of the second of two classes.
    """
    import torch

    mass = labels.sum(1, keepdim=True)
    if logits.shape[1] == 1:
        second = labels[:, 1:]
        losses = mass * torch.nn.functional.softplus(logits) - second * logits
        return losses, logits.sigmoid().mul_(mass).sub_(second)
    logs = logits.log_softmax(1)
    return -(labels * logs).sum(1, keepdim=True), logs.exp().mul_(mass).sub_(labels)


def _on_host(values: Tensor) -> FloatArray:
    return values.cpu().numpy().astype(np.float64)


def inverse_root(blocks: Blocks, weights: Tensor, l2: float, share: float) -> Tensor:
    """Return the inverse root (D, D) of a bound on the Hessian of heads with weights (K, n).

    The Hessian of the cross-entropy is at most a share of X^T V X: half, and a quarter where one
    vector tells two classes apart (Böhning 1992).
    """
    import torch

    n, mass = weights.shape[1], weights.mean(0)
    gram: Tensor | float = 0.0
    for part, rows in blocks():
        d = rows.shape[1]
        # A sample tells enough, since the bound is far from the curvature itself anyway.
        every = max(1, n // (SAMPLED * d))
        some, own = rows[::every], mass[part][::every, None]
        gram = gram + every * (some.T @ (some * own))
    assert not isinstance(gram, float)
    identity = torch.eye(len(gram), dtype=torch.float64, device=weights.device)
    if len(gram) > min(MAX_PRECONDITIONED, 2 * n):
        return identity.to(weights.dtype)
    bound = share * gram.to(torch.float64)
    floor = max(l2, LEAST_CURVATURE * float(bound.diagonal().max()))
    root = torch.linalg.cholesky(bound + floor * identity)
    inverse: Tensor = torch.linalg.solve_triangular(root, identity, upper=False)
    return inverse.to(weights.dtype)
