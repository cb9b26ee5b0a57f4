"""w2s-selectors: which data source to query next, within a budget.

Public names are loaded on first use, so that `import w2s_selectors` imports no heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from w2s_data._version import __version__

if TYPE_CHECKING:
    from w2s_selectors.policies import (
        KLUCB,
        UCB1,
        EpsilonGreedy,
        Oracle,
        OverlapUCB,
        Policy,
        RoundRobin,
        ScorePolicy,
        ThompsonSampling,
        UniformRandom,
        available_policies,
        policy_from_name,
        register_policy,
    )
    from w2s_selectors.regret import (
        cumulative_regret,
        lai_robbins_rate,
        regret_bound,
        simple_regret,
    )
    from w2s_selectors.simulated import BernoulliSources, FunctionSources, PoolSources
    from w2s_selectors.simulation import simulate
    from w2s_selectors.state import ArmState

_HOME = {
    "ArmState": "state",
    "BernoulliSources": "simulated",
    "EpsilonGreedy": "policies",
    "FunctionSources": "simulated",
    "KLUCB": "policies",
    "Oracle": "policies",
    "OverlapUCB": "policies",
    "Policy": "policies",
    "PoolSources": "simulated",
    "RoundRobin": "policies",
    "ScorePolicy": "policies",
    "ThompsonSampling": "policies",
    "UCB1": "policies",
    "UniformRandom": "policies",
    "available_policies": "policies",
    "cumulative_regret": "regret",
    "lai_robbins_rate": "regret",
    "policy_from_name": "policies",
    "register_policy": "policies",
    "regret_bound": "regret",
    "simple_regret": "regret",
    "simulate": "simulation",
}

__all__ = [
    "KLUCB",
    "UCB1",
    "ArmState",
    "BernoulliSources",
    "EpsilonGreedy",
    "FunctionSources",
    "Oracle",
    "OverlapUCB",
    "Policy",
    "PoolSources",
    "RoundRobin",
    "ScorePolicy",
    "ThompsonSampling",
    "UniformRandom",
    "__version__",
    "available_policies",
    "cumulative_regret",
    "lai_robbins_rate",
    "policy_from_name",
    "register_policy",
    "regret_bound",
    "simple_regret",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
