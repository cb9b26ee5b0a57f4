"""Objectives: what a source is worth, how sure that is, and which sources to stop.

An objective judges everything acquired so far after each answer. It either counts points, and a
policy weighs what is known against what may still be found out; or it computes what each source
would bring, and the choice is greedy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from w2s_data.errors import InputError, unknown
from w2s_data.overlap.detector import OverlapDetector
from w2s_selectors.objectives.acquired import Acquired
from w2s_selectors.objectives.judgement import Judgement, Task
from w2s_selectors.objectives.judges import OverlapJudge, ScreenJudge

MINIMUM_TARGET = 200


Judge = Callable[[Acquired], Any]


@runtime_checkable
class Objective(Protocol):
    """What to acquire for.

    Attributes
    ----------
    name : str
    reward : str
        What a reward is, in words.
    policy : str
        Used where the caller names none.
    warm_up : int
        Round-robin rounds before the first choice, at least 1; judged from the end of the first.

    Examples
    --------
    >>> isinstance(Screen(), Objective)
    True
    """

    name: ClassVar[str]
    reward: ClassVar[str]
    policy: ClassVar[str]
    warm_up: ClassVar[int]

    def start(self, task: Task) -> Judge:
        """Return a function that judges after each answer, for one selection."""
        ...


@dataclass(frozen=True)
class Overlap:
    """Overlap density of what is acquired (the published objective).

    All points are judged by one detector fitted on everything acquired, and counted by source;
    until the next fit, new points are judged by the last one.

    Maximising density cost .5 to 1.4 points of accuracy against random choice on natural pools, and
    10 on pools with a source of confident noise: one source is less diverse, and noise looks dense.
    Use it where density is the goal, not accuracy.

    Parameters
    ----------
    growth : float
        The detector is fitted anew when there are this share more points; at 0 after every answer.
    detector : OverlapDetector, optional
        Settings other than the default's.

    References
    ----------
    Shin, Cooper, Sala, *Weak-to-Strong Generalization Through the Data-Centric Lens*, ICLR 2025,
    Algorithm 2.

    Examples
    --------
    >>> Overlap(growth=0.1)
    Overlap(growth=0.1, detector=None)
    """

    name: ClassVar[str] = "overlap"
    reward: ClassVar[str] = "overlap density"
    policy: ClassVar[str] = "thompson"
    warm_up: ClassVar[int] = 1
    growth: float = 0.2
    detector: OverlapDetector | None = None

    def start(self, task: Task) -> Judge:
        """Judge by a detector with the task's seed."""
        from sklearn.base import clone

        detector = clone(self.detector or OverlapDetector(n_anchors=2048))
        detector.set_params(n_resamples=0, random_state=task.seed)
        return OverlapJudge(detector, self.growth)


@dataclass(frozen=True)
class Screen:
    """Stop the sources whose weak labels do not follow from the strong features.

    Exact leave-one-out ridge regression of the weak labels on the strong features, over all that
    is acquired; its correlation r with the weak labels inside a source is the source's label
    consistency. A source with 40 points or more is stopped while atanh(r), plus its standard
    error, is below half the upper quartile over the sources. Every source is judged anew after
    every answer, so one that was stopped may come back.

    It needs neither labels nor a target sample. It seldom sees a source of which a quarter of the
    labels belong to other texts, misses one with half of them in two of five runs, and believes a
    teacher that is wrong in a smooth way.

    Examples
    --------
    >>> Screen().policy
    'round_robin'
    """

    name: ClassVar[str] = "screen"
    reward: ClassVar[str] = "label consistency"
    policy: ClassVar[str] = "round_robin"
    warm_up: ClassVar[int] = 2

    def start(self, task: Task) -> Judge:
        """Judge without a target."""
        return ScreenJudge(task, match=False)


@dataclass(frozen=True)
class ScreenMatch:
    """`Screen`, and among the rest the source that brings what is acquired nearest to a target.

    Nearness is the distance of kernel means (256 random Fourier features of 64 principal
    components, Gaussian kernel of median width) after a batch from a source, or where costs differ
    after as many items as the price of the dearest source's batch buys.

    Needs a target of 200 unlabelled items or more, drawn like those the student will meet. Never
    give it the rows that the teacher was trained on: that cost 11 points in the worst run measured.

    Examples
    --------
    >>> ScreenMatch().reward
    'label consistency'
    """

    name: ClassVar[str] = "screen_match"
    reward: ClassVar[str] = "label consistency"
    policy: ClassVar[str] = "round_robin"
    warm_up: ClassVar[int] = 2

    def start(self, task: Task) -> Judge:
        """Judge against the task's target."""
        if task.target is None:
            raise InputError(
                "objective 'screen_match' needs target=: 200 or more unlabelled items like those "
                "the student will meet; without them use objective='screen'"
            )
        return ScreenJudge(task, match=True)


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
    function: Callable[[Acquired], Any] = field()

    def start(self, task: Task) -> Judge:
        """Judge by the function, with its answer checked."""
        return lambda acquired: _as_judgement(self.function(acquired), task)


_OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "overlap": Overlap,
    "screen": Screen,
    "screen_match": ScreenMatch,
}


def available_objectives() -> list[str]:
    """Names of the objectives; a function of what is acquired is one too.

    Examples
    --------
    >>> available_objectives()
    ['overlap', 'screen', 'screen_match']
    """
    return sorted(_OBJECTIVES)


def objective_from_name(objective: Any, n_target: int = 0) -> Objective:
    """An objective by its name, or the one given; "auto" takes what the target allows.

    Examples
    --------
    >>> objective_from_name("auto", n_target=500), objective_from_name("auto", n_target=10)
    (ScreenMatch(), Screen())
    """
    if isinstance(objective, Objective):
        return objective
    if callable(objective):
        return Custom(objective)
    if objective == "auto":
        return ScreenMatch() if n_target >= MINIMUM_TARGET else Screen()
    if objective not in _OBJECTIVES:
        valid = ["auto", *available_objectives()]
        raise InputError(unknown("objective", str(objective), valid))
    return _OBJECTIVES[objective]()


def _as_judgement(answer: Any, task: Task) -> Judgement:
    """Check what a user's function returned."""
    if isinstance(answer, Judgement):
        return answer
    rewards = np.asarray(answer)
    if rewards.shape != (task.n_sources,) or not np.issubdtype(rewards.dtype, np.number):
        raise InputError(
            f"an objective must return a Judgement or {task.n_sources} rewards, one per source; "
            f"got {answer!r:.80}"
        )
    unknown_limits = np.full(task.n_sources, np.nan)
    return Judgement(
        rewards.astype(np.float64), unknown_limits, unknown_limits, gains=rewards / task.costs
    )
