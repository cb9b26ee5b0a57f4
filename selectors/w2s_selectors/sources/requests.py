"""Calls of a user's function in a thread, and the stock that its answers come into."""

from __future__ import annotations

import hashlib
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Protocol

from w2s_data.errors import InputError
from w2s_selectors.sources.batch import Batch
from w2s_selectors.sources.journal import read_batch, write_batch

logger = logging.getLogger("w2s_selectors")

Pair = tuple[str, Any]


class SourceError(InputError):
    """A source cannot deliver: its function failed, or answered something that is no items."""


class SourceTimeout(SourceError):
    """A source has not answered yet; what it delivers later is kept."""


class Stock:
    """Items that a source has answered and not delivered yet, on disk where a folder is given.

    Parameters
    ----------
    delivered : collection of str
        Ids that were delivered before; a file that holds no others is deleted.
    """

    def __init__(self, name: str, folder: Path | None, delivered: Collection[str]) -> None:
        self._name, self._folder = name, folder
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
            if not waiting:
                path.unlink()

    def take(self, n: int) -> list[Pair]:
        """Remove and return up to n items, oldest first."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(n, len(self._items)))]

    def add(self, pair: Pair) -> None:
        """Put an item in."""
        with self._lock:
            self._items.append(pair)

    def save(self) -> None:
        """Write what nobody has taken yet; it may wait for long."""
        with self._lock:
            if self._folder is not None and self._items:
                path = self._folder / f"answer-{self._n_files:06d}.parquet"
                self._n_files += 1
                write_batch(path, as_batch(self._items))


def as_batch(pairs: Iterable[Pair]) -> Batch:
    """A batch of (id, item) pairs."""
    listed = list(pairs)
    return Batch(tuple(name for name, _ in listed), tuple(item for _, item in listed))


class Caller(Protocol):
    """What a request needs to know of its source."""

    function: Any
    name: str
    retries: int
    backoff: float


class Request:
    """One call of a source's function, with retries, in a thread that fills the stock."""

    def __init__(self, source: Caller, n: int, request: str, stock: Stock) -> None:
        self.error: SourceError | None = None
        self._source, self._n, self._request, self._stock = source, n, request, stock
        self._abandoned = False
        self._lock = threading.Lock()
        self._done = threading.Event()
        threading.Thread(target=self._run, name=f"w2s-{source.name}", daemon=True).start()

    @property
    def finished(self) -> bool:
        """Whether the function has answered or failed for good."""
        return self._done.is_set()

    def wait(self, timeout: float | None) -> bool:
        """Whether the function has finished, after at most `timeout` seconds."""
        self._done.wait(timeout)
        with self._lock:  # the thread saves what it gets after this
            self._abandoned = not self._done.is_set()
            return not self._abandoned

    def _run(self) -> None:
        n_received = 0
        for attempt in range(self._source.retries + 1):
            if attempt:
                time.sleep(self._source.backoff * 2 ** (attempt - 1))
            try:
                for pair in self._call():
                    self._stock.add(pair)
                    n_received += 1
                self.error = None
                break
            except SourceError as error:  # an answer that a further attempt would not change
                self.error = error
                break
            except Exception as error:
                self.error = SourceError(
                    f"source {self._source.name!r} failed "
                    f"{attempt + 1} {'time' if attempt == 0 else 'times'}, last with "
                    f"{type(error).__name__}: {error}"
                )
                self.error.__cause__ = error
                if n_received:  # what has come is paid for: a further attempt might pay again
                    break
        with self._lock:
            late = self._abandoned
            if late or n_received > self._n:
                self._stock.save()
            self._done.set()

    def _call(self) -> Iterable[Pair]:
        source = self._source
        named = "request" in _parameters(source.function)
        answer = (
            source.function(self._n, request=self._request) if named else source.function(self._n)
        )
        if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
            raise SourceError(
                f"source {source.name!r} must answer with items: texts, or pairs (id, item); "
                f"got {type(answer).__name__}"
            )
        return (_pair(source.name, entry) for entry in answer)


def _pair(source: str, entry: Any) -> Pair:
    """An (id, item) pair of an entry of an answer."""
    if isinstance(entry, str):
        return hashlib.blake2b(
            entry.encode("utf-8", "surrogatepass"), digest_size=16
        ).hexdigest(), entry
    if isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[0], str | int):
        return str(entry[0]), entry[1]
    raise SourceError(
        f"source {source!r} must answer with texts, or pairs (id, item); got {entry!r:.60}"
    )


def _parameters(function: Any) -> Collection[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # some built-in functions have none
        return ()
