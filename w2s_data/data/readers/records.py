"""Read JSON: one object per line, or one array of objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from w2s_data.data.readers.content import Content, Unreadable, table_bytes, too_large
from w2s_data.data.readers.table import EXACT, join_frames
from w2s_data.errors import listing

_ROWS_A_CHUNK = 50_000  # data frames are several times smaller than lists of dicts
_BYTES_A_CHUNK = 2**25
_SPACE = " \t\r\n"
_ORIENT = "write it as one object per row, in pandas with to_json(orient='records', lines=True)"


def read_json(content: Content) -> pd.DataFrame:
    """Return a frame of the objects in a file; a key that an object lacks is missing there.

    Raise Unreadable with the line or the number of an object that is not whole.
    """
    data, start = content.data, content.start
    while start < len(data) and data[start : start + 1].isspace():
        start += 1
    objects = _array(content, start) if data[start : start + 1] == b"[" else _lines(content)
    frames: list[pd.DataFrame] = []
    keys: set[str] = set()
    n_rows = 0
    for chunk in _chunks(objects):
        keys = keys.union(*chunk)
        n_rows += len(chunk)
        # A small file of rows without a common key would fill the memory with empty cells.
        if 8 * n_rows * len(keys) > table_bytes(content.limit):
            raise Unreadable(
                f"{n_rows:,} objects have {len(keys):,} keys in all: {too_large(content.limit)}"
            )
        frames.append(_frame(chunk))
    return join_frames(frames)


def _chunks(objects: Iterator[tuple[int, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    chunk: list[Mapping[str, Any]] = []
    n_bytes = 0
    for size, record in objects:
        chunk.append(record)
        n_bytes += size
        if len(chunk) == _ROWS_A_CHUNK or n_bytes > _BYTES_A_CHUNK:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _lines(content: Content) -> Iterator[tuple[int, Any]]:
    """Yield size and object of each line that is not blank."""
    only: Any = None
    n_objects = 0
    decode = json.JSONDecoder().decode
    has_surrogates = _has_surrogates(content)
    for number, line in content.lines():
        try:
            record = decode(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise content.not_utf8() from error
        except (ValueError, RecursionError) as error:
            if line.isspace() or not line:
                continue
            advice = "; give one object per line, or one array"
            raise _not_json(f"line {number}", error, advice) from error
        if has_surrogates or not isinstance(record, dict):
            _check(record, f"line {number}")
        if n_objects == 0:
            _refuse_repeated(line.decode("utf-8"), f"line {number}")
        only, n_objects = record, n_objects + 1
        yield len(line), record
    if n_objects == 1 and len(only) and all(isinstance(v, dict | list) for v in only.values()):
        _refuse_columns(only)


def _has_surrogates(content: Content) -> bool:
    """Return whether a character is escaped that may be half of a pair; most make emoji."""
    return any(content.data.find(mark) >= 0 for mark in (b"\\ud", b"\\uD"))


def _refuse_columns(record: Mapping[str, Any]) -> None:
    """Raise if the only object of a file holds columns, or the rows under a key."""
    values = list(record.values())
    are_columns = all(isinstance(v, dict) and len(v) == len(values[0]) for v in values)
    are_numbered = are_columns and all(key.isdigit() for v in values for key in v)
    is_split = {"columns", "data"} <= set(record) or {"schema", "data"} <= set(record)
    if (are_columns and len(values) > 1) or are_numbered or is_split:
        raise Unreadable(f"it holds one object of columns; {_ORIENT}")
    key, rows = next(iter(record.items()))
    is_table = len(values) == 1 and bool(rows) and all(isinstance(row, dict) for row in rows)
    if is_table and isinstance(rows, list) and not {"role", "from"} & set(rows[0]):
        raise Unreadable(f"its rows lie under the key {key!r}; {_ORIENT}")


def _array(content: Content, start: int) -> Iterator[tuple[int, Any]]:
    """Yield size and object of each element of an array; the objects are parsed one by one."""
    text = _text(content.data[start:], content)
    decoder = json.JSONDecoder()
    has_surrogates = _has_surrogates(content)
    at, number = _skip(text, 1), 0
    while text[at : at + 1] != "]":
        if number:
            if text[at : at + 1] != ",":
                raise Unreadable(f"the array ends, or lacks a comma, after object {number - 1}")
            at = _skip(text, at + 1)
        place = f"object {number}"
        try:
            record, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _not_json(place, error) from error
        if has_surrogates or not isinstance(record, dict):
            _check(record, place)
        if number == 0:
            _refuse_repeated(text[at:end], place)
        yield end - at, record
        number += 1
        at = _skip(text, end)
    if text[at + 1 :].strip(_SPACE):
        raise Unreadable("text follows the end of the array; give one array, or one object a line")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _text(data: Any, content: Content) -> str:
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise content.not_utf8() from error


def _check(record: Any, place: str) -> None:
    """Raise for another value than an object, and for half of a surrogate pair in it."""
    if not isinstance(record, dict):
        raise Unreadable(f"{place} is not a JSON object but {type(record).__name__}")
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Unreadable(
            f"{place} holds half of a surrogate pair, which is not a character"
        ) from error


def _refuse_repeated(text: str, place: str) -> None:
    """Raise if an object names a key twice, of which JSON parsers keep the last."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if repeated:
            raise Unreadable(f"{place} repeats the key {listing(repeated, 3)}; rename one of them")
        return dict(pairs)

    json.loads(text, object_pairs_hook=check)


def _not_json(place: str, error: Exception, advice: str = "") -> Unreadable:
    if isinstance(error, RecursionError):
        return Unreadable(f"{place} is nested too deeply")
    return Unreadable(f"{place} is not whole JSON ({error}){advice}")


def _frame(chunk: list[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(chunk)
    # Missing values turn whole numbers into floats, which would round long ids.
    for name in frame.columns[(frame.dtypes == "float64").to_numpy()]:
        if (frame[name].abs() >= EXACT).any():
            frame[name] = pd.Series([row.get(name) for row in chunk], dtype=object)
    return frame
