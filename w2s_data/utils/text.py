"""Texts of unknown origin: made fit for a terminal, and sorted as people do."""

from __future__ import annotations

import re
from typing import Any

# Controls move the cursor or break the line, and surrogates cannot be encoded. Among format
# characters only those that reorder text are dangerous: others hold emoji together.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def printable(text: Any, *, lines: bool = False) -> str:
    r"""Replace what a terminal would obey by its escape: control and bidirectional characters.

    With `lines` the line feeds stay.

    >>> printable("\x1b[31mred\n")
    '\\x1b[31mred\\n'
    """
    pattern = _CONTROL_IN_LINES if lines else _CONTROL
    return pattern.sub(lambda found: repr(found[0])[1:-1], str(text))


def printable_json(text: str) -> str:
    r"""Escape the same characters in JSON, where they can only stand inside strings.

    >>> printable_json('{"source": "\u202egnp"}\n')
    '{"source": "\\u202egnp"}\n'
    """
    return _CONTROL_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts names by the numbers in them.

    >>> sorted(["p10", "p9"], key=natural_key)
    ['p9', 'p10']
    """
    # Texts and numbers alternate, so that a text is never compared with a number. A number is
    # compared by its digits, since Python makes no integer of more than 4,300 of them.
    parts = re.split(r"(\d+)", name)
    bare = [part.lstrip("0") if i % 2 else part for i, part in enumerate(parts)]
    return [(len(part) if i % 2 else 0, part) for i, part in enumerate(bare)]
