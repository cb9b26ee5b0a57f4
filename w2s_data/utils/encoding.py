"""Encodings of text files, recognized by the mark at their beginning."""

from __future__ import annotations

import codecs

# UTF-32 first, since its little-endian mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def encoding_of(head: bytes) -> str:
    """Return the encoding that the first bytes of a text file state; UTF-8 without a mark.

    >>> encoding_of("text".encode("utf-16")), encoding_of(b"text")
    ('utf-16', 'utf-8')
    """
    return next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")


def decode(content: bytes) -> str:
    """Return the text of a file's bytes; raise UnicodeDecodeError if they are not text.

    >>> decode("text".encode("utf-16")), decode("text".encode("utf-8-sig"))
    ('text', 'text')
    """
    return content.decode(encoding_of(content[:4]))
