"""Bytes of a file: unpacked, in UTF-8, and no more of them than the memory limit allows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from w2s_data.compute.memory import MemoryLimit, size_text
from w2s_data.data.readers.formats import compression_of
from w2s_data.utils.encoding import encoding_of

_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
}
_PROGRAMS = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}
_OTHERS = {b"PAR1": "Parquet", b"ARROW1": "Arrow", b"PK\x03\x04": "a zip archive or workbook"}
_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.input_stream(str(path), compression="zstd"),
}
_PIECE = 2**20  # bytes unpacked at a time, so that a bomb is noticed early


class Unreadable(ValueError):
    """The reason why a file cannot be read, to be completed with its name."""


@dataclass(frozen=True)
class Content:
    """The bytes of a text file in UTF-8, mapped into memory where they lie on the disk so."""

    data: Any  # bytes-like, with find()
    limit: MemoryLimit
    start: int = 0  # of the text, after a byte order mark

    @property
    def has_lone_returns(self) -> bool:
        """Whether returns may be characters of texts, since lines end otherwise."""
        return bool(self.data.find(b"\n") >= 0 and self.data.find(b"\r") >= 0)

    def line_of(self, position: int) -> int:
        """Return the number of the line, from 1, that holds a byte."""
        return bytes(self.data[:position]).count(b"\n") + 1

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the bytes of each line, without its end."""
        first, number, longest = self.start, 0, row_bytes(self.limit)
        while first < len(self.data):
            end = self.data.find(b"\n", first)
            end = len(self.data) if end < 0 else end
            number += 1
            if end - first > longest:
                self.check_row(end - first, number)
            yield number, bytes(self.data[first:end])
            first = end + 1

    def check_row(self, n_bytes: int, line: int) -> None:
        """Raise if a row alone takes too much of the memory limit."""
        if n_bytes > row_bytes(self.limit):
            raise Unreadable(
                f"line {line} begins a row of {size_text(n_bytes)}, and memory={self.limit} allows "
                f"{size_text(row_bytes(self.limit))}; raise memory, or shorten the row"
            )

    def not_utf8(self) -> Unreadable:
        """Return the error for the first line that is not UTF-8."""
        for number, line in self.lines():
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return Unreadable(
                    f"line {number} is not UTF-8 (byte 0x{line[error.start]:02x} after "
                    f"{error.start} others); save the file as UTF-8, e.g. with: "
                    "iconv -f WINDOWS-1252 -t UTF-8"
                )
        return Unreadable("it is not UTF-8; save it in that encoding")


def table_bytes(limit: MemoryLimit) -> int:
    """Return how large a table may be in memory."""
    # As strings of Python, in a data set and in its encoder, a table takes a few times its size.
    return limit.resident_bytes


def row_bytes(limit: MemoryLimit) -> int:
    """Return how large a row of a text file may be."""
    return limit.free // 16


def read_content(path: Path, limit: MemoryLimit) -> Content:
    """Return the text of a file, whatever its compression and encoding by byte order mark.

    Raise Unreadable if it is not text, not packed as its name says, or larger than allowed.
    """
    data = read_bytes(path, limit)
    head = bytes(data[:8])
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            raise Unreadable(f"it holds {name}, not text; rename it or save it as text")
    encoding, start = encoding_of(head), 0
    if encoding == "utf-8-sig":
        start = 3
    elif encoding != "utf-8":
        try:
            data = bytes(data).decode(encoding).encode()
        except UnicodeError as error:
            raise Unreadable(f"it begins like {encoding.upper()} and is not ({error})") from error
    content = Content(data, limit, start)
    nul = data.find(b"\0")
    if nul >= 0:
        raise Unreadable(
            f"line {content.line_of(nul)} holds a NUL byte, so this is not text in UTF-8; "
            "save it in that encoding"
        )
    return content


def read_bytes(path: Path, limit: MemoryLimit) -> Any:
    """Return the bytes of a file, unpacked; Unreadable if they are more than allowed."""
    with path.open("rb") as file:
        magic = file.read(8)
        packing = next((name for m, name in _MAGIC.items() if magic.startswith(m)), None)
        promised = compression_of(path)
        if promised and magic and packing != promised:
            raise Unreadable(
                f"it is not packed by {_PROGRAMS[promised]}, although its name ends in "
                f"{path.name[-len(promised) :]}; rename it"
            )
        file.seek(0)
        if packing is not None:
            return _unpacked(path, packing, limit)
        size = path.stat().st_size
        if size > table_bytes(limit):
            raise too_large(limit)
        if size == 0:  # an empty file cannot be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def too_large(limit: MemoryLimit) -> Unreadable:
    """Return the error for a table that does not fit."""
    return Unreadable(
        f"its table takes more than the {size_text(table_bytes(limit))} that memory={limit} allows "
        "for it; raise memory, or read fewer rows and columns"
    )


def _unpacked(path: Path, packing: str, limit: MemoryLimit) -> bytearray:
    data = bytearray()
    with _OPENERS[packing](path) as stream:
        while piece := stream.read(_PIECE):
            data += piece
            if len(data) > table_bytes(limit):
                raise too_large(limit)
    return data


def text_lines(content: Content, start: int) -> io.TextIOWrapper:
    """Return the lines of a text, with their ends, for the `csv` module."""
    raw = io.BytesIO(memoryview(content.data)[start:])
    # Without translation, since a cell may hold any of the line ends.
    newline = "\n" if content.data.find(b"\n") >= 0 else ""
    return io.TextIOWrapper(raw, encoding="utf-8", newline=newline)
