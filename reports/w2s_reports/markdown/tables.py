"""Tables, estimates and escaping: how Markdown spells what the summary holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from w2s_reports.formats import interval, number, number_span, percent, signed, signed_interval

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!])")


def escape(text: Any) -> str:
    """Text that Markdown shows as it is: one line, no markup, no HTML.

    >>> escape("a|b <b>*c*</b>")
    'a\\\\|b \\\\<b\\\\>\\\\*c\\\\*\\\\</b\\\\>'
    """
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """An aligned Markdown table: the first column to the left, all others to the right.

    >>> print(table(["Source", "n"], [["web", "12"]]))
    | Source |   n |
    | :----- | --: |
    | web    |  12 |
    """
    lines = [list(header), *map(list, body)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(header))]

    def row(cells: Sequence[str]) -> str:
        pairs = zip(cells, widths, strict=True)
        aligned = [c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(pairs)]
        return f"| {' | '.join(aligned)} |"

    rule = [":" + "-" * (w - 1) if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([row(lines[0]), row(rule), *map(row, lines[1:])])


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval in brackets."""
    spread = interval(low, high)
    return f"{percent(value)} ({spread})" if spread else percent(value)


def share(found: Mapping[str, Any] | None) -> str:
    """An estimated share with its interval in brackets."""
    given = found or {}
    return with_interval(given.get("value"), given.get("low"), given.get("high"))


def points(found: Mapping[str, Any]) -> str:
    """A gain in percentage points with its interval in brackets."""
    limits = signed_interval(found["low"], found["high"])
    return signed(found["value"]) + (f" ({limits})" if limits else "")


def quoted(warnings: Iterable[str]) -> list[str]:
    """Warnings, each a quotation."""
    return [f"> **Warning:** {escape(warning)}" for warning in warnings]


def plain_number(found: Mapping[str, Any]) -> str:
    """An estimated number with its interval in brackets."""
    limits = number_span(found["low"], found["high"])
    return number(found["value"]) + (f" ({limits})" if limits else "")
