"""Read delimited text: CSV, TSV and their dialects.

A file in which every quote opens or closes a cell is parsed by Arrow. Any other is read record by
record, to repair what is certain and to name the line of what is not.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from w2s_data.data.readers.content import Content, Unreadable, row_bytes, text_lines
from w2s_data.data.readers.dialect import (
    NAMES,
    Audit,
    Header,
    all_texts_are_quoted,
    audit,
    read_header,
    records,
    unescaped,
)
from w2s_data.errors import listing, rows

_ROWS_A_CHUNK = 20_000
_LEAST_BLOCK = 2**20  # Arrow parses blocks of whole rows in parallel
_UNNAMED = "Unnamed: "  # as pandas calls columns without a name
_USUAL = {".csv": ",", ".tsv": "\t"}
# The `csv` module takes a return for the end of a row, also where rows end otherwise; meanwhile a
# character without a meaning stands for it.
_LONE_RETURN, _RETURN = re.compile("\r(?!\n)"), "\U0010fffd"
_MOST_COLUMNS = 100_000  # each takes memory of its own, however short
_MOST_WHOLLY_QUOTED = 0.1  # share of rows in a text whose quotes are only characters


class _Irregular(Exception):
    """A line that does not fit the way in which the text is read."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_delimited(content: Content, kind: str) -> tuple[pa.Table, list[str]]:
    """Return a table of strings, null where a cell is empty, and notes on its dialect.

    Raise Unreadable with the line of a row of another length, or of a quote that does not close.
    """
    with _field_limit(row_bytes(content.limit)):
        return _read_delimited(content, kind)


def read_names(content: Content, kind: str) -> list[str]:
    """Return the names of the columns; none of an empty text."""
    header = read_header(content, _USUAL[kind])
    return [] if header is None else _column_names(header)


def _read_delimited(content: Content, kind: str) -> tuple[pa.Table, list[str]]:
    header = read_header(content, _USUAL[kind])
    if header is None:
        raise Unreadable("it is empty")
    notes = []
    if header.separator != _USUAL[kind]:
        name = NAMES.get(header.separator, repr(header.separator))
        notes.append(f"cells are separated by {name}, unlike those of most {kind} files")
    names = _column_names(header)
    facts = audit(content, header.body, header.separator)
    table = None if facts is None else _parsed(content, header, names, facts)
    if table is None:
        table, more = _read_carefully(content, header, names)
        notes += more
    if kind == ".tsv" and len(names) > 1 and _broken_cells(table):
        # Texts rarely hold tabs: if each line is a row as it stands, its quotes are characters.
        plain = _attempt(content, header, names, quoting=csv.QUOTE_NONE)
        if plain is not None:
            table = plain
            notes.append("quotes are read as characters, since each line is a row as it stands")
    notes += _line_breaks(table, header.separator)
    table, more = _fitted(table, header)
    return table, notes + more


def _column_names(header: Header) -> list[str]:
    """Return unique names, as many as the rows have fields where that can be repaired."""
    names = list(header.names)
    if len(names) > _MOST_COLUMNS:
        raise Unreadable(f"its header has {len(names):,} columns, more than {_MOST_COLUMNS:,}")
    repeated = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if repeated:
        raise Unreadable(f"its header repeats {listing(repeated)}; rename all but one column")
    if header.n_fields == len(names) + 1:
        names.append("")
    elif header.n_fields == len(names) - 1 and not names[-1]:
        names.pop()  # only the header ends in a separator
    return [name or f"{_UNNAMED}{i}" for i, name in enumerate(names)]


def _parsed(content: Content, header: Header, names: list[str], facts: Audit) -> pa.Table | None:
    """Parse by Arrow; return None if rows differ in length, or are not those counted before."""
    content.check_row(facts.longest, header.line)
    if facts.records == 0:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(pa.py_buffer(content.data).slice(header.body)),
            pa.csv.ReadOptions(column_names=names, block_size=max(_LEAST_BLOCK, facts.longest + 2)),
            pa.csv.ParseOptions(
                delimiter=header.separator,
                quote_char='"' if facts.quoted else False,
                newlines_in_values=facts.quoted,
            ),
            # Cells stay strings, so that the class "01" and the text "null" survive.
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            raise content.not_utf8() from error
        return None
    return table if table.num_rows == facts.records else None


def _read_carefully(
    content: Content, header: Header, names: list[str]
) -> tuple[pa.Table, list[str]]:
    """Read record by record, with quotes as the format has them or as characters."""
    try:
        return _read(content, header, names), []
    except _Irregular as error:
        problem = error
    if content.data.find(b'\\"', header.body) >= 0:
        table = _attempt(content, header, names, escaped=True)
        if table is not None:
            return table, ["quotes inside cells are escaped by backslashes"]
    # A file cut inside a quoted cell ends without a line end; its last row is not whole.
    is_whole = content.data[-1:] in (b"\n", b"\r")
    plain = _attempt(content, header, names, quoting=csv.QUOTE_NONE) if len(names) > 1 else None
    if plain is not None and _quotes_are_characters(plain):
        last = header.line + plain.num_rows - 1
        if is_whole or problem.line < last:
            return plain, [
                f"quotes are read as characters, since that of line {problem.line} does not close"
            ]
    raise Unreadable(str(problem))


def _attempt(content: Content, header: Header, names: list[str], **dialect: Any) -> pa.Table | None:
    try:
        return _read(content, header, names, **dialect)
    except _Irregular:
        return None


def _read(
    content: Content, header: Header, names: list[str], escaped: bool = False, **dialect: Any
) -> pa.Table:
    lines: Iterable[str] = text_lines(content, header.body)
    if escaped:
        lines = map(unescaped, lines)
    has_returns = content.has_lone_returns
    if has_returns:
        lines = (_LONE_RETURN.sub(_RETURN, line) for line in lines)
    chunks: list[list[pa.Array]] = [[] for _ in names]
    chunk: list[list[str]] = []
    try:
        for line, record in records(lines, header.line, delimiter=header.separator, **dialect):
            if len(record) != len(names):
                if not "".join(record).strip() and len(record) == 1:
                    continue  # a line of blanks
                raise _Irregular(line, _ragged(line, len(record), header))
            if has_returns:
                record = [cell.replace(_RETURN, "\r") for cell in record]
            chunk.append(record)
            if len(chunk) == _ROWS_A_CHUNK:
                _flush(chunk, chunks)
    except UnicodeDecodeError as error:
        raise content.not_utf8() from error
    except csv.Error as error:
        line, reason = error.args
        raise _Irregular(line, _open_quote(line, reason)) from error
    _flush(chunk, chunks)
    columns = [pa.chunked_array(parts, pa.string()) for parts in chunks]
    return pa.table(columns, names=names)


def _flush(chunk: list[list[str]], chunks: list[list[pa.Array]]) -> None:
    for values, parts in zip(zip(*chunk, strict=True), chunks, strict=False):
        column = pa.array(values, pa.string())
        parts.append(pc.if_else(pc.equal(column, ""), None, column))
    chunk.clear()


@contextmanager
def _field_limit(limit: int) -> Iterator[None]:
    before = csv.field_size_limit(limit)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _ragged(line: int, found: int, header: Header) -> str:
    fields = "1 field" if found == 1 else f"{found} fields"
    advice = f"quote cells that hold the separator {header.separator!r}"
    if len(header.names) == 1:
        advice += ", or remove lines before the header"
    return (
        f"line {line} has {fields}, and the header {len(header.names)} ({listing(header.names)}); "
        f"{advice}"
    )


def _open_quote(line: int, reason: str) -> str:
    if "limit" in reason:
        return f"line {line} begins a cell larger than the memory limit allows; raise memory"
    if "unexpected end" in reason:
        return f"the quote that opens in line {line} never closes; double quotes that are text"
    return (
        f"in the row that begins in line {line}, a cell goes on after its closing quote; double "
        "quotes that are text"
    )


def _quotes_are_characters(table: pa.Table) -> bool:
    """Return whether few cells are quoted as a whole, as quoting would leave them."""
    whole = [pc.match_substring_regex(column, '^".*"$') for column in table.columns]
    counts = [pc.sum(pc.fill_null(flags, False)).as_py() or 0 for flags in whole]
    return bool(max(counts) <= _MOST_WHOLLY_QUOTED * table.num_rows)


def _broken_cells(table: pa.Table) -> list[tuple[int, int, str]]:
    """Return column, row and text of the cells with line breaks."""
    found = []
    for j, column in enumerate(table.columns):
        flags = pc.fill_null(pc.match_substring(column, "\n"), False)
        where, cells = np.flatnonzero(flags.to_numpy()), column.filter(flags).to_pylist()
        found += [(j, int(i), cell) for i, cell in zip(where, cells, strict=True)]
    return found


def _line_breaks(table: pa.Table, separator: str) -> list[str]:
    """Return notes on cells with line breaks, and a warning where they look like lost rows."""
    cells = _broken_cells(table)
    last = table.num_columns - 1
    lost = []
    for j, row, cell in cells if last else []:
        first, *middle, end = re.split("\r?\n", cell)
        counts = first.count(separator), {line.count(separator) for line in middle}
        if counts == (last - j, {last}) and end.count(separator) == j:
            lost.append(row)
    if lost:
        return [
            f"warning: a quoted cell of {rows(lost)} holds lines that look like rows of their own; "
            "if its quotes are only characters, double them"
        ]
    if cells:
        return [f"{len(cells):,} cells hold line breaks: the file has more lines than rows"]
    return []


def _fitted(table: pa.Table, header: Header) -> tuple[pa.Table, list[str]]:
    """Leave out empty columns without a name, and name a column of row names."""
    extra = table.num_columns == len(header.names) + 1
    padding = [
        name
        for name, given in zip(table.column_names, [*header.names, ""], strict=False)
        if not given and table[name].null_count == table.num_rows
    ]
    if padding:
        return table.drop_columns(padding), ["empty columns without a name are left out"]
    if extra:
        if not _are_row_names(table, header):
            raise Unreadable(_ragged(header.line, table.num_columns, header))
        table = table.rename_columns([f"{_UNNAMED}0", *header.names])
        return table, [f"rows begin with a name that the header lacks; it is {_UNNAMED + '0'!r}"]
    pairs = zip(table.column_names, header.names, strict=False)  # the header may have one more
    unnamed = [name for name, given in pairs if not given]
    return table, [f"columns without a name are called {listing(unnamed)}"] if unnamed else []


def _are_row_names(table: pa.Table, header: Header) -> bool:
    """Return whether the first column certainly holds row names, and no slid cells.

    They are counted from 0 or 1, or each text is quoted, so that no comma of a text divided it.
    """
    names = table.column(0)
    if names.null_count or pc.count_distinct(names).as_py() < table.num_rows:
        return False
    if all_texts_are_quoted(header):
        return True
    spaced = any(
        pc.any(pc.starts_with(column, " ")).as_py() for column in table.columns if len(column)
    )
    counted = [[str(i + first) for i in range(table.num_rows)] for first in (0, 1)]
    return not spaced and names.to_pylist() in counted
