"""Levels of trust, the chance that a weak label is right: one name and one colour each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.stages.posterior import DOUBTFUL


@dataclass(frozen=True)
class TrustLevel:
    """A range of trust, from `start` up to that of the next level."""

    name: str
    start: float
    token: str
    symbol: str


# From the colour of wrong labels to a dark blue, each of another lightness than its neighbours.
TRUST_LEVELS = (
    TrustLevel(f"below {DOUBTFUL:g}", 0.0, "wrong", "x"),
    TrustLevel(f"{DOUBTFUL:g} to 0.8", DOUBTFUL, "category-1", "triangle-up"),
    TrustLevel("0.8 to 0.95", 0.8, "category-2", "square"),
    TrustLevel("0.95 and above", 0.95, "category-5", "circle"),
)
LEVEL_NAMES = [level.name for level in TRUST_LEVELS]


def trust_level(trust: pd.Series[Any]) -> pd.Series[Any]:
    """Return the name of each value's level; None where the trust is unknown.

    >>> trust_level(pd.Series([0.2, 0.5, np.nan])).tolist()
    ['below 0.5', '0.5 to 0.8', None]
    """
    starts = [level.start for level in TRUST_LEVELS]
    places = np.searchsorted(starts, trust.to_numpy(dtype=np.float64), side="right") - 1
    names = np.array([*LEVEL_NAMES, None], dtype=object)
    # As objects: strings would turn None into NaN.
    chosen = names[np.where(trust.isna(), -1, places)]
    return pd.Series(chosen, index=trust.index, dtype=object)
