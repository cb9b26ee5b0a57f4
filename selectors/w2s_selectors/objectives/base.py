"""Contract of an objective, and the objective made of a function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.intervals import LEVEL, Estimate
from w2s_data.utils.typing import FloatArray
from w2s_selectors.objectives.acquired import Acquired


@dataclass(frozen=True, eq=False)
class Task:
    """A selection as an objective sees it at the start.

    Attributes
    ----------
    costs : array (K,)
        Cost per item of each source.
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


@dataclass(frozen=True, eq=False)
class Judgement:
    """Rewards of K sources, with everything that the next choice depends on.

    Attributes
    ----------
    rewards, low, high : arrays (K,)
        Estimates with their intervals; NaN where nothing is known.
    successes, trials : arrays (K,) or None
        Counts of points, for a sampling policy.
    gains : array (K,) or None
        Gain of a batch from each source, costs included; larger is better, the choice is greedy.
        NaN where it is not known.
    stopped : mapping
        Source number -> reason with the evidence.
    observed : float
        Mean success of the newest answer's points; NaN where points are not counted.
    level : float
        Coverage of the intervals.

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
    level: float = LEVEL

    @property
    def counted(self) -> bool:
        """Whether the rewards are successes per trial."""
        if self.successes is None or self.trials is None:
            return False
        known = self.trials > 0
        return bool(np.allclose(self.rewards[known] * self.trials[known], self.successes[known]))

    def estimate(self, source: int) -> Estimate:
        """Return the reward of one source with its interval."""
        low, high = float(self.low[source]), float(self.high[source])
        return Estimate(float(self.rewards[source]), low, high, self.level)


class Judge(ABC):
    """Judge of one selection; called with everything acquired after each answer.

    Only the call is required. The other methods return what a judge without an opinion would.

    Examples
    --------
    >>> class Fewest(Judge):
    ...     def __call__(self, acquired):
    ...         rewards, nothing = 1.0 / (1 + acquired.counts), np.full(acquired.n_sources, np.nan)
    ...         return Judgement(rewards, nothing, nothing, gains=rewards)
    >>> Fewest()(Acquired(n_sources=2)).gains.tolist()
    [1.0, 1.0]
    """

    @abstractmethod
    def __call__(self, acquired: Acquired) -> Judgement:
        """Judge all sources."""

    def conclude(self, acquired: Acquired, latest: Judgement) -> Judgement:  # noqa: ARG002
        """Judge once more at the end, where more work per judgement is affordable."""
        return latest

    def values(self, sets: Sequence[Acquired]) -> list[float]:
        """Return the objective's own value of each of several sets; NaN where it has none."""
        return [np.nan] * len(sets)

    def planned(
        self,
        room: FloatArray,  # noqa: ARG002
        budget: float,  # noqa: ARG002
        units: FloatArray,  # noqa: ARG002
    ) -> FloatArray | None:
        """Return the items (K,) to buy next for `budget`, at most `room`; None without a plan."""
        return None


@runtime_checkable
class Objective(Protocol):
    """Contract of an objective: an immutable record that starts a judge for each selection.

    Attributes
    ----------
    name : str
    reward : str
        Meaning of a reward, in words.
    policy : str
        Name of the policy that is used where the caller names none.
    warm_up : int
        Round-robin rounds before the first choice, at least 1; judged from the end of the first.

    Examples
    --------
    >>> from w2s_selectors import Screen
    >>> isinstance(Screen(), Objective)
    True
    """

    name: ClassVar[str]
    reward: ClassVar[str]
    policy: ClassVar[str]
    warm_up: ClassVar[int]

    def start(self, task: Task) -> Judge:
        """Return the judge of one selection."""
        ...


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
