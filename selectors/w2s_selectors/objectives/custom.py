"""Objective of the user's own: any function of what is acquired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from w2s_data.errors import InputError
from w2s_selectors.objectives.acquired import Acquired
from w2s_selectors.objectives.base import Judge, Judgement, Task


@dataclass(frozen=True)
class Custom:
    """Any function of what is acquired: it returns a `Judgement`, or K rewards.

    Plain rewards are taken as computed: the choice is greedy by reward per unit of cost.

    Examples
    --------
    >>> rarest = Custom(lambda acquired: 1 / (1 + acquired.counts))
    >>> judge = rarest.start(Task(np.ones(2), 50, None, 0))
    >>> acquired = Acquired(n_sources=2)
    >>> acquired.add(0, np.ones((3, 4)), np.full((3, 2), 0.5))
    >>> judge(acquired).gains.tolist()
    [0.25, 1.0]
    """

    name: ClassVar[str] = "custom"
    reward: ClassVar[str] = "reward"
    policy: ClassVar[str] = "thompson"
    warm_up: ClassVar[int] = 1
    function: Callable[[Acquired], Any]

    def start(self, task: Task) -> Judge:
        """Judge by the function, and check its answers."""
        return _FunctionJudge(self.function, task)

    def __repr__(self) -> str:
        # The repr identifies a selection in its checkpoint: no address, which would change.
        return f"Custom({getattr(self.function, '__qualname__', 'function')})"


class _FunctionJudge(Judge):
    def __init__(self, function: Callable[[Acquired], Any], task: Task) -> None:
        self._function, self._task = function, task

    def __call__(self, acquired: Acquired) -> Judgement:
        answer, k = self._function(acquired), self._task.n_sources
        if isinstance(answer, Judgement):
            return answer
        rewards = np.asarray(answer)
        if rewards.shape != (k,) or not np.issubdtype(rewards.dtype, np.number):
            raise InputError(
                f"an objective must return a Judgement or {k} rewards, one per source; "
                f"got {answer!r:.80}"
            )
        nothing = np.full(k, np.nan)
        # As gains, not as counts: a policy would explore although the rewards are exact.
        gains = rewards / self._task.costs
        return Judgement(rewards.astype(np.float64), nothing, nothing, gains=gains)
