"""Objectives by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from w2s_data.errors import InputError, unknown
from w2s_selectors.objectives.base import Custom, Objective
from w2s_selectors.objectives.overlap import Overlap
from w2s_selectors.objectives.screen import MINIMUM_TARGET, Screen, ScreenMatch
from w2s_selectors.objectives.trust import Trust

_OBJECTIVES: dict[str, Callable[[], Objective]] = {
    objective.name: objective for objective in (Overlap, Screen, ScreenMatch, Trust)
}


def register_objective(objective: Any) -> Any:
    """Register an objective class under its `name`, if that is free; usable as a decorator.

    Examples
    --------
    >>> register_objective(Screen)
    Traceback (most recent call last):
        ...
    w2s_data.errors.InputError: there is an objective 'screen' already
    """
    parts = ("name", "reward", "policy", "warm_up", "start")
    missing = [part for part in parts if not hasattr(objective, part)]
    if missing:
        raise InputError(f"{objective!r} is not an objective: it lacks {', '.join(missing)}")
    if objective.name in (*_OBJECTIVES, "auto"):
        raise InputError(f"there is an objective {objective.name!r} already")
    _OBJECTIVES[objective.name] = objective
    return objective


def available_objectives() -> list[str]:
    """List the names of all registered objectives; a function is an objective as well.

    Examples
    --------
    >>> available_objectives()
    ['overlap', 'screen', 'screen_match', 'trust']
    """
    return sorted(_OBJECTIVES)


def make_objective(objective: Any, n_target: int = 0) -> Objective:
    """Create an objective by its name, or from a function; an instance is returned unchanged.

    Parameters
    ----------
    objective : str, `Objective` or function of `Acquired`
        "auto" is `ScreenMatch` with a target of 200 items or more, else `Screen`.
    n_target : int
        Items of the target.

    Examples
    --------
    >>> make_objective("auto", n_target=500), make_objective("auto", n_target=10)
    (ScreenMatch(), Screen())
    """
    if isinstance(objective, Objective):
        return objective
    if callable(objective):
        return Custom(objective)
    # Measured on 16 pools of real text: screen_match +1.5 points over random choice, screen +1.0,
    # overlap density -.7. The match needs a target sample; without one only screening is left.
    if objective == "auto":
        return ScreenMatch() if n_target >= MINIMUM_TARGET else Screen()
    if objective not in _OBJECTIVES:
        raise InputError(unknown("objective", str(objective), ["auto", *available_objectives()]))
    return _OBJECTIVES[objective]()
