"""Policies: which source to ask next, given what is known of all of them.

A policy is an immutable record of its parameters. It scores the sources; the source with the
highest score per unit of cost is asked, those that were never asked first.
"""

from w2s_selectors.policies.base import (
    Policy,
    ScorePolicy,
    available_policies,
    policy_from_name,
    register_policy,
)
from w2s_selectors.policies.baselines import Oracle, RoundRobin, UniformRandom
from w2s_selectors.policies.optimistic import KLUCB, UCB1, OverlapUCB
from w2s_selectors.policies.randomized import EpsilonGreedy, ThompsonSampling

__all__ = [
    "KLUCB",
    "UCB1",
    "EpsilonGreedy",
    "Oracle",
    "OverlapUCB",
    "Policy",
    "RoundRobin",
    "ScorePolicy",
    "ThompsonSampling",
    "UniformRandom",
    "available_policies",
    "policy_from_name",
    "register_policy",
]
