"""Batches of delivered items, and their price."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Delivered items with their ids, and the numbers that are known of them already.

    Attributes
    ----------
    ids : tuple of n str
    items : tuple of n texts, bytes, paths or vectors, or None
        None if nothing is to be computed from them.
    strong_features : float array (n, D) or None
    weak_proba : float array (n, C) or None

    Raises
    ------
    InputError
        If their numbers differ.

    Examples
    --------
    >>> import numpy as np
    >>> batch = Batch(("a", "b"), items=("good", "bad"))
    >>> len(batch), batch.take(np.array([1])).ids
    (2, ('b',))
    """

    ids: tuple[str, ...]
    items: tuple[Any, ...] | None = None
    strong_features: FloatArray | None = None
    weak_proba: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("items", "strong_features", "weak_proba"):
            part = getattr(self, name)
            if part is not None and len(part) != len(self.ids):
                raise InputError(f"a batch has {len(self.ids)} ids and {len(part)} {name}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: IntArray) -> Batch:
        """Return the items of some rows."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            items=None if self.items is None else tuple(self.items[row] for row in rows),
            strong_features=None if self.strong_features is None else self.strong_features[rows],
            weak_proba=None if self.weak_proba is None else self.weak_proba[rows],
        )


def check_cost(name: str, cost: Any) -> float:
    """Return a cost per item, or raise if it is not a positive number."""
    try:
        value = float(cost)
    except (TypeError, ValueError):
        value = math.nan  # fails the comparison below, like a NaN that was passed
    if not 0 < value < math.inf:
        raise InputError(f"the cost of source {name!r} must be a number above 0; got {cost!r}")
    return value
