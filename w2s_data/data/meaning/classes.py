"""The classes of a data set, and the gold label of each row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd

from w2s_data.data.meaning.match import WeakInputs
from w2s_data.data.meaning.rules import LabelRules, key_of, number_of
from w2s_data.data.meaning.spelling import Spelled, merge_spellings, read_spellings
from w2s_data.data.meaning.table import find_classes
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, listing, rows, unknown
from w2s_data.utils.text import natural_key
from w2s_data.utils.typing import IntArray

# Numbers beyond this many are classes only if they count from 0 or 1 and each has 20 rows or more:
# banking77 and clinc150 do, ages, prices and scores of 0 to 100 seldom.
_FEW_NUMBERS = 50
_LEAST_ROWS = 20
_FEW_TEXTS = 100  # beyond these, texts that occur once are rather items than labels


@dataclass(frozen=True)
class Gold:
    """Classes as gold labels and the caller define them, and the class of each row.

    Attributes
    ----------
    class_names : tuple of str
        Empty where neither the caller nor a label names a class.
    codes : int array (N,)
        -1 where the label is missing.
    ordered : bool
        Whether the order of the classes is given, so that numbers may count them.
    given : bool
        Whether the caller names all classes.
    notes : tuple of str
    """

    class_names: tuple[str, ...]
    codes: IntArray
    ordered: bool = False
    given: bool = False
    notes: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether weak columns may name more classes."""
        return not (self.ordered or self.given)

    @property
    def names(self) -> pd.Series:
        """Class name of each row, None where the label is missing."""
        names = np.array([*self.class_names, None], dtype=object)
        return pd.Series(names[self.codes], dtype=object)

    def with_classes(self, class_names: Sequence[str]) -> Gold:
        """Return the same labels among more classes, or among the same in another order."""
        order = [list(class_names).index(name) for name in self.class_names]
        codes = np.asarray([*order, -1], dtype=np.int64)[self.codes]
        return Gold(tuple(class_names), codes, self.ordered, self.given, self.notes)


def read_gold(raw: RawTable, column: str | None, rules: LabelRules, weak: WeakInputs) -> Gold:
    """Read gold labels, and the classes as given, from the format, or as the labels have them.

    The weak columns may show that a usual mark of a missing label is a class here, such as "none"
    of a column p_none, or -1 where they are as many as the classes with it.
    """
    if column is None:
        return _without_labels(len(raw.frame), rules)
    stored = raw.class_names.get(column)
    kept = {key_of(name) for name in weak.class_words()}
    spelled = read_spellings(raw.frame[column], rules, kept=kept, names=stored)
    n_classes = {len(own) for own in weak.models() if len(own) > 2}
    n_found = len({key_of(spelling) for spelling in spelled.occurring()})
    if spelled.notes and n_found not in n_classes and n_found + 1 in n_classes:
        kept |= {Decimal(-1), "none", "na", "nil"}
        spelled = read_spellings(raw.frame[column], rules, kept=kept)
    notes = spelled.notes
    if rules.class_names is None and stored is None:
        check_class_labels(spelled, rules)
        classes, merged = merge_spellings(spelled)
        names = sort_class_names({c for c, n in zip(classes, spelled.counts, strict=True) if n})
        index = {name: code for code, name in enumerate(names)}
        codes = spelled.recoded([index.get(name, 0) for name in classes])
        return Gold(names, codes, notes=(*notes, *merged, *_mixed_note(column, names)))
    # The order of the format is that of the outputs of published models.
    names = rules.class_names or tuple(spelled.spellings)
    codes, counted = find_classes(spelled, names, ordered=True)
    return Gold(names, codes, True, rules.class_names is not None, notes + counted)


def _without_labels(n: int, rules: LabelRules) -> Gold:
    given = rules.class_names is not None
    return Gold(rules.class_names or (), np.full(n, -1), given, given)


def _mixed_note(column: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on numbers that may be the ids of the classes which words name beside them.

    >>> _mixed_note("y", ["0", "1", "neg", "pos"])[0][:53]
    "column 'y': '0', '1' are classes beside 'neg', 'pos';"
    >>> _mixed_note("stars", ["1", "2", "other"])
    ()
    """
    numbers = [name for name in names if number_of(name) is not None]
    named = [name for name in names if number_of(name) is None]
    ids = {str(code) for code in range(len(named) + 1)}
    if not numbers or len(named) < 2 or not ids.issuperset(numbers):
        return ()
    are = "are classes" if numbers[1:] else "is a class"
    return (
        f"column {column!r}: {listing(numbers, 4)} {are} beside {listing(named, 4)}; pass map, "
        f"such as map={{{numbers[0]!r}: {named[0]!r}}}, if numbers stand for names here",
    )


def check_class_labels(spelled: Spelled, rules: LabelRules) -> None:
    """Raise for labels that look like numbers to predict, or like texts, and not like classes."""
    if rules.task == "classification":
        return
    column, spellings, n = spelled.column, spelled.occurring(), int(spelled.counts.sum())
    numbers = [number_of(spelling.strip()) for spelling in spellings]
    values = [number for number in numbers if number is not None]
    as_classes = "pass task='classification' if each of them is a class"
    if len(values) < len(numbers):  # names
        if len(spellings) > _FEW_TEXTS and len(spellings) > n / 2:
            raise ColumnError(
                f"column {column!r} holds {len(spellings):,} different texts in {n:,} rows, which "
                f"do not look like labels; name another column, or {as_classes}"
            )
        return
    fractions = [s for s, v in zip(spellings, values, strict=True) if not _is_whole(v)]
    if fractions:
        raise ColumnError(
            f"column {column!r} holds {len(values):,} different numbers with fractions, such as "
            f"{fractions[0]!r}: these look like values, and the weak labels are classes; pass "
            f"weak_values instead of them, or {as_classes}"
        )
    if _are_many(values, n):
        raise ColumnError(
            f"column {column!r} holds {len(values):,} different whole numbers in {n:,} rows: "
            f"{as_classes}, or task='regression' if they are values to predict"
        )


def _is_whole(value: Decimal) -> bool:
    return value.adjusted() > 18 or value == int(value)


def _are_many(values: Sequence[Decimal], n: int) -> bool:
    if len(values) <= _FEW_NUMBERS:
        return len(values) > 20 and len(values) > n / 2
    low, high = min(values), max(values)
    counting = low in (0, 1) and high - low < 1.1 * len(values)
    return not counting or len(values) * _LEAST_ROWS > n


def sort_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, and the numbers in them by value.

    >>> sort_class_names(["class_10", "class_2", "other"]), sort_class_names(["10", "-1", "9.5"])
    (('class_2', 'class_10', 'other'), ('-1', '9.5', '10'))
    """
    ordered = sorted(set(names))
    try:
        values = [float(name) for name in ordered]
    except ValueError:
        values = [math.inf]
    if not all(math.isfinite(value) for value in values):  # a class may be called "nan" or "inf"
        return tuple(sorted(ordered, key=natural_key))
    return tuple(name for _, name in sorted(zip(values, ordered, strict=True)))


def class_codes(names: pd.Series, class_names: Sequence[str], column_name: str) -> IntArray:
    """Return codes into `class_names`, -1 where missing; raise if a name is not a class."""
    codes = pd.Index(list(class_names)).astype(object).get_indexer(pd.Index(names.astype(object)))
    # get_indexer returns -1 for missing names and for names that are not classes alike.
    strange = np.flatnonzero((codes < 0) & names.notna().to_numpy())
    if len(strange):
        raise ColumnError(
            f"column {column_name!r}, {rows(strange)}: "
            + unknown("class", str(names.iloc[strange[0]]), list(class_names))
        )
    return np.asarray(codes, dtype=np.int64)
