"""Any function as a source: retries, timeouts, and a stock of items that came too late."""

from __future__ import annotations

import hashlib
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from w2s_data.errors import InputError
from w2s_data.utils.validation import check_parameters, nonnegative, one_of, positive, whole
from w2s_selectors.sources.base import Batch, SourceError, SourceTimeout, check_cost
from w2s_selectors.sources.journal import read_batch, write_batch

logger = logging.getLogger("w2s_selectors")

Pair = tuple[str, Any]  # an id and its item


class CallableSource:
    """Any function that delivers items: an API, a crawler, a labelling queue.

    ``function(n)`` returns or yields up to n items: texts, or pairs (id, item). A text without id
    gets a hash of its content, so that the same text is the same item. Items that were yielded
    before a failure or a timeout are delivered; items that come after it, and items beyond n, are
    kept and delivered by the next query. A function with a parameter `request` receives a name of
    the query that is the same when the query is repeated after a crash, for services that charge
    once per request.

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
        self._items: deque[Pair] = deque()
        self._lock = threading.Lock()
        self._n_files = 0
        known = set(delivered)
        for path in sorted(folder.glob("answer-*.parquet")) if folder else ():
            self._n_files = int(path.stem.removeprefix("answer-")) + 1
            batch, _ = read_batch(path)
            pairs = zip(batch.ids, batch.items or (), strict=True)
            waiting = [pair for pair in pairs if pair[0] not in known]
            known |= set(batch.ids)
            self._items.extend(waiting)
            if not waiting:  # all were delivered before
                path.unlink()

    def take(self, n: int) -> list[Pair]:
        """Remove and return up to n items, oldest first."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(n, len(self._items)))]

    def add(self, pair: Pair) -> None:
        """Add an item at the end."""
        with self._lock:
            self._items.append(pair)

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
                for pair in self._pairs():
                    self._stock.add(pair)
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

    def _pairs(self) -> Iterable[Pair]:
        function, name = self._source.function, self._source.name
        named = {"request": self._request} if "request" in _parameters(function) else {}
        answer = function(self._n, **named)
        # A text is iterable too, letter by letter.
        if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
            raise SourceError(
                f"source {name!r} must answer with items: texts, or pairs (id, item); "
                f"got {type(answer).__name__}"
            )
        return (_pair(name, entry) for entry in answer)


def _pair(source: str, entry: Any) -> Pair:
    if isinstance(entry, str):
        content = entry.encode("utf-8", "surrogatepass")  # crawled text may hold lone surrogates
        return hashlib.blake2b(content, digest_size=16).hexdigest(), entry
    if isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], str | int):
        return str(entry[0]), entry[1]
    raise SourceError(
        f"source {source!r} must answer with texts, or pairs (id, item); got {entry!r:.60}"
    )


def _as_batch(pairs: Iterable[Pair]) -> Batch:
    listed = list(pairs)
    return Batch(tuple(name for name, _ in listed), tuple(item for _, item in listed))


def _parameters(function: Any) -> Collection[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return ()
