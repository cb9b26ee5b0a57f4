"""Spellings of labels: what stands for a missing one, and which spellings are one class."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from w2s_data.data.columns import distinct_names
from w2s_data.errors import ColumnError, InputError, listing, rows, unknown
from w2s_data.utils.typing import AnyArray, IntArray
from w2s_data.utils.validation import check_parameters, one_of

# What databases, spreadsheets, pandas and other languages write for an empty cell, casefolded.
MISSING_TEXTS = frozenset(
    {"", "null", "nan", "none", "na", "n/a", "n.a.", "#n/a", "<na>", "nat", r"\n", "nil"}
    | {"?", "-", "--", ".", "unlabeled", "unlabelled"}
)
# Codes of "no label" beside codes of classes, which count from 0 or 1; -100 is PyTorch's.
MISSING_CODES = frozenset(Decimal(code) for code in (-1, -99, -100, -999, -9999))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?")
_TRUTH = {"false": Decimal(0), "true": Decimal(1)}
_SHOWN = 4  # merged or missing spellings in a note


@dataclass(frozen=True)
class LabelRules:
    """How labels and classes are spelled, as far as the caller says so.

    Attributes
    ----------
    class_names : tuple of str, or None
        All classes, in their order.
    map : mapping from spelling to class
        Of labels and of weak columns; "COLUMN:LABEL" concerns one column, "" means no label.
    missing : tuple of str, or None
        Spellings of a missing label; None for the usual ones.
    task : "classification" or None
        Whether many numbers are classes all the same.
    """

    class_names: tuple[str, ...] | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] | None = None
    task: str | None = None

    @classmethod
    def checked(
        cls,
        class_names: Sequence[object] | None,
        map: Mapping[object, object] | None,
        missing: Sequence[object] | None,
        task: Literal["classification", "regression"] | None,
    ) -> LabelRules:
        """Return the rules, once they are of the right types."""
        check_parameters({"task": task}, {"task": one_of(None, "classification", "regression")})
        if task == "regression":
            raise InputError(
                "task='regression' is not supported yet; bin the labels into classes, or pass "
                "task='classification' if each number is a class"
            )
        if not isinstance(map, Mapping | None):
            raise InputError(f"map must be a mapping from spelling to class; got {map!r}")
        for name, value in (("class_names", class_names), ("missing", missing)):
            if isinstance(value, str) or not isinstance(value, Iterable | None):
                raise InputError(f"{name} must be a list; got {value!r}")
        names = None if class_names is None else tuple(spell(name) for name in class_names)
        if names is not None and (len(set(names)) < len(names) or "" in names):
            raise InputError(f"class_names repeat a name or leave one empty: {listing(names)}")
        return cls(
            names,
            {spell(label): spell(name) for label, name in (map or {}).items()},
            None if missing is None else tuple(spell(marker) for marker in missing),
            task,
        )

    @cached_property
    def kept(self) -> frozenset[Hashable]:
        """Keys of names that the caller gives to classes, which no marker overrules."""
        return frozenset(key_of(name) for name in (*(self.class_names or ()), *self.map.values()))

    def mapped(self, column: str, spelling: str) -> str | None:
        """Return the class that `map` gives a spelling in a column; None if it gives none."""
        if not self.map:
            return None
        for name in (f"{column}:{spelling}", spelling):
            if name in self.map:
                return self.map[name]
        by_key = {key_of(label): name for label, name in self.map.items()}
        own = by_key.get(key_of(f"{column}:{spelling}"))
        return by_key.get(key_of(spelling)) if own is None else own


def spell(value: object) -> str:
    """Return a label as text, without blanks around it; whole numbers have no decimals.

    >>> spell(1.0), spell(" pos "), spell(None)
    ('1', 'pos', '')
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


def key_of(spelling: str) -> Hashable:
    """Return what spellings of one class share: the number, or the text without case and blanks.

    >>> key_of("1.0") == key_of("1"), key_of("Not  Spam") == key_of("not spam")
    (True, True)
    >>> key_of("01") == key_of("1")
    False
    """
    text = " ".join(unicodedata.normalize("NFC", spelling).split()).casefold()
    # With a leading zero it is the name of something: of a class "01" beside a class "1".
    if re.match(r"[+-]?0\d", text):
        return text
    number = number_of(text)
    return text if number is None else number


def number_of(text: str) -> Decimal | None:
    """Return the exact value of a plain decimal number, None for any other text."""
    return Decimal(text) if _NUMBER.fullmatch(text.casefold()) else None


@dataclass(frozen=True)
class Spelled:
    """A column of labels: its spellings, with a code for each row.

    Attributes
    ----------
    column : str
    codes : int array (N,)
        -1 where the label is missing.
    spellings : list of str
        Different ones, not all of which need to occur.
    notes : tuple of str
    """

    column: str
    codes: IntArray
    spellings: list[str]
    notes: tuple[str, ...] = ()

    @cached_property
    def counts(self) -> IntArray:
        """Number of rows of each spelling."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.spellings))

    def occurring(self) -> list[str]:
        """Return the spellings that occur, in order of appearance."""
        return [s for s, n in zip(self.spellings, self.counts, strict=True) if n]

    def recoded(self, codes: Sequence[int]) -> IntArray:
        """Return the row codes (N,) after each spelling got a new code; missing ones stay -1."""
        return np.asarray([*codes, -1], dtype=np.int64)[self.codes]


def read_spellings(
    values: pd.Series,
    rules: LabelRules,
    *,
    kept: Collection[Hashable] = (),
    names: Sequence[str] | None = None,
    meaning: str = "have no label",
) -> Spelled:
    """Read a column of labels: spellings after `map`, with the missing ones at code -1.

    `kept` are keys of classes, which no marker of a missing label overrules. `names` stand behind
    the codes 0, 1, ... that the column's format stores; a code -1 hides the label. `meaning` says
    in a note what such rows do.
    """
    column = str(values.name)
    if names is None:
        codes, spellings = distinct_names(values)
    else:
        codes, spellings = _format_codes(values, names), list(names)
        kept = {key_of(name) for name in names}
    mapped = [rules.mapped(column, spelling) for spelling in spellings]
    final = [s if m is None else m for s, m in zip(spellings, mapped, strict=True)]
    present = Spelled(column, codes, final)
    gone = _missing(present.occurring(), rules, {*kept, *rules.kept})
    by_name: dict[str, int] = {}
    order = [-1 if s in gone else by_name.setdefault(s, len(by_name)) for s in final]
    counts = Counter[str]()
    for spelling, n in zip(spellings, present.counts.tolist(), strict=True):
        counts[spelling] += n
    marked = {s: counts[s] for s, code in zip(spellings, order, strict=True) if code < 0}
    note = _missing_note(column, marked, codes, meaning)
    return Spelled(column, present.recoded(order), list(by_name), note)


def _format_codes(values: pd.Series, names: Sequence[str]) -> IntArray:
    codes = np.asarray(values.fillna(-1).to_numpy(dtype=np.int64))
    bad = np.flatnonzero((codes < -1) | (codes >= len(names)))
    if len(bad):
        raise ColumnError(
            f"label column {values.name!r} has codes outside its {len(names)} classes in "
            f"{rows(bad)}"
        )
    return codes


def _missing(spellings: list[str], rules: LabelRules, kept: Collection[Hashable]) -> set[str]:
    """Return the spellings that stand for a missing label."""
    if rules.missing is not None:
        markers = {key_of(marker) for marker in rules.missing} | {""}
        return {spelling for spelling in spellings if key_of(spelling) in markers}
    keys = {spelling: key_of(spelling) for spelling in spellings}
    gone = {s for s, key in keys.items() if key in MISSING_TEXTS and (key not in kept or key == "")}
    left = {s: key for s, key in keys.items() if s not in gone}
    numbers = {key for key in left.values() if isinstance(key, Decimal) and key == int(key)}
    if len(numbers) < len(set(left.values())):
        return gone
    negative = {key for key in numbers if key < 0}
    # The classes -1 and 1 are a pair of their own.
    if len(negative) != 1 or negative & set(kept) or numbers == {Decimal(-1), Decimal(1)}:
        return gone
    return gone | {s for s, key in left.items() if key in negative & MISSING_CODES}


def _missing_note(
    column: str, marked: Mapping[str, int], codes: IntArray, meaning: str
) -> tuple[str, ...]:
    """Return a note on the spellings that count as missing; none where only cells are empty."""
    shown = {repr(spelling): n for spelling, n in marked.items() if spelling and n}
    if not shown:
        return ()
    empty = int((codes < 0).sum()) + marked.get("", 0)
    counts = [f"{name} {n:,}" for name, n in shown.items()]
    if len(counts) > _SHOWN:
        counts = [*counts[:_SHOWN], f"{len(counts) - _SHOWN} others"]
    if empty:
        counts.append(f"empty {empty:,}")
    total = sum(shown.values()) + empty
    return (
        f"column {column!r}: {total:,} rows {meaning} ({', '.join(counts)}); pass missing, a list "
        "of what stands for no label, to change it",
    )


def merge_spellings(spelled: Spelled) -> tuple[list[str], tuple[str, ...]]:
    """Return the class of each spelling of a gold column, and a note on those that became one.

    Spellings that differ by case, blanks or decimals are one class, named as it is spelled most.
    """
    classes: dict[Hashable, list[int]] = {}
    for code, spelling in enumerate(spelled.spellings):
        if spelled.counts[code]:
            classes.setdefault(_truth_key(spelling, spelled), []).append(code)
    names = [spelling.strip() for spelling in spelled.spellings]
    merged = []
    for key, members in classes.items():
        best = min(members, key=lambda code: (-spelled.counts[code], spelled.spellings[code]))
        name = _plain(key, names[best])
        for code in members:
            names[code] = name
        if len(members) > 1 and not isinstance(key, Decimal):
            merged.append(f"{listing(spelled.spellings[code] for code in members)} as {name!r}")
    if not merged:
        return names, ()
    more = f" and {len(merged) - _SHOWN} more" if len(merged) > _SHOWN else ""
    return names, (
        f"column {spelled.column!r}: spellings of one class are read as one, "
        f"{'; '.join(merged[:_SHOWN])}{more}; pass class_names to keep them apart",
    )


def _truth_key(spelling: str, spelled: Spelled) -> Hashable:
    """Return the key of a spelling, of True and False as 1 and 0 where these occur beside them."""
    key = key_of(spelling)
    if key not in _TRUTH:
        return key
    others = {key_of(other) for other in spelled.occurring()} - set(_TRUTH)
    return _TRUTH[str(key)] if others and others <= set(_TRUTH.values()) else key


def _plain(key: Hashable, spelling: str) -> str:
    """Return the name of a class: "1" for 1.0, which a missing value makes of 1."""
    is_whole = isinstance(key, Decimal) and key.adjusted() < 18 and key == int(key)
    return str(int(key)) if is_whole else spelling  # type: ignore[call-overload]


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
            *_TRUTH.values()
        }
        self._keys: tuple[Callable[[str], Hashable], ...] = (
            str,
            key_of,
            lambda text: _loose(text, truth=truth),
        )
        self._tables = [_unique(map(key, self.names)) for key in self._keys]

    def find(self, spellings: Iterable[str]) -> list[int | None]:
        """Return the class of each spelling: equal, but for case or decimals, but for zeros."""
        return [self._find(spelling.strip()) for spelling in spellings]

    def _find(self, spelling: str) -> int | None:
        for key, table in zip(self._keys, self._tables, strict=True):
            if (code := table.get(key(spelling))) is not None:
                return code
        return None


def _loose(text: str, *, truth: bool) -> Hashable:
    key = key_of(text)
    if truth and key in _TRUTH:
        return _TRUTH[str(key)]
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
    shown = ", ".join(f"{code} {name!r}" for code, name in enumerate(class_names[:_SHOWN]))
    more = f" and {len(class_names) - _SHOWN} more" if len(class_names) > _SHOWN else ""
    return (
        f"column {column!r}: numbers count the classes in their order, {shown}{more}; pass map to "
        "change it"
    )


def _no_class(spelled: Spelled, strange: list[str], class_names: Sequence[str]) -> str:
    code = spelled.spellings.index(strange[0])
    where = rows(np.flatnonzero(spelled.codes == code))
    return (
        f"column {spelled.column!r}, {where}: {unknown('class', strange[0], list(class_names))}; "
        f"the column holds {listing(spelled.occurring())}. Pass map, e.g. "
        f"map={{{strange[0]!r}: {class_names[0]!r}}}, or class_names with all classes"
    )


def named(codes: IntArray, class_names: Sequence[str]) -> pd.Series:
    """Return class names by code, None at -1."""
    names: AnyArray = np.array([*class_names, None], dtype=object)
    return pd.Series(names[codes], dtype=object)
