"""w2s-selectors: which data source to query next, within a budget.

Public names are loaded on first use, so that `import w2s_selectors` imports no heavy library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from w2s_data._version import __version__

if TYPE_CHECKING:
    from w2s_selectors.acquired import Acquired
    from w2s_selectors.batch import Batch
    from w2s_selectors.judgement import Judgement, Task
    from w2s_selectors.objectives import (
        Objective,
        Overlap,
        Screen,
        ScreenMatch,
        available_objectives,
    )
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
    from w2s_selectors.result import SelectionResult
    from w2s_selectors.selection import select_sources
    from w2s_selectors.simulated import BernoulliSources, FunctionSources, PoolSources
    from w2s_selectors.simulation import simulate
    from w2s_selectors.sources import CallableSource, DataSource, ReplayableSource, TableSource
    from w2s_selectors.state import ArmState

_HOME = {
    "Acquired": "acquired",
    "ArmState": "state",
    "Batch": "batch",
    "BernoulliSources": "simulated",
    "CallableSource": "sources",
    "DataSource": "sources",
    "EpsilonGreedy": "policies",
    "FunctionSources": "simulated",
    "Judgement": "judgement",
    "KLUCB": "policies",
    "Objective": "objectives",
    "Oracle": "policies",
    "Overlap": "objectives",
    "OverlapUCB": "policies",
    "Policy": "policies",
    "PoolSources": "simulated",
    "ReplayableSource": "sources",
    "RoundRobin": "policies",
    "ScorePolicy": "policies",
    "Screen": "objectives",
    "ScreenMatch": "objectives",
    "SelectionResult": "result",
    "TableSource": "sources",
    "Task": "judgement",
    "ThompsonSampling": "policies",
    "UCB1": "policies",
    "UniformRandom": "policies",
    "available_objectives": "objectives",
    "available_policies": "policies",
    "cumulative_regret": "regret",
    "lai_robbins_rate": "regret",
    "policy_from_name": "policies",
    "register_policy": "policies",
    "regret_bound": "regret",
    "select_sources": "selection",
    "simple_regret": "regret",
    "simulate": "simulation",
}

__all__ = [
    "KLUCB",
    "UCB1",
    "Acquired",
    "ArmState",
    "Batch",
    "BernoulliSources",
    "CallableSource",
    "DataSource",
    "EpsilonGreedy",
    "FunctionSources",
    "Judgement",
    "Objective",
    "Oracle",
    "Overlap",
    "OverlapUCB",
    "Policy",
    "PoolSources",
    "ReplayableSource",
    "RoundRobin",
    "ScorePolicy",
    "Screen",
    "ScreenMatch",
    "SelectionResult",
    "TableSource",
    "Task",
    "ThompsonSampling",
    "UniformRandom",
    "__version__",
    "available_objectives",
    "available_policies",
    "cumulative_regret",
    "lai_robbins_rate",
    "policy_from_name",
    "register_policy",
    "regret_bound",
    "select_sources",
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
