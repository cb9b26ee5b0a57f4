"""Base class of policies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from w2s_data.errors import InputError, listing
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_selectors.policies.state import ArmState

UNKNOWN_MEAN = 0.5  # of a source without a judged point: the mean of the uniform prior


class Policy(ABC):
    """Base class: query the source with the highest score per unit of cost.

    A subclass defines `name` and `scores`, as a frozen dataclass of its parameters. Scores are at
    least 0, and computed along the last axis, so that one call can score many runs.

    Examples
    --------
    >>> class Cheapest(Policy):
    ...     name = "cheapest"
    ...
    ...     def scores(self, state, rng):
    ...         return np.ones(state.trials.shape)
    >>> state = ArmState.start(3, costs=[3, 1, 2], horizon=9)
    >>> for arm in range(3):
    ...     state = state.asked(arm, 5)
    >>> Cheapest().choose(state, np.random.default_rng(0))
    1
    """

    name: ClassVar[str]
    weighs_costs: ClassVar[bool] = True

    @abstractmethod
    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        """Score the sources, (..., K), before costs; the highest is chosen."""

    def choose(self, state: ArmState, rng: np.random.Generator) -> int:
        """Return the number of the source to query next.

        Untried sources come first, in their order; then the highest score per unit of cost, ties
        by the generator.

        Raises
        ------
        InputError
            If no source is active.
        """
        return int(self.choose_many(state, rng))

    def choose_many(self, state: ArmState, rng: np.random.Generator) -> IntArray:
        """Choose for every run of a state whose arrays are (..., K)."""
        if not state.active.any(axis=-1).all():
            raise InputError("no source is active: all ran dry or were stopped")
        scores = self.scores(state, rng)
        if np.isnan(scores).any():
            undefined = np.unique(np.nonzero(np.isnan(scores))[-1]).tolist()
            raise InputError(f"policy {self.name!r} scored NaN for source {listing(undefined)}")
        value = scores / state.costs if self.weighs_costs else scores
        value = np.where(state.active, value, -np.inf)
        best = value == value.max(axis=-1, keepdims=True)
        # One draw per source, tied or not, so that all runs use up the generator alike.
        drawn = np.where(best, rng.random(best.shape), -1.0).argmax(axis=-1)
        # An index is undefined or infinite before the first answer: untried sources go first.
        untried = state.untried
        return np.asarray(np.where(untried.any(axis=-1), untried.argmax(axis=-1), drawn))


def estimates(state: ArmState) -> FloatArray:
    """Return the means, and 1/2 where nothing is judged yet."""
    return np.where(state.trials > 0, state.means, UNKNOWN_MEAN)
