"""Contract of an objective: what it is given, what it returns, and a function as an objective."""

from __future__ import annotations

import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from w2s_data.errors import FeatureError, InputError, ProbabilityError
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.utils.intervals import LEVEL, Estimate
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

IN_MEMORY = 64 * 2**20  # bytes; larger tables lie in a temporary file


class Rows:
    """Rows that are appended to; capacity doubles, and a large table lies on disk."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = np.dtype(dtype)
        self._buffer: AnyArray | None = None
        self._file: IO[bytes] | None = None
        self._n = 0

    def append(self, added: AnyArray) -> None:
        """Append rows, which have the shape of the first ones."""
        needed = self._n + len(added)
        if self._buffer is None or needed > len(self._buffer):
            # Doubling keeps appending linear in all; few rows get some room at once.
            capacity = max(256, needed, 2 * self._n)
            self._grow((capacity, *added.shape[1:]))
        assert self._buffer is not None
        self._buffer[self._n : needed] = added
        self._n = needed
        ArrayFeatures(self._buffer).release()  # pages that are in the file need not be in memory

    @property
    def array(self) -> AnyArray:
        """All rows, without a copy."""
        return np.empty(0, self._dtype) if self._buffer is None else self._buffer[: self._n]

    def _grow(self, shape: tuple[int, ...]) -> None:
        """Enlarge the buffer, in place once it lies in a file."""
        size = int(np.prod(shape)) * self._dtype.itemsize
        if size <= IN_MEMORY:
            grown: AnyArray = np.empty(shape, self._dtype)
        elif self._file is not None:
            self._buffer = None  # the old map; its rows are in the file
            self._file.truncate(size)
            self._buffer = np.memmap(self._file, self._dtype, "r+", shape=shape)
            return
        else:
            # Without a name: it disappears with the process, even if that is killed.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)
            self._file.truncate(size)
            grown = np.memmap(self._file, self._dtype, "r+", shape=shape)
        if self._buffer is not None:
            grown[: self._n] = self.array
        self._buffer = grown


class Acquired:
    """The n points acquired so far, in the order of their delivery.

    Examples
    --------
    >>> acquired = Acquired(n_sources=2)
    >>> acquired.add(1, np.ones((3, 4)), np.full((3, 2), 0.5))
    >>> len(acquired), acquired.source.tolist(), acquired.strong_features.shape
    (3, [1, 1, 1], (3, 4))
    """

    def __init__(self, n_sources: int) -> None:
        self.n_sources = n_sources
        self.newest = slice(0, 0)  # rows of the latest answer
        self._source, self._proba, self._trust = Rows(np.int64), Rows(np.float64), Rows(np.float64)
        self._features = Rows(np.float32)  # encoders give no more digits, and they fill memory

    def __len__(self) -> int:
        return len(self._source.array)

    def add(
        self,
        source: int,
        strong_features: FloatArray,
        weak_proba: FloatArray,
        trust: FloatArray | None = None,
    ) -> None:
        """Append the points of one answer, or raise if they do not fit earlier ones."""
        # Before anything is appended: a refused answer leaves all tables as they were.
        self.check_fits(strong_features, weak_proba)
        self.newest = slice(len(self), len(self) + len(strong_features))
        self._source.append(np.full(len(strong_features), source))
        self._proba.append(weak_proba)
        self._trust.append(np.full(len(weak_proba), np.nan) if trust is None else trust)
        self._features.append(strong_features)

    def check_fits(self, strong: FloatArray | None, proba: FloatArray | None) -> None:
        """Raise if features or probabilities have other dimensions or classes than before."""
        if not len(self):
            return
        n_features, n_classes = self._features.array.shape[1], self._proba.array.shape[1]
        if strong is not None and strong.shape[1] != n_features:
            raise FeatureError(
                f"strong features had {n_features} dimensions so far; now {strong.shape[1]}"
            )
        if proba is not None and proba.shape[1] != n_classes:
            raise ProbabilityError(
                f"weak probabilities had {n_classes} classes so far; now {proba.shape[1]}"
            )

    @property
    def source(self) -> IntArray:
        """Source of each point, int array (n,)."""
        return self._source.array

    @property
    def weak_proba(self) -> FloatArray:
        """Weak probabilities, (n, C)."""
        return self._proba.array

    @property
    def trust(self) -> FloatArray:
        """Chance that each weak label is right, (n,); NaN where the source did not say."""
        return self._trust.array

    @property
    def strong_features(self) -> ArrayFeatures:
        """Strong features (n, D), to be read in blocks."""
        return ArrayFeatures(self._features.array)

    @property
    def counts(self) -> IntArray:
        """Points of each source, (K,)."""
        return np.bincount(self.source, minlength=self.n_sources)

    def without(self, sources: Collection[int]) -> Acquired:
        """Return the points of all other sources, in the same order."""
        rows = np.flatnonzero(~np.isin(self.source, list(sources)))
        if len(rows) == len(self):
            return self
        rest = Acquired(self.n_sources)
        rest._source.append(self.source[rows])
        rest._proba.append(self.weak_proba[rows])
        rest._trust.append(self.trust[rows])
        rest._features.append(self.strong_features.take(rows))
        return rest


@dataclass(frozen=True, eq=False)
class Task:
    """A selection as an objective sees it at the start.

    Attributes
    ----------
    costs : array (K,)
        Cost per item of each source.
    target : float array (n, D) or None
        Strong features of unlabelled items like those the student will meet.
    keep, stop : frozensets of int
        Sources that may not be stopped; that the user has stopped.
    names : tuple of K str
        For messages.

    Examples
    --------
    >>> Task(np.ones(3), batch_size=50, target=None, seed=0).n_sources
    3
    """

    costs: FloatArray
    batch_size: int
    target: FloatArray | None
    seed: int
    keep: frozenset[int] = frozenset()
    stop: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()

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

    def planned(self, room: FloatArray, budget: float, units: FloatArray) -> FloatArray | None:  # noqa: ARG002
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
