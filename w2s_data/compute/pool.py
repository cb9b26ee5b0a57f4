"""Workers of one stage: assign blocks to them, replace those that die, and watch for progress."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from w2s_data._version import __version__
from w2s_data.compute.base import Job
from w2s_data.compute.cluster import Grant, resources
from w2s_data.compute.worker import Worker, versions
from w2s_data.errors import EngineError, InputError, first_line

logger = logging.getLogger("w2s_data")

# Deaths on one block, or before the first block, after which a stage fails.
MOST_DEATHS = 3
LOOK_SECONDS = 1.0  # often enough for a smooth progress bar
# A worker that uses this share of a CPU is computing, even if it has counted nothing yet.
BUSY = 0.1
# Results per worker that may wait in memory for a slow block before them.
AHEAD = 4
MUST_MATCH = ("w2s-data", "python")  # pickled functions of other versions fail or differ


@dataclass
class Block:
    """A block that is waiting or being computed."""

    number: int
    content: Any  # reference into the object store of Ray
    deaths: int = 0
    counted: int = 0  # units already reported as progress


@dataclass
class Member:
    """A worker of the pool: starting, computing a block, or idle."""

    actor: Any
    block: Block | None = None
    started: bool = False
    look: Any = None
    looked: float = field(default_factory=time.monotonic)
    cpu_seconds: float = 0.0


class Pool:
    """Workers of a cluster, which live from one call of `map` to the next."""

    def __init__(self, ray: Any, grant: Grant) -> None:
        self.grant = grant
        self._ray = ray
        self._kind = ray.remote(concurrency_groups={"look": 1})(Worker)
        self._members: list[Member] = []
        self._different: set[str] = set()

    def map(self, job: Job, *, threads: int, patience: float) -> Iterator[tuple[int, Any]]:
        """Yield (number, result) of each block, in order or as they are finished.

        `patience` seconds without progress are an error. The pool is closed unless every block
        was computed.
        """
        from ray.exceptions import RayError, RayTaskError

        self._common = (job.work, self._ray.put(job.state), threads)
        self._source = iter(job.blocks)
        self._advance = job.advance
        self._patience = patience
        self._window = AHEAD * self.grant.workers if job.ordered else None
        self._running: dict[Any, Member] = {}
        self._todo: deque[Block] = deque()
        self._pulled = self._turn = self._failed_starts = 0
        self._exhausted = False
        self._progressed = time.monotonic()
        is_whole = False
        try:
            while len(self._todo) < self.grant.workers and (block := self._pull()):
                self._todo.append(block)
            while len(self._members) < len(self._todo):
                self._members.append(self._made())
            for member in self._members[: len(self._todo)]:
                self._prepare(member)
            yield from self._results(job.ordered)
            is_whole = True
        except RayTaskError:  # a bug, with its traceback
            raise
        except RayError as error:
            raise EngineError(f"the Ray cluster failed: {_reason(error)}") from error
        finally:
            if not is_whole:
                self.close()
        for member in self._members:
            member.started, member.look = False, None

    def _results(self, ordered: bool) -> Iterator[tuple[int, Any]]:
        early: dict[int, Any] = {}  # results before their turn
        while self._hand_out():
            early.update(self._finished())
            self._hand_out()  # blocks are computed while results are made use of
            while early and (not ordered or self._turn in early):
                number = self._turn if ordered else next(iter(early))
                self._turn += 1
                yield number, early.pop(number)
                self._progressed = time.monotonic()  # the caller's own time is no standstill
                self._hand_out()

    def close(self) -> None:
        """Stop all workers."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members.clear()

    def _pull(self) -> Block | None:
        """Return the next block of the source, unless it is exhausted or too far ahead."""
        too_far = self._window is not None and self._pulled - self._turn >= self._window
        if self._exhausted or too_far:
            return None
        try:
            content = next(self._source)
        except StopIteration:
            self._exhausted = True
            return None
        self._pulled += 1
        return Block(self._pulled - 1, self._ray.put(content))

    def _made(self) -> Member:
        actor = self._kind.options(
            num_cpus=self.grant.cpus, num_gpus=self.grant.gpus, scheduling_strategy="SPREAD"
        ).remote()
        return Member(actor)

    def _prepare(self, member: Member) -> None:
        self._running[member.actor.prepare.remote(*self._common)] = member

    def _hand_out(self) -> bool:
        """Give each idle worker a block; return whether any block is unfinished."""
        for member in self._members:
            if not member.started or member.block is not None:
                continue
            block = self._todo.popleft() if self._todo else self._pull()
            if block is None:
                break
            member.block = block
            self._running[member.actor.run.remote(block.number, block.content)] = member
        return bool(self._todo) or any(member.block for member in self._members)

    def _finished(self) -> Iterator[tuple[int, Any]]:
        """Wait a moment; yield finished blocks, and replace workers that died."""
        from ray.exceptions import RayError, RayTaskError

        ready, _ = self._ray.wait(list(self._running), timeout=LOOK_SECONDS)
        for reference in ready:
            member = self._running.pop(reference)
            try:
                answer = self._ray.get(reference)
            except RayTaskError as error:
                _raise_cause(error)
            except RayError as error:
                self._replace(member, error)
                continue
            self._progressed = time.monotonic()
            if member.block is None:
                self._greet(member, answer)
                continue
            (result, units), block = answer, member.block
            member.block = None
            self._advance(max(0, units - block.counted))
            yield block.number, result
        self._look()
        if time.monotonic() - self._progressed > self._patience:
            raise EngineError(self._standstill())

    def _greet(self, member: Member, theirs: dict[str, str]) -> None:
        """Accept a worker, unless its versions would give other results."""
        member.started = True
        self._failed_starts = 0
        ours = versions()
        for name, version in ours.items():
            other = theirs.get(name)
            if other == version or name in self._different:
                continue
            line = f"a worker has {name} {other}, this process {version}"
            if name in MUST_MATCH:
                raise EngineError(f"{line}: install the same version on every machine")
            self._different.add(name)
            logger.warning("%s: results may differ in their last bits", line)

    def _replace(self, member: Member, error: Exception) -> None:
        """Start another worker for one that died, and return its block to the queue."""
        reason = _reason(error)
        self._members.remove(member)
        block = member.block
        if block is not None:
            block.deaths += 1
            self._todo.appendleft(block)
            deaths = block.deaths
        else:
            self._failed_starts += 1
            deaths = self._failed_starts
        if "ModuleNotFoundError" in reason:
            raise EngineError(
                f"a worker cannot import this package ({reason}): install w2s-data "
                f"{__version__} on every machine"
            )
        if deaths >= MOST_DEATHS:
            what = "on the same block" if block is not None else "before their first block"
            raise EngineError(
                f"{deaths} workers died {what}, most often for lack of memory: use fewer "
                f"workers or larger machines (finished blocks are kept). Ray reports: {reason}"
            )
        logger.warning("a worker died; its block is computed again (%s)", reason)
        self._members.append(self._made())
        self._prepare(self._members[-1])

    def _look(self) -> None:
        """Ask the workers for their progress."""
        from ray.exceptions import RayError

        for member in self._members:
            if member.block is None:
                continue
            if member.look is None:
                member.look = member.actor.look.options(concurrency_group="look").remote()
            if not self._ray.wait([member.look], timeout=0)[0]:
                continue
            try:
                number, units, cpu_seconds = self._ray.get(member.look)
            except RayError:  # it died, which the result of its block reports
                continue
            finally:
                member.look = None
            now = time.monotonic()
            if cpu_seconds - member.cpu_seconds > BUSY * (now - member.looked):
                self._progressed = now
            if number == member.block.number and units > member.block.counted:
                self._progressed = now
                self._advance(units - member.block.counted)
                member.block.counted = units
            member.looked, member.cpu_seconds = now, cpu_seconds

    def _standstill(self) -> str:
        """Describe why there is no progress."""
        starting = sum(not member.started for member in self._members)
        line = f"no progress for {self._patience:g} s: "
        if starting:
            line += (
                f"{starting} of {self.grant.workers} workers have not started; each needs "
                f"{self.grant.share}, and the cluster has {resources(self._ray)}; end "
                "other jobs there, or use fewer workers"
            )
        else:
            line += (
                f"{len(self._members)} workers hold a block and compute nothing "
                f"({resources(self._ray)})"
            )
        return f"{line}. Finished blocks are kept"


def _raise_cause(error: Any) -> None:
    """Raise in this process the error that the work raised in a worker."""
    cause = error.cause
    if isinstance(cause, InputError):
        raise cause from None
    if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
        raise EngineError(
            f"a worker ran out of memory ({first_line(cause)}): use fewer "
            "workers or larger machines. Finished blocks are kept"
        ) from error
    raise error


def _reason(error: Exception) -> str:
    """Return the reason that Ray gives for a death, in one line."""
    text = str(error)
    for mark in ("ModuleNotFoundError", "Worker exit detail:", "memory pressure", "The actor died"):
        if mark in text:
            return first_line(text[text.index(mark) :])
    return first_line(text)
