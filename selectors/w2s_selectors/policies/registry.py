"""Policies by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from w2s_data.errors import InputError, unknown
from w2s_selectors.policies.policy import (
    KLUCB,
    UCB1,
    EpsilonGreedy,
    Oracle,
    OverlapUCB,
    Policy,
    RoundRobin,
    ThompsonSampling,
    UniformRandom,
)

# An explicit table, not decorators: a name is known without its module being imported first.
_LEARNING = (OverlapUCB, UCB1, KLUCB, ThompsonSampling, EpsilonGreedy)
_BASELINES = (RoundRobin, UniformRandom, Oracle)
_POLICIES: dict[str, type[Any]] = {policy.name: policy for policy in (*_LEARNING, *_BASELINES)}
P = TypeVar("P", bound=type[Any])


def register_policy(policy: P) -> P:
    """Register a policy class under its `name`, if that is free; usable as a class decorator.

    Examples
    --------
    >>> register_policy(UCB1)
    Traceback (most recent call last):
        ...
    w2s_data.errors.InputError: there is a policy 'ucb1' already: UCB1
    """
    name = getattr(policy, "name", None)
    if not isinstance(name, str) or not issubclass(policy, Policy):
        raise InputError(f"{policy.__name__} must be a subclass of Policy with a name")
    if name in _POLICIES:
        raise InputError(f"there is a policy {name!r} already: {_POLICIES[name].__name__}")
    _POLICIES[name] = policy
    return policy


def available_policies() -> list[str]:
    """List the names of all registered policies.

    Examples
    --------
    >>> available_policies()[:4]
    ['epsilon_greedy', 'kl_ucb', 'oracle', 'overlap_ucb']
    """
    return sorted(_POLICIES)


def make_policy(policy: str | Policy, **parameters: Any) -> Policy:
    """Create the policy of this name with these parameters; an instance is returned unchanged.

    Examples
    --------
    >>> make_policy("epsilon_greedy", epsilon=0.2)
    EpsilonGreedy(epsilon=0.2)
    """
    if not isinstance(policy, str):
        if not isinstance(policy, Policy):
            raise InputError(f"policy must be a name or a Policy; got {policy!r}")
        if parameters:
            raise InputError(f"{policy!r} has its parameters; got {sorted(parameters)} as well")
        return policy
    if policy not in _POLICIES:
        raise InputError(unknown("policy", policy, available_policies()))
    build: Callable[..., Policy] = _POLICIES[policy]
    try:
        return build(**parameters)
    except TypeError as error:
        refused = f"cannot take {parameters}" if parameters else "needs parameters"
        # The message of a constructor starts with its own name, "Oracle.__init__() ".
        reason = str(error).rpartition("() ")[2]
        raise InputError(f"policy {policy!r} {refused}: {reason}") from error
