"""States whose set of arms changes."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from w2s_selectors.policies.state import ArmState


def without(state: ArmState, *arms: int) -> ArmState:
    """A state some of whose arms have left."""
    return replace(state, active=state.active & ~np.isin(np.arange(state.n_arms), arms))


def joined(state: ArmState, cost: float) -> ArmState:
    """A state with a new arm at the end."""
    new = {"costs": cost, "active": True}
    arrays = [field.name for field in fields(state) if field.name not in ("round", "horizon")]
    return replace(
        state, **{name: np.append(getattr(state, name), new.get(name, 0)) for name in arrays}
    )
