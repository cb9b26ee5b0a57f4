r"""L-BFGS for many problems of one shape at once.

All problems take their steps together, so that the objective is evaluated for all of them by one
product. The inverse Hessian has the compact form of Byrd, Nocedal, Schnabel, *Representations of
quasi-Newton matrices*, 1994, equation 3.1, which takes few calls of numpy for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from w2s_data.utils.typing import BoolArray, FloatArray, IntArray

# Values (A,) and gradients (A, P) at parameters (A, P) of the problems with these numbers (A,).
Objective = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]
MEMORY = 10  # pairs of steps and changes of the gradient, as scipy keeps
DECREASE = 1e-4  # of what the slope promises, below which a step is halved
# Share of a value, in float64 and float32, below which it no longer shows whether a step was good.
ROUNDING, ROUNDING_32 = 1e-13, 1e-6
SMALLEST_STEP = 1e-12  # below it, rounding is all that is left


@dataclass(frozen=True)
class Minima:
    """Solutions (L, P), their values (L,) and numbers of steps (L,)."""

    parameters: FloatArray
    values: FloatArray
    steps: IntArray


def minimize_together(
    objective: Objective,
    start: FloatArray,
    max_iter: int,
    tol: float,
    rounding: float = ROUNDING,
) -> Minima:
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
    pairs = _Pairs.none(*start.shape)
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
            value, gradient, pairs = value[stays], gradient[stays], pairs.take(stays)
        step = -length[:, None] * pairs.times(gradient)
        new_value, new_gradient = objective(at + step, active)
        promised = DECREASE * np.einsum("ap,ap->a", step, gradient)
        good = new_value <= value + promised + rounding * np.abs(value)
        moved = np.where(good[:, None], step, 0.0)
        pairs.add(done, moved, np.where(good[:, None], new_gradient - gradient, 0.0))
        at = at + moved
        value = np.where(good, new_value, value)
        gradient = np.where(good[:, None], new_gradient, gradient)
        length = np.where(good, 1.0, length / 2)
    return found


@dataclass
class _Pairs:
    """The last steps and changes of the gradient (A, M, P) of A problems, and their products.

    A step that was refused leaves a pair of zeros, which changes no direction.
    """

    steps: FloatArray
    changes: FloatArray
    between: FloatArray  # (A, M, M), step i times change j, where i is not newer than j
    among: FloatArray  # (A, M, M), of changes
    scale: FloatArray  # (A,), of the inverse Hessian before any pair

    @classmethod
    def none(cls, n: int, n_parameters: int) -> _Pairs:
        """Know nothing yet."""
        steps, changes = np.zeros((2, n, MEMORY, n_parameters))
        between, among = np.zeros((2, n, MEMORY, MEMORY))
        return cls(steps, changes, between + np.eye(MEMORY), among, np.ones(n))

    def take(self, problems: BoolArray) -> _Pairs:
        """Return the pairs of some problems."""
        return _Pairs(**{name: array[problems] for name, array in vars(self).items()})

    def add(self, number: int, step: FloatArray, change: FloatArray) -> None:
        """Put a pair in the place of the oldest."""
        k = number % MEMORY
        curvature = np.einsum("ap,ap->a", step, change)
        usable = curvature > 0
        self.steps[:, k] = np.where(usable[:, None], step, 0.0)
        self.changes[:, k] = change = np.where(usable[:, None], change, 0.0)
        self.between[:, k] = 0.0  # this step is newer than all changes but its own
        self.between[:, :, k] = (self.steps @ change[:, :, None])[:, :, 0]
        self.between[:, k, k] = np.where(usable, curvature, 1.0)
        squares = (self.changes @ change[:, :, None])[:, :, 0]
        self.among[:, k], self.among[:, :, k] = squares, squares
        length = np.where(usable, squares[:, k], 1.0)
        self.scale = np.where(usable, curvature / length, self.scale)

    def times(self, gradient: FloatArray) -> FloatArray:
        r"""Return the inverse Hessian times gradients (A, P).

        .. math:: H g = \gamma g + S^\top R^{-\top} ((D + \gamma Y Y^\top) u - \gamma Y g)
                  - \gamma Y^\top u, \qquad u = R^{-1} S g
        """
        column, scale = gradient[:, :, None], self.scale[:, None, None]
        u = np.linalg.solve(self.between, self.steps @ column)
        curvatures = np.einsum("amm->am", self.between)[:, :, None]
        inner = curvatures * u + scale * (self.among @ u - self.changes @ column)
        v = np.linalg.solve(self.between.transpose(0, 2, 1), inner)
        both = v.transpose(0, 2, 1) @ self.steps - scale * (u.transpose(0, 2, 1) @ self.changes)
        return np.asarray(self.scale[:, None] * gradient + both[:, 0])
