"""What a policy may know about the sources when it chooses the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray

_DTYPES = {
    "successes": np.float64,
    "trials": np.float64,
    "queries": np.int64,
    "pending": np.float64,
    "costs": np.float64,
    "active": np.bool_,
}


@dataclass(frozen=True, eq=False)
class ArmState:
    """What a policy may know about K arms when it chooses; never changed, only replaced.

    Arrays have shape (K,). Further axes before the last are independent runs: the simulation
    harness asks a policy about many at once.

    Attributes
    ----------
    successes : array (K,)
        Points judged to be overlap, or the sum of rewards in [0, 1]; may be re-estimated at any
        time.
    trials : array (K,)
        Points judged.
    queries : int array (K,)
        Queries answered.
    pending : array (K,)
        Items asked for and not answered yet.
    costs : array (K,)
        Cost of one item, above 0.
    active : bool array (K,)
        False: ran dry, stopped, or not there yet.
    round : int
        Queries asked so far, of all arms together.
    horizon : int
        Queries that the budget allows in total (T), at least 1.

    Examples
    --------
    >>> state = ArmState.start(2, horizon=10).asked(0, items=50)
    >>> state.untried
    array([False,  True])
    >>> state.answered(0, successes=20, trials=50).means
    array([0.4, nan])
    """

    successes: FloatArray
    trials: FloatArray
    queries: IntArray
    pending: FloatArray
    costs: FloatArray
    active: BoolArray
    round: int
    horizon: int

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            array: AnyArray = np.asarray(getattr(self, name), dtype=dtype).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        shapes = {name: getattr(self, name).shape for name in _DTYPES}
        if not self.costs.shape or len({shape[-1:] for shape in shapes.values()}) > 1:
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise InputError(f"the arrays of an ArmState must have one entry per arm; got {found}")
        if not ((self.costs > 0) & (self.costs < np.inf)).all():
            raise InputError(f"costs must be finite and above 0; got {self.costs.tolist()}")
        if not ((self.successes >= 0) & (self.successes <= self.trials)).all():
            raise InputError(
                "successes must lie between 0 and trials; got "
                f"{self.successes.tolist()} of {self.trials.tolist()}"
            )
        if self.round < 0 or self.horizon < 1:
            raise InputError(
                f"round must be >= 0 and horizon >= 1; got {self.round} and {self.horizon}"
            )

    @classmethod
    def start(cls, n_arms: int, *, costs: AnyArray | None = None, horizon: int) -> Self:
        """No arm has been asked yet; all are active.

        Raises
        ------
        InputError
            Without an arm, or with costs that are not one positive number per arm.
        """
        if n_arms < 1:
            raise InputError(f"n_arms must be at least 1; got {n_arms}")
        zero = np.zeros(n_arms)
        return cls(
            successes=zero,
            trials=zero,
            queries=zero.astype(np.int64),
            pending=zero,
            costs=np.ones(n_arms) if costs is None else np.array(costs, dtype=np.float64),
            active=np.ones(n_arms, dtype=np.bool_),
            round=0,
            horizon=horizon,
        )

    @property
    def n_arms(self) -> int:
        """K."""
        return int(self.successes.shape[-1])

    @property
    def means(self) -> FloatArray:
        """Successes per trial, in [0, 1]; NaN where there is no trial."""
        judged = self.trials > 0
        return np.where(judged, self.successes / np.where(judged, self.trials, 1.0), np.nan)

    @property
    def outstanding(self) -> FloatArray:
        """Queries asked and not answered: their number, shared out by pending items."""
        total = self.pending.sum(axis=-1, keepdims=True)
        unanswered = self.round - self.queries.sum(axis=-1, keepdims=True)
        share = self.pending / np.where(total > 0, total, 1.0)
        return np.asarray(share * np.maximum(unanswered, 0))

    @property
    def untried(self) -> BoolArray:
        """Active, no query answered and nothing pending."""
        return np.asarray(self.active & (self.queries == 0) & (self.pending == 0))

    def asked(self, arm: int, items: float) -> Self:
        """`items` are asked of an arm; the answer is pending."""
        self._check_arm(arm)
        if not items > 0:
            raise InputError(f"a query asks for at least one item; got {items}")
        pending = self.pending.copy()
        pending[arm] += items
        return replace(self, pending=pending, round=self.round + 1)

    def answered(
        self, arm: int, successes: float, trials: float, items: float | None = None
    ) -> Self:
        """An answer arrives: `trials` points were judged, `successes` of them overlap.

        Parameters
        ----------
        items : float, optional
            Items that the query had asked for, where fewer were delivered or judged.
        """
        self._check_arm(arm)
        items = trials if items is None else items
        if items > self.pending[arm]:
            raise InputError(
                f"arm {arm} has {self.pending[arm]:g} pending items; got an answer to {items:g}"
            )
        after = {name: getattr(self, name).copy() for name in _DTYPES}
        after["successes"][arm] += successes
        after["trials"][arm] += trials
        after["queries"][arm] += 1
        after["pending"][arm] -= items
        return replace(self, **after)

    def reestimated(self, successes: AnyArray, trials: AnyArray) -> Self:
        """All counts are replaced, because the points were judged anew."""
        return replace(self, successes=np.array(successes), trials=np.array(trials))

    def retired(self, arm: int) -> Self:
        """An arm leaves: it ran dry or was stopped. What is known of it stays."""
        self._check_arm(arm)
        active = self.active.copy()
        active[arm] = False
        return replace(self, active=active)

    def joined(self, cost: float = 1.0) -> Self:
        """A new arm comes in at the end; it is untried, so it is asked first."""
        new = {"costs": cost, "active": True}
        longer: dict[str, Any] = {
            name: np.append(getattr(self, name), new.get(name, 0)) for name in _DTYPES
        }
        return replace(self, **longer)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, as JSON takes them."""
        arrays = {name: getattr(self, name).tolist() for name in _DTYPES}
        return {**arrays, "round": int(self.round), "horizon": int(self.horizon)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The state that `to_dict` wrote.

        Raises
        ------
        InputError
            If an entry is missing or unknown, or the arrays do not fit together.

        Examples
        --------
        >>> state = ArmState.start(3, horizon=5)
        >>> ArmState.from_dict(state.to_dict()).to_dict() == state.to_dict()
        True
        """
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise InputError(
                f"a saved ArmState holds {sorted(names)}; got {sorted(map(str, values))}"
            )
        return cls(**values)

    def _check_arm(self, arm: int) -> None:
        if not 0 <= arm < self.n_arms:
            raise InputError(f"there is no arm {arm}; the arms are 0 to {self.n_arms - 1}")
