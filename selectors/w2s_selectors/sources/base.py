"""Where items come from: a table that is at hand, or any function that delivers on request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from w2s_data.errors import InputError
from w2s_selectors.sources.batch import Batch, check_cost
from w2s_selectors.sources.requests import Request, SourceError, SourceTimeout, Stock, as_batch
from w2s_selectors.sources.table import TableSource

__all__ = [
    "Batch",
    "CallableSource",
    "DataSource",
    "ReplayableSource",
    "SourceError",
    "SourceTimeout",
    "TableSource",
]

logger = logging.getLogger("w2s_selectors")


@runtime_checkable
class DataSource(Protocol):
    """Something that delivers items on request, at a cost per item.

    Examples
    --------
    >>> isinstance(CallableSource(lambda n: ["a text"], "crawler"), DataSource)
    True
    """

    @property
    def name(self) -> str:
        """Name, different from all others'."""
        ...

    @property
    def cost(self) -> float:
        """Cost of one item, above 0, in a unit that all sources of a selection share."""
        ...

    @property
    def size(self) -> int | None:
        """Items in all; None if unknown."""
        ...

    def open(self, delivered: Collection[str], folder: Path | None) -> None:
        """Begin, or go on: the ids `delivered` are not delivered again; keep state in `folder`."""
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
    """A source whose items are at hand and cost nothing to look at again.

    Examples
    --------
    >>> isinstance(CallableSource(lambda n: ["a text"], "crawler"), ReplayableSource)
    False
    """

    def lookup(self, ids: Sequence[str]) -> Batch:
        """Return items that were delivered before."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of what it holds and of its order."""
        ...

    @property
    def ready(self) -> bool:
        """Whether its items come with strong features and weak probabilities."""
        ...

    def shuffled(self, rng: np.random.Generator) -> ReplayableSource:
        """A copy that has delivered nothing and has another order."""
        ...


class CallableSource:
    """Any function that delivers items: an API, a crawler, a labelling queue.

    ``function(n)`` returns or yields up to n items: texts, or pairs (id, item). A text without id
    gets a hash of its content, so that the same text is the same item. Items that were yielded
    before a failure or a timeout are delivered; items that come after it, and items beyond n, are
    kept and delivered by the next query. A function with a parameter `request` is told a name of
    the query that is the same when the query is repeated after a crash, for services that charge
    once for a request.

    Parameters
    ----------
    function : callable
    name : str
    cost : float
        Per item.
    size : int, optional
    retries : int
        Further attempts after an exception.
    backoff : float
        Seconds before the first retry; doubled before each further one.
    timeout : float, optional
        Seconds that a query waits. The function goes on in its thread, and until it has answered
        no second call is made.

    Examples
    --------
    >>> stream = iter(["red", "green", "blue"])
    >>> source = CallableSource(lambda n: [text for _, text in zip(range(n), stream)], "crawler")
    >>> source.query(2).items, source.query(2).items, source.query(2).items
    (('red', 'green'), ('blue',), ())
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        cost: float = 1.0,
        size: int | None = None,
        retries: int = 2,
        backoff: float = 1.0,
        timeout: float | None = None,
    ) -> None:
        if not callable(function):
            raise InputError(f"source {name!r} needs a function of n; got {function!r}")
        if retries < 0 or not backoff >= 0 or (timeout is not None and not timeout > 0):
            raise InputError(
                f"source {name!r} needs retries >= 0, backoff >= 0 and timeout > 0; "
                f"got {retries!r}, {backoff!r} and {timeout!r}"
            )
        self.function, self.name, self.cost, self.size = (
            function,
            name,
            check_cost(name, cost),
            size,
        )
        self.retries, self.backoff, self.timeout = retries, backoff, timeout
        self._stock = Stock(name, None, ())
        self._running: Request | None = None

    def __repr__(self) -> str:
        size = "unknown size" if self.size is None else f"{self.size:,} items"
        return f"CallableSource({self.name!r}, {size}, cost={self.cost:g})"

    def open(self, delivered: Collection[str], folder: Path | None = None) -> None:
        """Find what came too late for an earlier query and was kept in `folder`."""
        self._stock = Stock(self.name, folder, delivered)

    def query(self, n: int, request: str = "") -> Batch:
        """Deliver up to n items: what is in stock, or else what the function answers.

        Raises
        ------
        SourceError
            If the function fails in every attempt, or answers something that is no items.
        SourceTimeout
            If nothing came in time.
        """
        items = self._stock.take(n)
        if items:
            return as_batch(items)
        if self._running is not None and self._running.finished:
            self._running = None  # all that it brought was delivered
        if self._running is None:
            self._running = Request(self, n, request, self._stock)
        answered = self._running.wait(self.timeout)
        items, error = self._stock.take(n), self._running.error
        if answered:
            self._running = None
        elif not items:
            raise SourceTimeout(
                f"source {self.name!r} did not answer within {self.timeout:g} s; what it "
                "delivers later is kept for its next query"
            )
        if error is not None and not items:
            raise error
        if error is not None:
            logger.warning("%s; the %d items that came before are kept", error, len(items))
        return as_batch(items)
