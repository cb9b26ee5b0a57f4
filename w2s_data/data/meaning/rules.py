"""How labels are spelled: what the caller says of it, and what spellings of one class share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from w2s_data.errors import InputError, listing, unknown
from w2s_data.utils.validation import check_parameters, one_of

TRUTH = {"false": Decimal(0), "true": Decimal(1)}
# Zero-width blanks, marks of direction and byte order marks, which pages and spreadsheets leave.
_UNSEEN = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff"))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?")


@dataclass(frozen=True)
class LabelRules:
    """How labels and classes are spelled, as far as the caller says so.

    Attributes
    ----------
    class_names : tuple of str, or None
        All classes, in their order.
    map : mapping from spelling to class
        For labels and weak columns; "COLUMN:LABEL" concerns one column, "" means no label.
    missing : tuple of str, or None
        Spellings of a missing label; None for the usual ones.
    task : "classification", "regression" or None
        Whether numbers are classes or values; None where the numbers tell.
    """

    class_names: tuple[str, ...] | None = None
    map: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] | None = None
    task: str | None = None
    used: set[str] = field(default_factory=set, compare=False)  # keys of `map` that were found

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
        for name in (f"{column}:{spelling}", spelling) if self.map else ():
            label = name if name in self.map else self._by_key.get(key_of(name))
            if label is not None:
                self.used.add(label)
                return self.map[label]
        return None

    @cached_property
    def _by_key(self) -> dict[Hashable, str]:
        return {key_of(label): label for label in self.map}

    def check_used(self, spellings: Iterable[str]) -> None:
        """Raise if a key of `map` is neither a label nor a weak column."""
        unused = [label for label in self.map if label not in self.used]
        if unused:
            raise InputError(f"map: {unknown('label or weak column', unused[0], [*spellings])}")


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
    seen = unicodedata.normalize("NFC", spelling).translate(_UNSEEN)
    text = " ".join(seen.split()).casefold()
    # With a leading zero it is the name of something: of a class "01" beside a class "1".
    if re.match(r"[+-]?0\d", text):
        return text
    number = number_of(text)
    return text if number is None else number


def number_of(text: str) -> Decimal | None:
    """Return the exact value of a plain decimal number, None for any other text."""
    return Decimal(text) if _NUMBER.fullmatch(text.casefold()) else None
