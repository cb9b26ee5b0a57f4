"""Pieces that several sections of the summary share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from w2s_reports.formats import plain

NUMBERS = ("value", "low", "high")


def estimate(found: Any) -> dict[str, Any]:
    """Value and limits of a written estimate; all None where there is none."""
    given = found if isinstance(found, Mapping) else {}
    return {name: plain(given.get(name)) for name in NUMBERS}


def from_columns(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The estimate that a table holds as columns `name`, `name_low` and `name_high`."""
    columns = zip(NUMBERS, (name, f"{name}_low", f"{name}_high"), strict=True)
    return {key: plain(row.get(column)) for key, column in columns}


def texts(found: Sequence[Any] | None) -> list[str]:
    """A list of sentences, possibly absent."""
    return [str(text) for text in found or ()]


def sentence(text: str) -> str:
    """A text with a capital at its start and a full stop at its end.

    >>> sentence("no student clearly beats the teacher")
    'No student clearly beats the teacher.'
    """
    text = text.strip()
    ended = text if text.endswith((".", "!", "?")) else f"{text}."
    return ended[:1].upper() + ended[1:] if text else ""


def named(rows: Sequence[Mapping[str, Any]], spell: Callable[[Any], str], limit: int = 3) -> str:
    """The first few of many, in words.

    >>> named([{"name": letter} for letter in "abcde"], lambda row: row["name"])
    'a, b, c and 2 more'
    """
    said = ", ".join(spell(row) for row in rows[:limit])
    return f"{said} and {len(rows) - limit} more" if len(rows) > limit else said
