"""The last boundary of the program: whatever ends a command becomes one line and an exit code."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import typer

from w2s_data.cli.output import one_line, say
from w2s_data.errors import InputError, MissingExtraError, first_line
from w2s_data.utils.reading import reason_of

BAD_INPUT = 2
INTERNAL = 70  # EX_SOFTWARE of sysexits.h: a bug of ours, not bad input
# Exit codes of programs that a signal ended: 128 and the number of the signal.
INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
PIPE_CLOSED = 128 + 13  # SIGPIPE, which Windows does not have
RESUME = "the same command resumes from here"


class _TerminatedError(BaseException):
    """Raised by SIGTERM, so that a command closes its files as after Ctrl-C."""


def guarded(command: Callable[[], Any], *, debug: bool = False) -> int:
    """Run a command; return its exit code, and print one line if it fails.

    Bad input has code 2, a bug 70; with `debug` the traceback is printed before the line.

    >>> def command():
    ...     raise InputError("there is no column 'lable'")
    >>> guarded(command)
    2
    """
    try:
        with _escaped_streams(), _plain_warnings(), _terminable():
            code = command() or 0
            sys.stdout.flush()  # here, where a closed pipe can still be handled
            # typer may raise after Ctrl-C, or return this code.
            if code == INTERRUPTED:
                raise KeyboardInterrupt
            return int(code)
    except (typer.Abort, KeyboardInterrupt):
        say(f"interrupted; {RESUME}", err=True)
        return INTERRUPTED
    except _TerminatedError:
        say(f"terminated; {RESUME}", err=True)
        return TERMINATED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            return PIPE_CLOSED
        if debug:
            say(traceback.format_exc(), err=True)
        code, message = _described(error)
        say(message, err=True)
        return code


def _reader_has_gone() -> bool:
    """Return whether nobody reads the standard output any more, as after `head`."""
    # Asked of the pipe itself, since a broken connection elsewhere is an error to report.
    with suppress(OSError, ValueError):
        pipe = select.poll()
        pipe.register(sys.stdout.fileno(), 0)
        gone = any(event & select.POLLERR for _, event in pipe.poll(0))
        if gone:  # Python flushes once more at the end, and would complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return gone
    return False


def _described(error: Exception) -> tuple[int, str]:
    """Return exit code and line of a failure."""
    # Errors of the command line itself: their class depends on the version of typer.
    format_message = getattr(error, "format_message", None)
    if format_message is not None:
        # In some versions the words of pydantic, which says so.
        return BAD_INPUT, f"error: {one_line(format_message().replace('Value error, ', ''))}"
    if isinstance(error, InputError | MissingExtraError):
        return BAD_INPUT, f"error: {one_line(str(error))}"
    if isinstance(error, OSError):
        named = isinstance(error.filename, str | bytes | os.PathLike)
        place = f"{os.fsdecode(error.filename)!r}: " if named else ""
        return BAD_INPUT, f"error: {place}{reason_of(error)}"
    if isinstance(error, MemoryError):
        return BAD_INPUT, f"error: not enough memory ({first_line(error)}); lower --memory"
    return INTERNAL, (
        f"internal error: {type(error).__name__}: {first_line(error)} (please report it with the "
        "traceback that --debug prints)"
    )


@contextmanager
def _escaped_streams() -> Iterator[None]:
    """Print what the encoding of a terminal lacks as an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    yield


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print warnings as a line without the place in the code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        say(f"warning: {one_line(str(message))}", err=True)

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception inside the block; a second one ends the process at once."""

    def stop(number: int, _: Any) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise _TerminatedError

    # Python allows handlers in the main thread only, and a parent may ignore the signal on purpose.
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
