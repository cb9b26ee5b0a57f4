"""Pieces that several sections of the summary share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from w2s_reports.formats import has_interval, plain

Estimate = Mapping[str, Any]  # value, low, high, level


def estimate(values: Any, level: float | None = None) -> dict[str, Any]:
    """Read an estimate of a stage's summary; every number is None where there is none."""
    given = values if isinstance(values, Mapping) else {}
    numbers = {name: plain(given.get(name)) for name in ("value", "low", "high")}
    # A bare number has no interval, so that a level would promise what is not there.
    known = plain(given.get("level", level)) if None not in numbers.values() else None
    return numbers | {"level": known}


def average(rows: Sequence[Mapping[str, Any]], key: str, weight: str) -> float | None:
    """Average an estimate of groups, weighted by the items it was computed on; None of none.

    Weighted, so that a tiny group does not count as much as a large one.
    """
    known = [row for row in rows if row[key]["value"] is not None and row[weight]]
    total = sum(row[weight] for row in known)
    return sum(row[weight] * row[key]["value"] for row in known) / total if total else None


def from_columns(row: Mapping[str, Any], name: str, level: float | None = None) -> dict[str, Any]:
    """Read the estimate that a table holds as columns NAME, NAME_low and NAME_high."""
    limits = {side: row.get(f"{name}_{side}") for side in ("low", "high")}
    return estimate({"value": row.get(name)} | limits, level)


def difference(value: Estimate, other: Estimate) -> dict[str, Any]:
    r"""Subtract two independent estimates, with an interval where both have one of the same level.

    .. math:: d - \sqrt{(a - l_a)^2 + (u_b - b)^2}, \quad d + \sqrt{(u_a - a)^2 + (b - l_b)^2}

    with :math:`d = a - b` and limits l and u: the "square-and-add" interval of Newcombe (*Interval
    estimation for the difference between independent proportions*, 1998, method 10) and of Zou and
    Donner (2008), which keeps skewed intervals skewed.
    """
    a, b = value["value"], other["value"]
    if a is None or b is None:
        return estimate(None)
    if not (has_interval(value) and has_interval(other)) or value["level"] != other["level"]:
        return estimate({"value": a - b})
    below = math.hypot(a - value["low"], other["high"] - b)
    above = math.hypot(value["high"] - a, b - other["low"])
    return estimate({"value": a - b, "low": a - b - below, "high": a - b + above}, value["level"])


def texts(values: Sequence[Any] | None) -> list[str]:
    """Return a list of sentences that may be absent."""
    return [str(text) for text in values or ()]


def sentence(text: str) -> str:
    """Add a capital at the start and a full stop at the end."""
    text = text.strip()
    # Readings of the stages are fragments in the terminal and sentences on the page.
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:] if text else ""


def named(rows: Sequence[Mapping[str, Any]], spell: Callable[[Any], str], limit: int = 3) -> str:
    """List the first few of many in words."""
    listed = ", ".join(spell(row) for row in rows[:limit])
    return f"{listed} and {len(rows) - limit} more" if len(rows) > limit else listed
