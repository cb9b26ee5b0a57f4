"""The dialect of a delimited text: its separator, its header, and whether quotes quote."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.data.readers.content import Content
from w2s_data.utils.typing import IntArray

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SAMPLED_RECORDS = 200
_SAMPLED_BYTES = 2**20
_BLOCK = 2**23  # bytes looked at in one step
_QUOTE, _LF, _CR = b'"'[0], b"\n"[0], b"\r"[0]


@dataclass(frozen=True)
class Header:
    """The first record of a delimited text."""

    names: tuple[str, ...]
    separator: str
    body: int  # position of the first byte after the header
    line: int  # number of the first line after the header
    n_fields: int  # of records, in the sample
    sample: str  # of the records after the header


def read_header(content: Content, usual: str) -> Header | None:
    """Return separator and header, by the first records; None for an empty text."""
    sample, whole = _sample(content)
    # Excel writes the separator itself before the header.
    stated = re.match(r'\s*"?sep=(.)"?\r?\n', sample)
    skipped = stated[0] if stated else re.match(r"\s*\n|", sample)[0]  # type: ignore[index]
    sample = sample[len(skipped) :]
    if not sample.strip():
        return None
    separator = stated[1] if stated else _separator(sample, whole, usual)
    lines = _lines(sample)
    reader = csv.reader(lines, delimiter=separator)
    names = next(reader)
    n_lines = reader.line_num
    head = skipped + "".join(lines[:n_lines])
    rest = lines[n_lines:]
    # Some way to read quotes gives some record as many fields as the header, unless all slid.
    found = {
        len(record)
        for way in (rest, map(unescaped, rest))
        for record in csv.reader(way, delimiter=separator)
        if record
    }
    return Header(
        names=tuple(names),
        separator=separator,
        body=content.start + len(head.encode()),
        line=len(_lines(skipped)) + n_lines + 1,
        n_fields=len(names) if len(names) in found or not found else max(found),
        sample="".join(rest),
    )


def unescaped(line: str) -> str:
    """Return a line with quotes doubled that a backslash escapes; other backslashes are kept."""
    return re.sub(r'\\(["\\])', lambda match: '""' if match[1] == '"' else "\\", line)


def _lines(text: str) -> list[str]:
    # `str.splitlines` would also divide at separators that only Unicode knows.
    if "\n" not in text:
        return list(io.StringIO(text, newline=""))  # ends of lines on old computers
    return list(io.StringIO(re.sub("\r(?!\n)", " ", text), newline="\n"))


def _sample(content: Content) -> tuple[str, bool]:
    """Return whole lines from the beginning, and whether they are the whole text."""
    end = min(len(content.data), content.start + _SAMPLED_BYTES)
    head = bytes(content.data[content.start : end])
    whole = end == len(content.data)
    if not whole and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    try:
        return head.decode("utf-8"), whole
    except UnicodeDecodeError as error:
        # A line longer than the sample may end in the middle of a character.
        if not whole and error.start > len(head) - 4:
            return head.decode("utf-8", "ignore"), whole
        raise content.not_utf8() from error


def _separator(sample: str, whole: bool, usual: str) -> str:
    """Return the separator that divides the first records into the most regular table."""
    lines = _lines(sample)
    scores = {}
    for candidate in (usual, *(name for name in NAMES if name != usual)):
        # With and without quoting, since quotes may be unbalanced characters of texts.
        ways = (csv.QUOTE_MINIMAL, csv.QUOTE_NONE)
        scores[candidate] = max(_regularity(lines, candidate, way, whole) for way in ways)
    best = max(scores, key=lambda candidate: scores[candidate])  # the first of equals
    return best if scores[best] > scores[usual] else usual


def _regularity(lines: list[str], separator: str, quoting: Any, whole: bool) -> tuple[float, int]:
    """Return the share of records with the usual number of fields, and that number."""
    reader = csv.reader(lines, delimiter=separator, quoting=quoting)
    records = [len(record) for record in itertools.islice(reader, _SAMPLED_RECORDS) if record]
    if not whole and len(records) > 2:
        records.pop()  # the end of the sample may cut it
    header, *others = records
    usual, count = Counter(others or [header]).most_common(1)[0]
    # Rows may have one field more, a row name, or one less, after a comma at the header's end.
    if header < 2 or abs(usual - header) > 1:
        return 0.0, 0
    return count / max(1, len(others)), header


@dataclass(frozen=True)
class Audit:
    """Facts about a text, found without parsing it."""

    quoted: bool  # it holds quotes, each of which opens, closes or doubles as the format says
    records: int
    longest: int  # bytes of the longest record


def audit(content: Content, body: int, separator: str) -> Audit | None:
    """Count the records after the header; None if quotes or line ends are irregular."""
    view = np.frombuffer(content.data, dtype=np.uint8)[body:]
    if not len(view):
        return Audit(False, 0, 0)
    quotes, returns = _positions(view, _QUOTE), _positions(view, _CR)
    following = view[np.minimum(returns + 1, len(view) - 1)]
    if len(returns) and (returns[-1] == len(view) - 1 or (following != _LF).any()):
        return None  # line ends of old computers, or in the middle of a text
    if not _is_balanced(view, quotes, ord(separator)):
        return None
    ends = _positions(view, _LF)
    if len(quotes):
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]  # the others lie in quoted cells
    if view[-1] != _LF:
        ends = np.append(ends, len(view))
    lengths = np.diff(ends, prepend=-1) - 1
    has_return = (lengths > 0) & (view[ends - 1] == _CR)
    return Audit(
        quoted=bool(len(quotes)),
        records=int(np.count_nonzero(lengths - has_return)),
        longest=int(lengths.max()),
    )


def _positions(view: Any, byte: int) -> IntArray:
    # By blocks, since a comparison makes one more byte for each byte compared.
    found = [
        np.flatnonzero(view[first : first + _BLOCK] == byte) + first
        for first in range(0, len(view), _BLOCK)
    ]
    return np.concatenate(found)


def _is_balanced(view: Any, quotes: IntArray, separator: int) -> bool:
    """Return whether every quote opens at a cell's beginning and closes at its end."""
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    before = view[np.maximum(opening - 1, 0)]
    after = view[np.minimum(closing + 1, len(view) - 1)]
    # Two quotes in a row stand for one in the text: they close and open again.
    opens = (opening == 0) | np.isin(before, (separator, _LF, _QUOTE))
    closes = (closing == len(view) - 1) | np.isin(after, (separator, _LF, _CR, _QUOTE))
    return bool(opens.all() and closes.all())


def records(
    lines: Iterable[str], first_line: int, **dialect: Any
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line, from 1, and the fields of each record; csv.Error names the line."""
    reader = csv.reader(lines, strict=True, **dialect)
    line = first_line
    try:
        for record in reader:
            if record:  # no blank line
                yield line, record
            line = first_line + reader.line_num
    except csv.Error as error:
        raise csv.Error(line, str(error)) from error


def all_texts_are_quoted(header: Header) -> bool:
    """Return whether the first records quote every cell but numbers and NA, as R does."""
    mark = re.escape(header.separator)
    sample = re.sub(rf"(?<={mark})NA(?={mark}|\r?\n)", "0", header.sample)
    reader = csv.reader(_lines(sample), delimiter=header.separator, quoting=csv.QUOTE_NONNUMERIC)
    try:
        first = next((record[0] for record in reader if record), None)
        return isinstance(first, str) and all(True for _ in reader)
    except (ValueError, csv.Error):
        return False
