"""Contract of a source, and the errors that it may raise."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from w2s_data.errors import InputError
from w2s_selectors.sources.batch import Batch


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

        `request` names the query: it is the same when a query is repeated after a crash.

        Raises
        ------
        SourceError
            If it cannot deliver now.
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
