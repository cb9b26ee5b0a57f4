"""The bandit policies that w2s_selectors and mabwiser both have, side by side."""

from __future__ import annotations

from mabwiser.mab import LearningPolicy

from w2s_selectors import UCB1, EpsilonGreedy, ThompsonSampling

SHARED = {  # the policies that both libraries have
    "UCB1": (UCB1(), LearningPolicy.UCB1(alpha=1)),
    "Thompson sampling": (ThompsonSampling(), LearningPolicy.ThompsonSampling()),
    "epsilon-greedy, .1": (EpsilonGreedy(0.1), LearningPolicy.EpsilonGreedy(epsilon=0.1)),
}
