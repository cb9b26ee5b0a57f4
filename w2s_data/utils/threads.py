"""Threads of BLAS and torch, and parts of a computation on threads of their own."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, TypeVar

Part = TypeVar("Part")
T = TypeVar("T")

# Multiplications (n x D x C of a probe) below which BLAS has one thread: starting more costs more
# than it saves, and between two products they burn the cores that other processes need.
SERIAL_WORK = 10_000_000


def one_thread() -> AbstractContextManager[Any]:
    """Limit BLAS to one thread."""
    limits: AbstractContextManager[Any] = _libraries(*_loaded()).limit(limits=1)
    return limits


def threads_for(work: int) -> AbstractContextManager[Any]:
    """Limit BLAS to one thread for small problems, where threads cost more than they save."""
    return one_thread() if work < SERIAL_WORK else nullcontext()


def serial() -> AbstractContextManager[Any]:
    """Limit BLAS and OpenMP to one thread, for the small models of scikit-learn.

    The threads of its k-means wait for each other in every round, which takes seconds where other
    processes compute too, and their number changes the last bits.
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits


def n_threads() -> int:
    """Return how many threads BLAS uses."""
    libraries = _libraries(*_loaded())
    return max((library["num_threads"] for library in libraries.info()), default=1)


@contextmanager
def one_torch_thread() -> Iterator[int]:
    """Limit torch to one thread, also on threads that start meanwhile; yield how many it had."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def in_background(work: Callable[..., T], *args: Any) -> Future[T]:
    """Start a call on a thread of its own, and return what waits for its result.

    >>> in_background(max, 1, 2).result()
    2
    """
    threads = ThreadPoolExecutor(max_workers=1)
    started = threads.submit(work, *args)
    threads.shutdown(wait=False)
    return started


def for_each(
    work: Callable[[Part], None], parts: Iterable[Part], *, threads: int | None = None
) -> None:
    """Call a function with every part, on so many threads, by default as many as BLAS uses.

    Inside, BLAS has one thread. Its own threads would share a product, and leave all that comes
    before and after it to one; and on busy cores they wait for each other at every product.
    Parts are drawn from their iterator as they are needed, no more than one that waits.

    >>> done = []
    >>> for_each(done.append, range(4))
    >>> sorted(done)
    [0, 1, 2, 3]
    """
    threads = threads or n_threads()
    if threads == 1:
        with one_thread():
            for part in parts:
                work(part)
        return
    waiting: deque[Future[None]] = deque()
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > threads:
                    waiting.popleft().result()
            for started in waiting:
                started.result()  # raises what was raised on a thread
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def each_of(work: Callable[[Part], T], parts: Sequence[Part]) -> list[T]:
    """Return what a function returns for each part, computed by `for_each`.

    >>> each_of(abs, [-1, 2])
    [1, 2]
    """
    found: dict[int, T] = {}

    def keep(number: int) -> None:
        found[number] = work(parts[number])

    for_each(keep, range(len(parts)))
    return [found[number] for number in range(len(parts))]


def _loaded() -> tuple[bool, ...]:
    """Return which packages that bring a BLAS of their own are there by now."""
    return tuple(name in sys.modules for name in ("torch", "scipy.linalg", "faiss"))


@cache
def _libraries(*loaded: bool) -> Any:  # noqa: ARG001
    """Find the loaded BLAS libraries once, and again when a package has brought its own.

    Finding them takes 2.5 ms, far more than a prediction of a few hundred rows.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
