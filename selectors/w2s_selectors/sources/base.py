"""Contract of a source, the batches that it delivers, and the errors that it may raise."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from w2s_data.errors import InputError, ProbabilityError, rows
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray


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
    trust : float array (n,) or None
        Chance in [0, 1] that the weak label of each item is right; NaN where it is not known.

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
    trust: FloatArray | None = None

    def __post_init__(self) -> None:
        for name in ("items", "strong_features", "weak_proba", "trust"):
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
            trust=None if self.trust is None else self.trust[rows],
        )


def check_trust(trust: Any, n: int) -> FloatArray:
    """Return trust (n,) as float64, or raise if it is not a probability or NaN.

    >>> check_trust([0.5, 80], 2)
    Traceback (most recent call last):
        ...
    w2s_data.errors.ProbabilityError: trust must be a probability in [0, 1]; got 80 in row 1
    """
    array: AnyArray = np.asarray(trust)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.number):
        raise ProbabilityError(
            f"trust must be numbers of shape ({n},), one per item; got {array.dtype} of shape "
            f"{array.shape}"
        )
    array = array.astype(np.float64, copy=False)
    # NaN compares false: it says that the chance is not known.
    bad = np.flatnonzero((array < 0) | (array > 1))
    if len(bad):
        raise ProbabilityError(
            f"trust must be a probability in [0, 1]; got {array[bad[0]]:g} in {rows(bad)}"
        )
    return array


def check_cost(name: str, cost: Any) -> float:
    """Return a cost per item, or raise if it is not a positive number."""
    try:
        value = float(cost)
    except (TypeError, ValueError):
        value = math.nan  # fails the comparison below, like a NaN that was passed
    if not 0 < value < math.inf:
        raise InputError(f"the cost of source {name!r} must be a number above 0; got {cost!r}")
    return value


class SourceError(InputError):
    """A source cannot deliver: its function failed, or its answer does not consist of items."""


class SourceTimeout(SourceError):
    """A source has not answered yet; items that it delivers later are kept."""


@runtime_checkable
class DataSource(Protocol):
    """Contract of a source: it delivers items on request, at a cost per item.

    Examples
    --------
    >>> from w2s_selectors import CallableSource
    >>> isinstance(CallableSource(lambda n: ["a text"], "crawler"), DataSource)
    True
    """

    @property
    def name(self) -> str:
        """Name, different from those of all other sources."""
        ...

    @property
    def cost(self) -> float:
        """Cost of one item, above 0, in a unit that all sources of a selection share."""
        ...

    @property
    def size(self) -> int | None:
        """Number of items; None if unknown."""
        ...

    def open(self, delivered: Collection[str], folder: Path | None) -> None:
        """Begin or resume: never deliver the ids `delivered` again; keep state in `folder`."""
        ...

    def query(self, n: int, request: str) -> Batch:
        """Deliver up to n items; none when there are no more.

        `request` names the query: it is the same when a query is repeated after a crash. Raises
        SourceError if it cannot deliver now.
        """
        ...


@runtime_checkable
class ReplayableSource(DataSource, Protocol):
    """Contract of a source whose items are at hand and cost nothing to look at again.

    Examples
    --------
    >>> from w2s_selectors import CallableSource
    >>> isinstance(CallableSource(lambda n: ["a text"], "crawler"), ReplayableSource)
    False
    """

    def lookup(self, ids: Sequence[str]) -> Batch:
        """Return items that were delivered before."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of its content and order."""
        ...

    @property
    def ready(self) -> bool:
        """Whether its items come with strong features and weak probabilities."""
        ...

    def shuffled(self, rng: np.random.Generator) -> ReplayableSource:
        """Return a copy in another order that has delivered nothing."""
        ...
