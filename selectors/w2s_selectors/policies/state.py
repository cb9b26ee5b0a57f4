"""State of a bandit: what a policy may know when it chooses the next source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray

# Counts of points are floats: rewards may be fractions, and re-estimates are expectations.
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
    """Counts, costs and pending queries of K arms; immutable, each event returns a new state.

    Arrays have shape (K,). Further axes before the last are independent runs, so that a
    simulation can ask a policy about many at once.

    Attributes
    ----------
    successes : array (K,)
        Points judged to be overlap, or the sum of rewards in [0, 1].
    trials : array (K,)
        Points judged.
    queries : int array (K,)
        Queries answered.
    pending : array (K,)
        Items requested and not delivered yet.
    costs : array (K,)
        Cost of one item, above 0.
    active : bool array (K,)
        False if the arm ran dry or was stopped.
    round : int
        Queries made so far, of all arms together.
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
            array.flags.writeable = False  # of the view: the caller's array stays writable
            object.__setattr__(self, name, array)
        shapes = {name: getattr(self, name).shape for name in _DTYPES}
        if not self.costs.shape or len({shape[-1:] for shape in shapes.values()}) > 1:
            shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise InputError(f"the arrays of an ArmState must have one entry per arm; got {shown}")
        if not ((self.costs > 0) & (self.costs < np.inf)).all():
            raise InputError(f"costs must be finite and above 0; got {self.costs.tolist()}")
        # Also false for NaN, which would otherwise spread through every score.
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
        """Return the state before the first query, with all arms active and at unit costs."""
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
        """Number of queries not answered yet, (K,).

        Only their total is known; it is divided in proportion to the pending items.
        """
        total = self.pending.sum(axis=-1, keepdims=True)
        unanswered = self.round - self.queries.sum(axis=-1, keepdims=True)
        share = self.pending / np.where(total > 0, total, 1.0)
        return np.asarray(share * np.maximum(unanswered, 0))

    @property
    def untried(self) -> BoolArray:
        """Active arms without an answer and without a pending query."""
        return np.asarray(self.active & (self.queries == 0) & (self.pending == 0))

    def asked(self, arm: int, items: float) -> Self:
        """Return the state after a query of an arm for `items`, which are pending."""
        self._check_arm(arm)
        if not items > 0:
            raise InputError(f"a query asks for at least one item; got {items}")
        pending = self.pending.copy()
        pending[arm] += items
        return replace(self, pending=pending, round=self.round + 1)

    def answered(
        self, arm: int, successes: float, trials: float, items: float | None = None
    ) -> Self:
        """Return the state after an answer: `trials` judged points, `successes` of them overlap.

        `items` is the number that the query requested, where fewer were delivered or judged.
        """
        self._check_arm(arm)
        # All requested items stop being pending, also those that were not delivered.
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
        """Return the state with all counts replaced, after all points were judged again."""
        return replace(self, successes=np.array(successes), trials=np.array(trials))

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return dict(jsonable(self))

    def _check_arm(self, arm: int) -> None:
        if not 0 <= arm < self.n_arms:
            raise InputError(f"there is no arm {arm}; the arms are 0 to {self.n_arms - 1}")
