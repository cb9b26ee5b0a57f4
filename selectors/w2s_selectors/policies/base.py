"""What a policy is, and the table of policies by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np

from w2s_data.errors import InputError, listing, unknown
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_selectors.policies.state import ArmState

UNKNOWN_MEAN = 0.5  # of a source without a judged point


@runtime_checkable
class Policy(Protocol):
    """Chooses a source; subclass `ScorePolicy` to write one.

    Examples
    --------
    >>> from w2s_selectors.policies import UCB1
    >>> isinstance(UCB1(), Policy)
    True
    """

    name: ClassVar[str]

    def scores(self, state: ArmState, rng: np.random.Generator) -> FloatArray:
        """Score of each source, (K,), before costs; larger is chosen."""
        ...

    def choose(self, state: ArmState, rng: np.random.Generator) -> int:
        """Number of the source to ask next."""
        ...


class ScorePolicy(ABC):
    """Asks the source with the highest score per unit of cost.

    A subclass defines `name` and `scores`, as a frozen dataclass of its parameters. Scores are at
    least 0, and computed along the last axis, so that one call can score many runs.

    Examples
    --------
    >>> class Cheapest(ScorePolicy):
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
        """Score of each source, (..., K), before costs; larger is chosen."""

    def choose(self, state: ArmState, rng: np.random.Generator) -> int:
        """Number of the source to ask next.

        Untried sources come first, in their order; then the highest score per unit of cost, ties
        by the generator.

        Raises
        ------
        InputError
            If no source is active.
        """
        return int(self.choose_many(state, rng))

    def choose_many(self, state: ArmState, rng: np.random.Generator) -> IntArray:
        """`choose` for every run of a state whose arrays are (..., K)."""
        if not state.active.any(axis=-1).all():
            raise InputError("no source is active: all ran dry or were stopped")
        scores = self.scores(state, rng)
        if np.isnan(scores).any():
            undefined = np.unique(np.nonzero(np.isnan(scores))[-1]).tolist()
            raise InputError(f"policy {self.name!r} scored NaN for source {listing(undefined)}")
        value = scores / state.costs if self.weighs_costs else scores
        value = np.where(state.active, value, -np.inf)
        best = value == value.max(axis=-1, keepdims=True)
        drawn = np.where(best, rng.random(best.shape), -1.0).argmax(axis=-1)
        untried = state.untried
        return np.asarray(np.where(untried.any(axis=-1), untried.argmax(axis=-1), drawn))


_POLICIES: dict[str, type[Any]] = {}
P = TypeVar("P", bound=type[Any])


def register_policy(policy: P) -> P:
    """Make a policy class known by its `name`; a class decorator.

    Raises
    ------
    InputError
        If the class lacks a name or a method, or the name is taken.

    Examples
    --------
    >>> from w2s_selectors.policies import UCB1
    >>> register_policy(UCB1)
    Traceback (most recent call last):
        ...
    w2s_data.errors.InputError: there is a policy 'ucb1' already: UCB1
    """
    name = getattr(policy, "name", None)
    if not isinstance(name, str) or not all(hasattr(policy, m) for m in ("scores", "choose")):
        raise InputError(f"{policy.__name__} is no policy: it needs a name, scores and choose")
    if name in _POLICIES:
        raise InputError(f"there is a policy {name!r} already: {_POLICIES[name].__name__}")
    _POLICIES[name] = policy
    return policy


def available_policies() -> list[str]:
    """Names of all registered policies.

    Examples
    --------
    >>> available_policies()[:4]
    ['epsilon_greedy', 'kl_ucb', 'oracle', 'overlap_ucb']
    """
    return sorted(_POLICIES)


def policy_from_name(policy: str | Policy, **parameters: Any) -> Policy:
    """The policy of this name with these parameters; an instance is returned as it is.

    Raises
    ------
    InputError
        If there is no such policy (with the nearest name), or it does not take the parameters.

    Examples
    --------
    >>> policy_from_name("epsilon_greedy", epsilon=0.2)
    EpsilonGreedy(epsilon=0.2)
    """
    if not isinstance(policy, str):
        if not isinstance(policy, Policy):
            raise InputError(f"policy must be a name or a Policy; got {policy!r}")
        if parameters:
            raise InputError(f"{policy!r} has its parameters; got {sorted(parameters)} besides")
        return policy
    if policy not in _POLICIES:
        raise InputError(unknown("policy", policy, available_policies()))
    build: Callable[..., Policy] = _POLICIES[policy]
    try:
        return build(**parameters)
    except TypeError as error:
        refused = f"cannot take {parameters}" if parameters else "needs parameters"
        reason = str(error).rpartition("() ")[2]
        raise InputError(f"policy {policy!r} {refused}: {reason}") from error


def estimates(state: ArmState) -> FloatArray:
    """Means, and 1/2 where nothing is judged yet."""
    return np.where(state.trials > 0, state.means, UNKNOWN_MEAN)
