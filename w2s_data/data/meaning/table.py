"""The classes by name, and which of them a spelling is."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from w2s_data.data.meaning.rules import TRUTH, key_of, number_of
from w2s_data.data.meaning.spelling import Spelled
from w2s_data.errors import ColumnError, listing, rows, unknown
from w2s_data.utils.typing import IntArray

_SHOWN = 4  # classes in a note


class ClassTable:
    """The classes, and which of them a spelling is.

    Examples
    --------
    >>> table = ClassTable(("0", "1"))
    >>> table.find(["1.0", "True", "2"])
    [1, 1, None]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        truth = len(self.names) == 2 and {_loose(n, truth=True) for n in self.names} == {
            *TRUTH.values()
        }
        self._keys: tuple[Callable[[str], Hashable], ...] = (
            str,
            key_of,
            lambda text: _loose(text, truth=truth),
            _joined,
        )
        self._tables = [_unique(map(key, self.names)) for key in self._keys]

    def find(self, spellings: Iterable[str]) -> list[int | None]:
        """Return the class of each spelling: equal, or but for case, zeros or hyphens."""
        return [self._find(spelling.strip()) for spelling in spellings]

    def _find(self, spelling: str) -> int | None:
        for key, table in zip(self._keys, self._tables, strict=True):
            if (code := table.get(key(spelling))) is not None:
                return code
        return None


def _joined(text: str) -> Hashable:
    """Return words without what joins them, "non toxic" for non-toxic; nothing for numbers."""
    joined = re.sub(r"[\s_./-]+", " ", text.casefold()).strip()
    return joined if re.search(r"[^\W\d_]", joined) else text


def _loose(text: str, *, truth: bool) -> Hashable:
    key = key_of(text)
    if truth and key in TRUTH:
        return TRUTH[str(key)]
    number = number_of(key) if isinstance(key, str) else None
    return key if number is None else number


def _unique(keys: Iterable[Hashable]) -> dict[Hashable, int]:
    """Number the keys, without those that occur twice, which tell nothing apart."""
    listed = list(keys)
    counts = Counter(listed)
    return {key: code for code, key in enumerate(listed) if counts[key] == 1}


def find_classes(
    spelled: Spelled, class_names: Sequence[str], *, ordered: bool
) -> tuple[IntArray, tuple[str, ...]]:
    """Return class codes (N,) of a column, and notes; raise if a spelling is not a class.

    Where the order of the classes is given (`ordered`), numbers that match none count them from 0.
    """
    spellings = spelled.occurring()
    found = ClassTable(class_names).find(spellings)
    notes: tuple[str, ...] = ()
    if ordered and spellings and all(code is None for code in found):
        numbers = [_loose(s, truth=len(class_names) == 2) for s in spellings]
        if all(n in range(len(class_names)) for n in numbers):
            found = [int(n) for n in numbers]  # type: ignore[call-overload]
            notes = (_counted_note(spelled.column, class_names),)
    strange = [s for s, code in zip(spellings, found, strict=True) if code is None]
    if strange:
        raise ColumnError(_no_class(spelled, strange, class_names))
    by_spelling = dict(zip(spellings, found, strict=True))
    return spelled.recoded([by_spelling.get(s) or 0 for s in spelled.spellings]), notes


def _counted_note(column: str, class_names: Sequence[str]) -> str:
    counted = (f"{code} {name!r}" for code, name in enumerate(class_names))
    shown = listing(counted, _SHOWN, quoted=False)
    return (
        f"column {column!r}: numbers count the classes in their order, {shown}; pass map to "
        "change it"
    )


def _no_class(spelled: Spelled, strange: list[str], class_names: Sequence[str]) -> str:
    code = spelled.spellings.index(strange[0])
    where = rows(np.flatnonzero(spelled.codes == code))
    values = [number_of(s) for s in spelled.occurring()]
    if any(v is not None and 0 < v < 1 for v in values) and None not in values:
        return (
            f"column {spelled.column!r} holds numbers such as {strange[0]!r} and no classes; "
            "probabilities are given as weak_columns"
        )
    meant = _probable_class(strange[0], class_names)
    example = f"map={{{strange[0]!r}: {meant!r}}}" + ("" if meant else " if it means no label")
    return (
        f"column {spelled.column!r}, {where}: {unknown('class', strange[0], list(class_names))}; "
        f"the column holds {listing(spelled.occurring())}. Pass map, e.g. {example}, or "
        "class_names with all classes"
    )


def _probable_class(spelling: str, class_names: Sequence[str]) -> str:
    """Return the class that a spelling counts to from 0, or the one most like it; "" if none is.

    >>> [_probable_class(text, ["neg", "pos"]) for text in ("1", "POSITIVE", "spam")]
    ['pos', 'pos', '']
    """
    counted = {str(code): name for code, name in enumerate(class_names)}
    by_fold = {name.casefold(): name for name in class_names}
    close = difflib.get_close_matches(spelling.casefold(), by_fold, n=1, cutoff=0.5)
    return counted.get(spelling) or (by_fold[close[0]] if close else "")
