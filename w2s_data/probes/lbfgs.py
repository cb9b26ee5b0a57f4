r"""L-BFGS for many problems of one shape at once.

All problems take their steps together, so that the objective is evaluated for all of them by one
product. The two-loop recursion is that of Nocedal and Wright, *Numerical Optimization*, 2006,
algorithm 7.4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import FloatArray, IntArray

# Values (A,) and gradients (A, P) at parameters (A, P) of the problems with these numbers (A,).
Objective = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]
MEMORY = 10  # pairs of steps and changes of the gradient, as scipy keeps
DECREASE = 1e-4  # of what the slope promises, below which a step is halved
ROUNDING = 1e-13  # of a value: near the optimum it no longer shows whether a step was good
SMALLEST_STEP = 1e-12  # below it, rounding is all that is left


@dataclass(frozen=True)
class Minima:
    """Solutions (L, P), their values (L,) and numbers of steps (L,)."""

    parameters: FloatArray
    values: FloatArray
    steps: IntArray


def minimize_together(objective: Objective, start: FloatArray, max_iter: int, tol: float) -> Minima:
    """Minimise L convex objectives from `start` (L, P), until no slope is above `tol`.

    >>> target = np.array([[1.0, 2.0], [3.0, -4.0]])
    >>> def bowl(at, which):
    ...     return ((at - target[which]) ** 2).sum(axis=1) / 2, at - target[which]
    >>> minimize_together(bowl, np.zeros((2, 2)), 10, 1e-9).parameters
    array([[ 1.,  2.],
           [ 3., -4.]])
    """
    found = Minima(start.copy(), np.zeros(len(start)), np.zeros(len(start), dtype=np.int64))
    active, at, length = np.arange(len(start)), start.copy(), np.ones(len(start))
    value, gradient = objective(at, active)
    pairs: deque[tuple[FloatArray, FloatArray]] = deque(maxlen=MEMORY)
    for done in range(max_iter + 1):
        ended = (np.abs(gradient).max(axis=1) <= tol) | (length < SMALLEST_STEP)
        if done == max_iter:
            ended[:] = True
        if ended.any():
            which = active[ended]
            found.parameters[which], found.values[which] = at[ended], value[ended]
            found.steps[which] = done
            stays = ~ended
            if not stays.any():
                break
            active, at, length = active[stays], at[stays], length[stays]
            value, gradient = value[stays], gradient[stays]
            pairs = deque(((s[stays], y[stays]) for s, y in pairs), maxlen=MEMORY)
        direction = _direction(gradient, pairs)
        step = length[:, None] * direction
        new_value, new_gradient = objective(at + step, active)
        promised = DECREASE * _dot(step, gradient)
        good = new_value <= value + promised + ROUNDING * np.abs(value)
        # A step that is refused leaves a pair of zeros, which changes no direction.
        moved = np.where(good[:, None], step, 0.0)
        pairs.append((moved, np.where(good[:, None], new_gradient - gradient, 0.0)))
        at = at + moved
        value, gradient = (
            np.where(good, new_value, value),
            np.where(good[:, None], new_gradient, gradient),
        )
        length = np.where(good, 1.0, length / 2)
    return found


def _direction(gradient: FloatArray, pairs: deque[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Return the quasi-Newton directions (A, P), against the gradient where nothing is known."""
    rest, taken = gradient.copy(), []
    scale = np.ones(len(gradient))
    for step, change in pairs:  # the newest last
        curvature = _dot(step, change)
        usable = curvature > 0
        scale = np.where(usable, curvature / np.where(usable, _dot(change, change), 1.0), scale)
        taken.append(np.where(usable, 1 / np.where(usable, curvature, 1.0), 0.0))
    shares = []
    for (step, change), inverse in zip(reversed(pairs), reversed(taken), strict=True):
        share = inverse * _dot(step, rest)
        rest -= share[:, None] * change
        shares.append(share)
    rest *= scale[:, None]
    for (step, change), inverse, share in zip(pairs, taken, reversed(shares), strict=True):
        rest += (share - inverse * _dot(change, rest))[:, None] * step
    return -rest


def _dot(left: FloatArray, right: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("ap,ap->a", left, right))
