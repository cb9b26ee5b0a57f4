"""Any function as a source: retries, timeouts, and a stock of items that came too late."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray
from w2s_data.utils.validation import check_parameters, nonnegative, one_of, positive, whole
from w2s_selectors.sources.base import Batch, SourceError, SourceTimeout, check_cost
from w2s_selectors.sources.journal import read_batch, write_batch

logger = logging.getLogger("w2s_selectors")


class Entry(NamedTuple):
    """An item as a function delivers it, with what it says of its weak label."""

    id: str
    item: Any
    weak_proba: AnyArray | None = None
    trust: float = math.nan


class CallableSource:
    """Any function that delivers items: an API, a crawler, a labelling queue.

    ``function(n)`` returns or yields up to n items: texts, pairs (id, item), or mappings with
    "item" and perhaps "id", "weak_proba" (C numbers) and "trust" (the chance in [0, 1] that the
    weak label is right). A text without id gets a hash of its content, so that the same text is
    the same item. Unless all items of a delivery have "weak_proba", the weak model of the selection
    labels them; without "trust" it is not known.

    Items that were yielded before a failure or a timeout are delivered; items that come after it,
    and items beyond n, are kept and delivered by the next query. A function with a parameter
    `request` receives a name of the query that is the same when the query is repeated after a
    crash, for services that charge once per request.

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
        Seconds that a query waits. The function continues in its thread, and until it has answered
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
        self.function, self.name, self.size = function, name, size
        self.cost = check_cost(name, cost)
        self.retries, self.backoff, self.timeout = retries, backoff, timeout
        limits = {"retries": whole(0), "backoff": nonnegative, "timeout": one_of(None) | positive}
        check_parameters(self, limits)
        self._stock = _Stock(None, ())
        self._running: _Call | None = None

    def __repr__(self) -> str:
        size = "unknown size" if self.size is None else f"{self.size:,} items"
        return f"CallableSource({self.name!r}, {size}, cost={self.cost:g})"

    def open(self, delivered: Collection[str], folder: Path | None = None) -> None:
        """Load items that came too late for an earlier query and were kept in `folder`."""
        self._stock = _Stock(folder, delivered)

    def query(self, n: int, request: str = "") -> Batch:
        """Deliver up to n items: from the stock, or else the answer of the function.

        Raises SourceTimeout if nothing came in time, SourceError if every attempt failed.
        """
        items = self._stock.take(n)
        if items:
            return _as_batch(items)
        if self._running is not None and self._running.finished:
            self._running = None  # all its items were delivered
        if self._running is None:
            self._running = _Call(self, n, request, self._stock)
        answered = self._running.wait(self.timeout)
        items, error = self._stock.take(n), self._running.error
        if answered:
            self._running = None
        elif not items:
            raise SourceTimeout(
                f"source {self.name!r} did not answer within {self.timeout:g} s; items that it "
                "delivers later are kept for its next query"
            )
        if error is not None and not items:
            raise error
        if error is not None:
            logger.warning("%s; the %d items that came before are kept", error, len(items))
        return _as_batch(items)


class _Stock:
    """Items that a source has answered and not delivered yet, on disk where a folder is given."""

    def __init__(self, folder: Path | None, delivered: Collection[str]) -> None:
        self._folder = folder
        self._items: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._n_files = 0
        known = set(delivered)
        for path in sorted(folder.glob("answer-*.parquet")) if folder else ():
            self._n_files = int(path.stem.removeprefix("answer-")) + 1
            batch, _ = read_batch(path)
            waiting = [entry for entry in _entries(batch) if entry.id not in known]
            known |= set(batch.ids)
            self._items.extend(waiting)
            if not waiting:  # all were delivered before
                path.unlink()

    def take(self, n: int) -> list[Entry]:
        """Remove and return up to n items, oldest first."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(n, len(self._items)))]

    def add(self, entry: Entry) -> None:
        """Add an item at the end."""
        with self._lock:
            self._items.append(entry)

    def save(self) -> None:
        """Write the items that nobody has taken yet; the next query may be far away."""
        with self._lock:
            if self._folder is not None and self._items:
                path = self._folder / f"answer-{self._n_files:06d}.parquet"
                self._n_files += 1
                write_batch(path, _as_batch(self._items))


class _Call:
    """One call of a source's function, with retries, in a thread that fills the stock."""

    def __init__(self, source: CallableSource, n: int, request: str, stock: _Stock) -> None:
        self.error: SourceError | None = None
        self._source, self._n, self._request, self._stock = source, n, request, stock
        self._abandoned = False
        self._lock = threading.Lock()
        self._done = threading.Event()
        # A daemon: a function that hangs must not keep the program from ending.
        threading.Thread(target=self._run, name=f"w2s-{source.name}", daemon=True).start()

    @property
    def finished(self) -> bool:
        """Whether the function has answered or failed for good."""
        return self._done.is_set()

    def wait(self, timeout: float | None) -> bool:
        """Wait at most `timeout` seconds; return whether the function has finished."""
        try:
            self._done.wait(timeout)
        finally:  # after Ctrl-C too: from here on the thread saves the items that still come
            with self._lock:
                self._abandoned = not self._done.is_set()
        return not self._abandoned

    def _run(self) -> None:
        n_received = 0
        for attempt in range(self._source.retries + 1):
            if attempt:
                time.sleep(self._source.backoff * 2 ** (attempt - 1))
            try:
                for entry in self._answer():
                    self._stock.add(entry)
                    n_received += 1
                self.error = None
                break
            except SourceError as error:  # an answer that a further attempt would not change
                self.error = error
                break
            except Exception as error:  # whatever the user's function may raise
                self.error = SourceError(
                    f"source {self._source.name!r} failed "
                    f"{attempt + 1} {'time' if attempt == 0 else 'times'}, last with "
                    f"{type(error).__name__}: {error}"
                )
                self.error.__cause__ = error
                if n_received:  # these items are paid for: a further attempt might pay again
                    break
        with self._lock:
            if self._abandoned or n_received > self._n:
                self._stock.save()
            self._done.set()

    def _answer(self) -> Iterable[Entry]:
        function, name = self._source.function, self._source.name
        named = {"request": self._request} if "request" in _parameters(function) else {}
        answer = function(self._n, **named)
        # A text is iterable too, letter by letter.
        if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
            raise SourceError(
                f"source {name!r} must answer with items: texts, or pairs (id, item); "
                f"got {type(answer).__name__}"
            )
        return (_entry(name, given) for given in answer)


def _entry(source: str, given: Any) -> Entry:
    if isinstance(given, str):
        content = given.encode("utf-8", "surrogatepass")  # crawled text may hold lone surrogates
        return Entry(hashlib.blake2b(content, digest_size=16).hexdigest(), given)
    if isinstance(given, Mapping) and "item" in given and set(given) <= set(Entry._fields):
        bare = given["item"] if "id" not in given else (given["id"], given["item"])
        return _entry(source, bare)._replace(**_numbers(source, given))
    if isinstance(given, tuple | list) and len(given) == 2 and isinstance(given[0], str | int):
        return Entry(str(given[0]), given[1])
    raise SourceError(
        f"source {source!r} must answer with texts, pairs (id, item), or mappings with item and "
        f"perhaps id, weak_proba, trust; got {given!r:.60}"
    )


def _numbers(source: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a function says of an item's weak label."""
    proba, trust = given.get("weak_proba"), given.get("trust")
    try:
        return {
            "weak_proba": None if proba is None else np.asarray(proba, np.float64).reshape(-1),
            "trust": np.nan if trust is None else float(trust),
        }
    except (TypeError, ValueError):
        raise SourceError(
            f"source {source!r} must give numbers as weak_proba and trust; "
            f"got {proba!r:.60} and {trust!r:.60}"
        ) from None


def _as_batch(entries: Iterable[Entry]) -> Batch:
    listed = list(entries)
    proba = [entry.weak_proba for entry in listed if entry.weak_proba is not None]
    trust = np.array([entry.trust for entry in listed])
    # Some probabilities are as good as none: one weak model must have labelled a whole delivery.
    labelled = 0 < len(proba) == len(listed) and len({len(row) for row in proba}) == 1
    return Batch(
        tuple(entry.id for entry in listed),
        tuple(entry.item for entry in listed),
        weak_proba=np.array(proba) if labelled else None,
        trust=None if np.isnan(trust).all() else trust,
    )


def _entries(batch: Batch) -> Iterator[Entry]:
    n = len(batch)
    proba = [None] * n if batch.weak_proba is None else batch.weak_proba
    trust = [np.nan] * n if batch.trust is None else batch.trust
    return map(Entry, batch.ids, batch.items or (), proba, trust)


def _parameters(function: Any) -> Collection[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return ()
