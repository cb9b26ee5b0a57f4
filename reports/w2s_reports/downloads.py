"""Tables of a summary that a page offers as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SENTENCES = ("verdict",)  # lists of sentences, not of numbers, which are no tables to download


def csv_tables(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List path, title and number of lines of each table; the page's script makes the CSV."""
    return [
        {"path": ".".join(path), "title": _title(path), "rows": sum(map(_lines, records))}
        for path, records in _found(summary, ())
        if path[0] not in SENTENCES
    ]


def _found(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _found(inner, (*path, str(key)))
    elif _is_table(value):
        yield path, value


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(record, Mapping) for record in value)


def _lines(record: Mapping[str, Any]) -> int:
    # With two lists in a record it is unclear which one makes the lines: it stays one line.
    inside = [value for value in record.values() if _is_table(value)]
    return len(inside[0]) if len(inside) == 1 else 1


def _title(path: tuple[str, ...]) -> str:
    shown = [part.replace("_", " ") for part in path if part != "rows"]
    return ": ".join(shown)
