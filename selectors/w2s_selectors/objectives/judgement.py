"""What an objective is told, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from w2s_data.utils.typing import FloatArray

LEVEL = 0.95  # of all intervals


@dataclass(frozen=True, eq=False)
class Judgement:
    """What an objective says of K sources.

    Attributes
    ----------
    rewards, low, high : arrays (K,)
        Estimate with its interval; NaN where nothing is known.
    successes, trials : arrays (K,) or None
        Counts of points, for a sampling policy.
    gains : array (K,) or None
        What a batch from each source would bring, costs included; larger is better, the choice
        is greedy. NaN where it is not known.
    stopped : mapping
        Source number -> reason with the evidence.
    observed : float
        Mean success of the newest answer's points; NaN where points are not counted.

    Examples
    --------
    >>> won, asked = np.array([10.0, 30.0]), np.array([50.0, 50.0])
    >>> nothing = np.full(2, np.nan)
    >>> Judgement(won / asked, nothing, nothing, won, asked).counted
    True
    """

    rewards: FloatArray
    low: FloatArray
    high: FloatArray
    successes: FloatArray | None = None
    trials: FloatArray | None = None
    gains: FloatArray | None = None
    stopped: Mapping[int, str] = field(default_factory=dict)
    observed: float = float("nan")

    @property
    def counted(self) -> bool:
        """Whether the rewards are successes per trial."""
        if self.successes is None or self.trials is None:
            return False
        known = self.trials > 0
        return bool(np.allclose(self.rewards[known] * self.trials[known], self.successes[known]))


@dataclass(frozen=True, eq=False)
class Task:
    """What an objective is told at the start of a selection.

    Attributes
    ----------
    costs : array (K,)
    batch_size : int
    target : float array (n, D) or None
        Strong features of unlabelled items like those the student will meet.
    seed : int

    Examples
    --------
    >>> Task(np.ones(3), batch_size=50, target=None, seed=0).n_sources
    3
    """

    costs: FloatArray
    batch_size: int
    target: FloatArray | None
    seed: int

    @property
    def n_sources(self) -> int:
        """K."""
        return len(self.costs)
