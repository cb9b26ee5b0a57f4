"""Words and numbers in the names of columns and classes."""

from __future__ import annotations

import re
from collections.abc import Sequence


def words(name: str) -> list[str]:
    """Return the words and numbers of a name, in lower case.

    >>> words("probNeg_10")
    ['prob', 'neg', '10']
    """
    return [piece.casefold() for piece in pieces(name) if _has_word(piece)]


def pieces(name: str) -> list[str]:
    """Split a name into words, numbers and the single characters between them.

    >>> pieces("P(neg)")
    ['P', '(', 'neg', ')']
    """
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "\0", name)
    return [piece for piece in re.findall(r"[^\W\d_]+|\d+|[\W_]", parted) if piece != "\0"]


def numbers(name: str) -> list[int]:
    """Return the whole numbers in a name.

    >>> numbers("2 stars")
    [2]
    """
    return [int(digits) for digits in re.findall(r"\d+", name) if len(digits) < 19]


def without_common(names: Sequence[str]) -> list[str]:
    """Return names without the words that all of them begin or end with.

    >>> without_common(["P(neg)", "P(pos)"]), without_common(["p9", "p10"])
    (['neg', 'pos'], ['9', '10'])
    """
    parts = [pieces(name) for name in names]
    if len(parts) < 2:
        return list(names)
    start = _common(parts)
    end = _common([own[start:][::-1] for own in parts])
    return ["".join(own[start : len(own) - end]).strip(" _.:/") for own in parts]


def _common(parts: Sequence[Sequence[str]]) -> int:
    """Return how many first pieces all share, such that each keeps a word or a number."""
    shared = 0
    for column in zip(*parts, strict=False):
        rest = ("".join(own[shared + 1 :]) for own in parts)
        if len({piece.casefold() for piece in column}) > 1 or not all(map(_has_word, rest)):
            break
        shared += 1
    return shared


def _has_word(text: str) -> bool:
    return re.search(r"[^\W_]", text) is not None
