"""Settings of a selection: what it may spend, how it chooses, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from w2s_data.utils.validation import between, check_parameters, one_of, positive, whole
from w2s_selectors.objectives.base import Objective
from w2s_selectors.policies.policy import Policy

_LIMITS = {
    "budget": positive,
    "budget_unit": one_of("items", "money"),
    "batch_size": whole(1),
    "max_rounds": one_of(None) | whole(1),
    "max_seconds": one_of(None) | positive,
    "separation": one_of(None) | between(0, 1, closed="right"),
    "replays": whole(0),
}


@dataclass(frozen=True, kw_only=True)
class SelectionSettings:
    """Budget, choice and limits of a selection; `select_sources` takes them as keywords too.

    Parameters
    ----------
    budget : float
        In items, or in the unit of the sources' costs. Delivered items count, kept or not.
    budget_unit : "items" or "money"
    batch_size : int
        Items requested in each round.
    objective : "auto", "screen_match", "screen", "trust", "overlap", `Objective` or function
        "auto" is `ScreenMatch` with a target of 200 items or more, else `Screen`.
    policy : "auto", name or `Policy`
        Weighs exploration where points are counted, and decides among equals. "auto" takes the
        objective's: Thompson sampling for `Overlap`, round robin for the others.
    keep, stop : collections of str
        Names of sources that the objective may not stop; that are never queried.
    max_rounds, max_seconds : optional
        Further limits.
    separation : float, optional
        Stop when a source has the highest reward with at least this probability.
    replays : int
        Runs of random and of round-robin choice to compare with, where sources can be replayed.

    Examples
    --------
    >>> SelectionSettings(budget=2000, objective="overlap").batch_size
    50
    """

    budget: float
    budget_unit: str = "items"
    batch_size: int = 50
    objective: str | Objective | Callable[..., Any] = "auto"
    policy: str | Policy = "auto"
    keep: Collection[str] = ()
    stop: Collection[str] = ()
    max_rounds: int | None = None
    max_seconds: float | None = None
    separation: float | None = None
    replays: int = 5

    def __post_init__(self) -> None:
        check_parameters(self, _LIMITS)
        for name in ("keep", "stop"):
            names = getattr(self, name)
            # A single name is a collection of letters: take it as one name.
            object.__setattr__(self, name, (names,) if isinstance(names, str) else tuple(names))
