"""Spellings of labels: what stands for a missing one, and which spellings are one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
import pandas as pd

from w2s_data.data.columns import distinct_names
from w2s_data.data.meaning.rules import TRUTH, LabelRules, key_of
from w2s_data.errors import ColumnError, listing, rows
from w2s_data.utils.typing import IntArray

# Casefolded marks of an empty cell in databases, spreadsheets, pandas and other languages.
MISSING_TEXTS = frozenset(
    {"", "null", "nan", "none", "na", "n/a", "n.a.", "#n/a", "<na>", "nat", r"\n", "nil"}
    | {"?", "-", "--", ".", "unlabeled", "unlabelled"}
)
# Some of these may be a class as well, and are one where else there would be a single class.
_POSSIBLE_NAMES = frozenset({"none", "na", "nil"})
# Codes of "no label" beside codes of classes, which count from 0 or 1; -100 is PyTorch's.
MISSING_CODES = frozenset(Decimal(code) for code in (-1, -99, -100, -999, -9999))
_LEAST_SHARE = 0.1  # rows of a class -1, over those of the rarer of the classes 0 and 1
_SHOWN = 4  # merged or missing spellings in a note


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
    closed: bool = False,
    meaning: str = "have no label",
) -> Spelled:
    """Read a column of labels: spellings after `map`, with the missing ones at code -1.

    `kept` are keys of classes, which no marker of a missing label overrules; they are all classes
    if `closed`. `names` stand behind the codes 0, 1, ... that the column's format stores; a code -1
    hides the label. `meaning` says in a note what such rows do.
    """
    column = str(values.name)
    if names is None:
        codes, spellings = distinct_names(values)
    else:
        codes, spellings = _format_codes(values, names), list(names)
        kept = {key_of(name) for name in names}
    mapped = [rules.mapped(column, spelling) for spelling in spellings]
    final = [s if m is None else m for s, m in zip(spellings, mapped, strict=True)]
    present = Spelled(column, codes, spellings)
    # Before `map`, so that -1 is still seen beside numbers.
    centred = not closed and _are_centred(present)
    gone = _missing(present.occurring(), rules, {*kept, *rules.kept}, closed, centred)
    gone -= {s for s, m in zip(spellings, mapped, strict=True) if m is not None}
    by_name: dict[str, int] = {}
    order = [
        -1 if name == "" or spelling in gone else by_name.setdefault(name, len(by_name))
        for spelling, name in zip(spellings, final, strict=True)
    ]
    counts = present.counts.tolist()
    marked = Counter[str]()
    for spelling, code, n in zip(spellings, order, counts, strict=True):
        if code < 0:
            marked[spelling] += n
    notes = _missing_note(column, marked, codes, meaning)
    possible = _POSSIBLE_NAMES | ({Decimal(-1)} if centred else set())
    doubtful = [s for s in present.occurring() if key_of(s) in possible and s not in gone]
    if doubtful and rules.missing is None and names is None and not rules.kept:
        notes += (
            f"column {column!r}: {doubtful[0]!r} is a class; pass missing=[{doubtful[0]!r}] if it "
            "means no label",
        )
    return Spelled(column, present.recoded(order), list(by_name), notes)


def _format_codes(values: pd.Series, names: Sequence[str]) -> IntArray:
    try:
        codes = np.asarray(values.fillna(-1).to_numpy(dtype=np.int64))
    except (TypeError, ValueError) as error:
        raise ColumnError(
            f"label column {values.name!r} must hold codes of its {len(names)} classes"
        ) from error
    bad = np.flatnonzero((codes < -1) | (codes >= len(names)))
    if len(bad):
        raise ColumnError(
            f"label column {values.name!r} has codes outside its {len(names)} classes in "
            f"{rows(bad)}"
        )
    return codes


def _are_centred(present: Spelled) -> bool:
    """Whether the labels are -1, 0 and 1, as of sentiments, and empty cells say "no label".

    A -1 that is rare beside 0 and 1 is a second marker of a missing label, and so it is beside a
    third.
    """
    counts = Counter[Hashable]({"": int((present.codes < 0).sum())})
    for spelling, n in zip(present.spellings, present.counts.tolist(), strict=True):
        counts[key_of(spelling)] += n
    n_empty = counts.pop("")
    low, *others = (counts.pop(Decimal(code), 0) for code in (-1, 0, 1))
    alone = n_empty > 0 and not any(counts.values())
    return alone and min(others) > 0 and low >= _LEAST_SHARE * min(others)


def _missing(
    spellings: list[str],
    rules: LabelRules,
    kept: Collection[Hashable],
    closed: bool,
    centred: bool,
) -> set[str]:
    """Return the spellings that stand for a missing label."""
    if rules.missing is not None:
        markers = {key_of(marker) for marker in rules.missing} | {""}
        return {spelling for spelling in spellings if key_of(spelling) in markers}
    keys = {spelling: key_of(spelling) for spelling in spellings}
    gone = {s for s, key in keys.items() if key in MISSING_TEXTS and (key not in kept or key == "")}
    left = {s: key for s, key in keys.items() if s not in gone}
    if len(set(left.values())) == 1 and not closed:
        gone = {spelling for spelling in gone if keys[spelling] not in _POSSIBLE_NAMES}
    numbers = {key for key in left.values() if isinstance(key, Decimal)}
    negative = {key for key in numbers if key < 0}
    # Beside classes that count, or alone among names; the classes -1 and 1 are a pair of their own,
    # and -1, 0 and 1 are `centred`.
    among = len(numbers) == len(set(left.values())) or numbers == negative
    is_pair = numbers == {Decimal(-1), Decimal(1)} and not closed
    if not among or is_pair or centred or len(negative) != 1 or negative & set(kept):
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
    if key not in TRUTH:
        return key
    others = {key_of(other) for other in spelled.occurring()} - set(TRUTH)
    return TRUTH[str(key)] if others and others <= set(TRUTH.values()) else key


def _plain(key: Hashable, spelling: str) -> str:
    """Return the name of a class: "1" for 1.0, which a missing value makes of 1."""
    is_whole = isinstance(key, Decimal) and key.adjusted() < 18 and key == int(key)
    return str(int(key)) if is_whole else spelling  # type: ignore[call-overload]
