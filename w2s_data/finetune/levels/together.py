"""Several processes under one command: the first leads, the others help with its trainings.

`accelerate launch` starts the same program several times. The first process alone reads, decides,
writes and prints. For each training of a whole model it sends a function to the others, and all
call it at once; between trainings the others wait. At the end they receive its result.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, cast

from w2s_data.errors import EngineError, InputError, first_line
from w2s_data.finetune.levels.precision import is_main, n_processes, process_device
from w2s_data.utils.warnings import silence

logger = logging.getLogger("w2s_data")

P = ParamSpec("P")
T = TypeVar("T")

# Between two trainings the first process may embed a corpus for hours.
LONGEST = timedelta(days=365)
# Seconds that a process which cannot train waits for the others to fail too, as by a setting.
FAILING = 60
FAILED = 2  # exit code of a process that failed alone, as of any bad input
LOST = (
    "another of the {n} processes ended in the middle of a training, and its own message says why; "
    "the same command resumes from here"
)


@dataclass
class _State:
    group: Any = None  # of all processes, over CPU memory
    leading: bool = False  # a function runs in the first process, and the others help
    training: bool = False  # all of them are in a shared call


@dataclass(frozen=True)
class _Done:
    """The end of a function that the first process led."""

    result: Any = None
    error: Exception | None = None


_state = _State()


def led(function: Callable[P, T]) -> Callable[P, T]:
    """Let the first of several processes call a function, and the others help it by `share`.

    All must call it, and all return its result or raise its error. A single process just calls it.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if n_processes() == 1 or _state.leading:
            return function(*args, **kwargs)
        _open()
        if is_main():
            return _lead(functools.partial(function, *args, **kwargs))
        return cast(T, _help())

    return call


def is_led() -> bool:
    """Return whether this process leads others, which wait for `share`."""
    return _state.leading and not _state.training


def share(own: Callable[..., T], others: Callable[..., Any], *arguments: Any) -> T:
    """Call a function in all processes at once, where this one leads; return its result here.

    `others` is what they call, a function that can be pickled. Raise EngineError if a process is
    lost.
    """
    if not is_led():
        return own(*arguments)
    _broadcast((others, arguments))
    return _together(functools.partial(own, *arguments))


def _open() -> None:
    """Connect the processes, once."""
    import torch.distributed as dist

    if _state.group is None:
        process_device("auto")  # accelerate connects them, and its trainings use that as well
        _state.group = dist.new_group(backend="gloo", timeout=LONGEST)


def _lead(function: Callable[[], T]) -> T:
    _state.leading = True
    done = _Done()
    try:
        result = function()
        done = _Done(result)
        return result
    except Exception as error:
        done = _Done(error=error)
        raise
    finally:
        _state.leading = False
        if not _state.training:  # else they wait for a gradient, until this process is gone
            _broadcast(done)


def _help() -> Any:
    """Join in what the first process shares, until it is done; return its result."""
    with silence():
        while not isinstance(told := _broadcast(), _Done):
            function, arguments = told
            try:
                _together(functools.partial(function, *arguments))
            except EngineError:
                raise
            except InputError:  # as in the first process, which decides what follows from it
                continue
    if told.error is not None:
        raise told.error
    return told.result


def _broadcast(told: Any = None) -> Any:
    """Send an object of the first process to all others; return it."""
    import torch.distributed as dist

    box = [told]
    try:
        dist.broadcast_object_list(box, src=0, group=_state.group)
    except RuntimeError as error:
        raise EngineError(LOST.format(n=n_processes())) from error
    except Exception as error:  # nothing is sent of what cannot be
        raise InputError(
            f"a training cannot be sent to the other processes ({first_line(error)}): leave out "
            "what cannot be pickled, such as callbacks, or train in one process"
        ) from error
    return box[0]


def _together(function: Callable[[], T]) -> T:
    """Call a function that all processes call at once; a failure must be that of all."""
    import torch.distributed as dist

    _state.training = True
    failure: InputError | None = None
    try:
        result = function()
    except InputError as error:
        failure = error
    except RuntimeError as error:
        if isinstance(error, getattr(dist, "DistError", ())) or "gloo" in str(error):
            raise EngineError(LOST.format(n=n_processes())) from error
        raise
    _agree(failure)
    _state.training = False
    if failure is not None:
        raise failure
    return result


def _agree(failure: InputError | None) -> None:
    """Raise unless a call failed in all processes or in none."""
    import torch.distributed as dist

    failed: list[Any] = [None] * n_processes()
    # They wait for a gradient of one that fails alone, and nothing but its end frees them.
    end = threading.Timer(FAILING, _end, (failure,))
    if failure is not None:
        end.start()
    try:
        dist.all_gather_object(failed, failure is not None, group=_state.group)
    except RuntimeError as error:
        raise EngineError(str(failure or LOST.format(n=n_processes()))) from error
    finally:
        end.cancel()
    if any(failed) and not all(failed):
        raise EngineError(str(failure or LOST.format(n=n_processes())))


def _end(failure: InputError) -> None:
    logger.error("error: %s", failure)
    os._exit(FAILED)
