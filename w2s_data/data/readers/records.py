"""Read JSON: one object per line, or one array of objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from w2s_data.data.readers.content import Content, Unreadable
from w2s_data.data.readers.table import join_frames

_ROWS_A_CHUNK = 50_000  # data frames are several times smaller than lists of dicts
_BYTES_A_CHUNK = 2**25
_EXACT = 2**53  # floats hold each whole number up to it
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
    return join_frames([_frame(chunk) for chunk in _chunks(objects)])


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
    for number, line in content.lines():
        if line.isspace() or not line:
            continue
        place = f"line {number}"
        text = _text(line, content)
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _not_json(place, error, "; give one object per line, or one array") from error
        only, n_objects = _checked(record, text, place), n_objects + 1
        yield len(line), record
    if n_objects == 1 and len(only) and all(isinstance(v, dict | list) for v in only.values()):
        _refuse_columns(only)


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
        yield end - at, _checked(record, text[at:end], place)
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


def _checked(record: Any, source: str, place: str) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise Unreadable(f"{place} is not a JSON object but {type(record).__name__}")
    if re.search(r"\\u[dD][89a-fA-F]", source):
        try:  # most are emoji, whose halves stand together
            json.dumps(record, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise Unreadable(
                f"{place} holds half of a surrogate pair, which is not a character"
            ) from error
    return record


def _not_json(place: str, error: Exception, advice: str = "") -> Unreadable:
    if isinstance(error, RecursionError):
        return Unreadable(f"{place} is nested too deeply")
    return Unreadable(f"{place} is not whole JSON ({error}){advice}")


def _frame(chunk: list[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame.from_records(chunk)
    # Missing values turn whole numbers into floats, which would round long ids.
    for name in frame.columns[(frame.dtypes == "float64").to_numpy()]:
        if (frame[name].abs() >= _EXACT).any():
            frame[name] = pd.Series([row.get(name) for row in chunk], dtype=object)
    return frame
