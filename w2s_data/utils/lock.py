"""One writer at a time: a lock file that the operating system frees when its process ends.

The file stays where it is, empty while nobody writes. Locks are held per thread, and taken again
freely by the thread that holds them.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, SoftFileLock, Timeout

from w2s_data.errors import BusyError, first_line

logger = logging.getLogger("w2s_data")

LOCK = ".lock"  # hidden: a run and a store list their other files
POLL_SECONDS = 0.1
LONGEST_COMMAND = 100


@contextmanager
def writing(folder: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder; what is written there, e.g. "the run 'R'", is named in messages.

    Where another process holds it, say so in one line and wait for its end, or raise BusyError if
    not `wait`.
    """
    lock, path = _lock_of(folder)
    entered = lock.is_locked
    try:
        _acquire(lock, path, what, wait)
    except OSError as error:
        # A disk that nobody can write needs no lock; one that knows no locks is worth a line.
        if os.access(folder, os.W_OK):
            logger.warning("%s is not locked (%s): let one process at a time write it", what, error)
        yield
        return
    try:
        if not entered:
            _leave_name(lock, path)
        yield
    finally:
        if not entered:
            _erase_name(lock, path)
        lock.release()


def _lock_of(folder: Path) -> tuple[Any, Path]:
    path = folder.absolute() / LOCK
    # One object per file and process, so that a thread may enter again.
    return FileLock(path, is_singleton=True, poll_interval=POLL_SECONDS), path


def _acquire(lock: Any, path: Path, what: str, wait: bool) -> None:
    with suppress(Timeout):
        lock.acquire(timeout=0)
        return
    if not wait:
        raise BusyError(
            f"{what} is being written by {_described(path)}; try again when it has ended, or wait "
            "for it"
        )
    logger.warning("%s is being written by %s; waiting for its end", what, _described(path))
    lock.acquire(timeout=-1)


def holder(folder: Path) -> str | None:
    """Describe the process that holds the lock of a folder; None if nobody does.

    The file is not made, and the lock is taken for an instant only.
    """
    lock, path = _lock_of(folder)
    if not path.is_file():
        return None
    if lock.is_locked:
        return _described(path)
    try:
        with lock.acquire(timeout=0):
            return None
    except Timeout:
        return _described(path)
    except OSError:  # without the right to write nobody can tell
        return None


def _leave_name(lock: Any, path: Path) -> None:
    if isinstance(lock, SoftFileLock):  # which keeps a record of its own in the file
        return
    name = {
        "pid": os.getpid(),
        "host": platform.node(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:LONGEST_COMMAND],
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with suppress(OSError):  # the name is a courtesy, the lock holds without it
        path.write_text(json.dumps(name), encoding="utf-8")


def _erase_name(lock: Any, path: Path) -> None:
    if not isinstance(lock, SoftFileLock):
        with suppress(OSError):
            os.truncate(path, 0)


def _described(path: Path) -> str:
    """Describe the holder by what it left in the file, which may be nothing yet."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))
        pid, host = int(name["pid"]), str(name["host"])
        command, since = first_line(name["command"], LONGEST_COMMAND), str(name["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    place = "" if host == platform.node() else f" on {host}"
    return f"process {pid}{place} ({command}) since {since}"
