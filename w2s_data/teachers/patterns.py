"""Regular expressions of users: compiled with one line about errors, searched within a time."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.utils.typing import BoolArray

SECONDS = 10.0  # of one text; patterns without nested repeats take microseconds
# Letters of scripts that leave no space between words: Thai, Lao, Khmer, kana, Chinese.
_SPACELESS = "[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"


def compiled(pattern: str, what: str, flags: int = 0) -> re.Pattern[str]:
    """Compile a pattern; raise InputError with its text and the position of the error.

    >>> compiled("(?i)^pos(", "map")
    Traceback (most recent call last):
    w2s_data.errors.InputError: map: the pattern '(?i)^pos(' is not a regular expression: missing ),
    unterminated subpattern at position 8
    """
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(
            f"{what}: the pattern {pattern!r} is not a regular expression: {error}"
        ) from error


def whole_words(words: Sequence[str]) -> str:
    r"""Return a pattern that finds any of some words, the longest one where several begin.

    Parts of longer words and of decimal numbers are left out, and a space stands for any blanks.

    >>> re.findall(whole_words(["good", "very good", "1"]), "very  good, goods, 1.5 and 1.")
    ['very  good', '1']
    """
    longest_first = sorted(words, key=len, reverse=True)
    parts = [r"\s+".join(map(re.escape, word.split())) for word in longest_first]
    # A number after a minus or within a decimal number is another number.
    number = r"(?<!\d[.,])(?<!-(?=\d))"
    starts, ends = rf"(?:(?<!\w)|(?={_SPACELESS})){number}", rf"(?:(?!\w)|(?<={_SPACELESS}))"
    return rf"{starts}(?:{'|'.join(parts)}){ends}(?![.,]\d)"


def found_in(pattern: re.Pattern[str], texts: Sequence[str], what: str) -> BoolArray:
    """Return whether a pattern matches anywhere in each text (n,).

    Raises
    ------
    InputError
        If it takes longer than `SECONDS` on one text. This is seen in the main thread of systems
        with timers, and elsewhere the search goes on.
    """
    matches = np.zeros(len(texts), dtype=bool)
    row = [0]  # that is being searched
    try:
        with _watched(row):
            for row[0], text in enumerate(texts):
                matches[row[0]] = pattern.search(text) is not None
    except TimeoutError as error:
        text = texts[row[0]]
        raise InputError(
            f"{what}: the pattern {pattern.pattern!r} takes over {SECONDS:g} s on a text of "
            f"{len(text):,} characters ({text[:40]!r}...): repeats inside repeats, as in (a+)+, "
            "take exponential time; write it without them"
        ) from error
    return matches


@contextmanager
def _watched(row: list[int]) -> Iterator[None]:
    """Raise TimeoutError in a block that stays at one row for `SECONDS`, if there are timers."""
    in_main = threading.current_thread() is threading.main_thread()
    # Only signals reach the inside of a search, and they belong to the main thread.
    if not (in_main and hasattr(signal, "setitimer")):
        yield
        return
    seen = [-1]

    def tick(_number: int, _frame: Any) -> None:
        if seen == row:
            raise TimeoutError
        seen[:] = row

    before = signal.signal(signal.SIGVTALRM, tick)
    # The timer counts this process's own time, so that a busy machine refuses nothing; and one
    # serves all texts, since setting one for each would take longer than the searches.
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        # None stands for a handler that another language installed.
        signal.signal(signal.SIGVTALRM, before or signal.SIG_DFL)
