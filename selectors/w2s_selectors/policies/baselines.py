"""Baselines: turns, chance, and the known truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray
from w2s_selectors.policies.base import Policy
from w2s_selectors.policies.state import ArmState


@dataclass(frozen=True)
class RoundRobin(Policy):
    r"""Query active sources in turn, whatever they cost and hold; a baseline.

    The regret is linear, :math:`\bar\Delta T` with the mean gap.

    Examples
    --------
    >>> state, turns = ArmState.start(3, horizon=9), []
    >>> for _ in range(5):
    ...     turns.append(RoundRobin().choose(state, np.random.default_rng(0)))
    ...     state = state.asked(turns[-1], 10)
    >>> turns
    [0, 1, 2, 0, 1]
    """

    name: ClassVar[str] = "round_robin"
    weighs_costs: ClassVar[bool] = False

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Score 1 the source whose turn it is, others 0, (..., K)."""
        # The turn counts active sources only, so that a source that leaves is not waited for.
        place = state.active.cumsum(axis=-1) - 1
        turn = state.round % np.maximum(state.active.sum(axis=-1, keepdims=True), 1)
        return np.where(state.active & (place == turn), 1.0, 0.0)


@dataclass(frozen=True)
class UniformRandom(Policy):
    r"""Query an active source at random, whatever it costs and holds; the baseline.

    The expected regret is linear, :math:`\bar\Delta T` with the mean gap.

    Examples
    --------
    >>> state, rng = ArmState.start(3, horizon=9), np.random.default_rng(0)
    >>> UniformRandom().scores(state, rng).round(2)
    array([0.64, 0.27, 0.04])
    """

    name: ClassVar[str] = "random"
    weighs_costs: ClassVar[bool] = False

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        """Draw uniform scores in [0, 1), (..., K)."""
        return rng.random(state.trials.shape)


@dataclass(frozen=True)
class Oracle(Policy):
    r"""Query the source with the highest true density per unit of cost; for tests and reports.

    Constraint: the densities of all sources are known. Apart from one query of every source, which
    all policies make, its regret is 0.

    Parameters
    ----------
    densities : sequence of float
        True overlap densities, one per source, in [0, 1].

    Examples
    --------
    >>> state = ArmState.start(2, horizon=9)
    >>> for arm in range(2):
    ...     state = state.asked(arm, 10).answered(arm, 5, 10)
    >>> Oracle((0.4, 0.6)).choose(state, np.random.default_rng(0))
    1
    """

    name: ClassVar[str] = "oracle"
    densities: tuple[float, ...]

    def __post_init__(self) -> None:
        densities = tuple(float(density) for density in self.densities)
        if not densities or not all(0 <= density <= 1 for density in densities):
            raise InputError(f"densities must lie in [0, 1]; got {self.densities!r}")
        object.__setattr__(self, "densities", densities)  # a tuple: hashable, and cannot change

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:  # noqa: ARG002
        """Score each source by its true density, (..., K)."""
        if len(self.densities) != state.n_arms:
            raise InputError(
                f"there are {state.n_arms} sources; the oracle knows {len(self.densities)}"
            )
        return np.broadcast_to(np.array(self.densities), state.trials.shape)
