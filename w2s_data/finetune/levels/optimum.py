"""The optimum of many penalised heads on the same rows: L-BFGS, all of them in one product."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from w2s_data.probes.solvers import MAX_PRECONDITIONED

if TYPE_CHECKING:
    from torch import Tensor

# Applies to the gradient where every curvature is at most 1: ten times less moves no probability
# by a thousandth. Under a weak penalty float32 may not reach it.
TOLERANCE = 2e-5
MOST_ITERATIONS, MOST_IDLE = 200, 15  # in all, and without a smaller gradient
REMEMBERED = 10  # steps from which the curvature is estimated
OVERSHOT = 0.9  # of the slope at the start, by which it may rise again at the end of a step
SHORTEST, LONGEST = 0.1, 0.7  # of a step that overshot, when it is tried again
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
    n_heads, n_classes = len(weights), labels.shape[1]
    if n_classes == 2:  # one vector in `LinearProbe`, whose square is twice that of the two here
        l2 *= 2
    root = inverse_root(blocks, weights, l2)
    heads = _Heads(blocks, labels, weights, l2, root, fit_intercept)
    start = weights.new_zeros(n_heads, n_classes, len(root) + 1)
    found = minimize(heads.gradient, start)
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

    def gradient(self, at: Tensor) -> Tensor:
        """Return the gradient (K, C, D + 1), weights first, in the coordinates of the solution."""
        import torch

        shape = at.shape
        coef = (at[..., :-1] @ self.root).view(-1, shape[2] - 1)  # (K C, D)
        intercept = at[..., -1].reshape(-1, 1)
        slopes, sums = torch.zeros_like(coef), torch.zeros_like(intercept)
        for part, rows in self.blocks():
            logits = torch.addmm(intercept, coef, rows.T).view(*shape[:2], -1)
            labels = self.labels[..., part]
            residual = logits.softmax(1).mul_(labels.sum(1, keepdim=True)).sub_(labels)
            residual = residual.mul_(self.weights[:, None, part]).view(len(coef), -1)
            slopes.addmm_(residual, rows)
            sums += residual.sum(1, keepdim=True)
        slopes += self.l2 * coef
        if not self.fit_intercept:
            sums.zero_()
        return torch.cat([(slopes @ self.root.T).view(*shape[:2], -1), sums.view(*shape[:2], 1)], 2)


def minimize(gradient: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Minimise K convex functions (K, ...) at once by L-BFGS, until all gradients are small.

    Only gradients decide: in float32 a loss near its minimum has no digits left.
    """
    import torch

    at, slope = start, gradient(start)
    memory = _Memory()
    least, idle = float("inf"), 0
    for _ in range(MOST_ITERATIONS):
        largest = float(slope.abs().max())
        idle = 0 if largest < least else idle + 1
        least = min(least, largest)
        if largest <= TOLERANCE or idle == MOST_IDLE:
            break
        direction = memory.direction(slope)
        falls = _inner(slope, direction)
        length = torch.ones_like(falls)
        while True:
            there = gradient(at + length * direction)
            rises = _inner(there, direction)
            # The slope of a convex function only rises along a line, so it shows where to stop.
            beyond = rises > -OVERSHOT * falls
            if not bool(beyond.any()):
                break
            shorter = (falls / (falls - rises)).clamp(SHORTEST, LONGEST)
            length = torch.where(beyond, length * shorter, length)
        memory.add(length * direction, there - slope)
        at, slope = at + length * direction, there
    return at


@dataclass(eq=False)
class _Memory:
    """The last steps and the changes of the gradient over them."""

    pairs: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)
    scale: Tensor | float = 1.0

    def add(self, step: Tensor, change: Tensor) -> None:
        product = _inner(step, change)
        # A head that has converged no longer moves: its pair says nothing.
        useful = product > 1e-12
        inverse = (1 / product).where(useful, 0)
        self.scale = (product / _inner(change, change)).where(useful, self.scale)
        self.pairs = [*self.pairs[1 - REMEMBERED :], (step, change, inverse)]

    def direction(self, slope: Tensor) -> Tensor:
        """Return minus the gradient times the estimate of the inverse Hessian."""
        # Nocedal, Wright, *Numerical Optimization*, 2006, algorithm 7.4.
        found, factors = -slope, []
        for step, change, inverse in reversed(self.pairs):
            factors.append(inverse * _inner(step, found))
            found = found - factors[-1] * change
        found = self.scale * found
        for (step, change, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            found = found + (factor - inverse * _inner(change, found)) * step
        return found


def _inner(one: Tensor, other: Tensor) -> Tensor:
    """Return inner products (K, 1, 1)."""
    return (one * other).sum((1, 2), keepdim=True)


def inverse_root(blocks: Blocks, weights: Tensor, l2: float) -> Tensor:
    """Return the inverse root (D, D) of a bound on the Hessian of heads with weights (K, n).

    The Hessian of the cross-entropy is at most half of X^T V X (Böhning 1992).
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
    bound = 0.5 * gram.to(torch.float64)
    floor = max(l2, LEAST_CURVATURE * float(bound.diagonal().max()))
    root = torch.linalg.cholesky(bound + floor * identity)
    inverse: Tensor = torch.linalg.solve_triangular(root, identity, upper=False)
    return inverse.to(weights.dtype)
