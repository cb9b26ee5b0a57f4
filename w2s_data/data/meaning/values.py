"""Labels and weak labels that are values: recognised, read, and refused where they are none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from w2s_data.data.columns import ERROR_SUFFIX, Roles, WeakColumns, column
from w2s_data.data.meaning.rules import LabelRules, number_of
from w2s_data.data.meaning.spelling import MISSING_CODES, Spelled, read_spellings
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, InputError, counted, listing, rows
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import check_magnitude

_INFINITE = re.compile(r"[+-]?inf(inity)?")


@dataclass(frozen=True)
class WeakValues:
    """Values of M weak models as a table has them.

    Attributes
    ----------
    values : float array (N, M), or None
        NaN where a model abstains.
    errors : float array (N, M), or None
        Standard errors of the values, NaN where a model says none.
    names : tuple of str
        Names of the models.
    notes : tuple of str
    """

    values: FloatArray | None = None
    errors: FloatArray | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_value_roles(roles: Roles, rules: LabelRules) -> None:
    """Raise for roles of classes beside roles of values."""
    if roles.weak_errors is not None and roles.weak_values is None:
        raise InputError("weak_errors requires weak_values")
    of_values = roles.weak_values is not None or rules.task == "regression"
    of_classes = [
        role
        for role in ("chosen", "weak_columns", "weak_label")
        if getattr(roles, role) is not None
    ]
    of_classes += ["class_names"] if rules.class_names is not None else []
    of_classes += ["task='classification'"] if rules.task == "classification" else []
    if of_values and of_classes:
        given = "weak_values" if roles.weak_values is not None else "task='regression'"
        raise InputError(f"{of_classes[0]} is for classes, {given} for values: leave out one")


def are_values(raw: RawTable, roles: Roles, rules: LabelRules) -> bool:
    """Whether labels are values to predict: the caller says so, or numbers have fractions."""
    if rules.task is not None or roles.weak_values is not None:
        return rules.task != "classification"  # other roles were refused beside weak_values
    of_classes = (rules.class_names, roles.weak_columns, roles.weak_label, roles.chosen)
    if roles.label is None or any(part is not None for part in of_classes):
        return False
    if roles.label in raw.class_names:
        return False
    spelled = read_spellings(column(raw.frame, roles.label), rules)
    fractions = False
    for spelling in spelled.occurring():
        number = _number(spelling)
        if number is None:  # a word
            return False
        fractions |= not number.is_integer()
    return fractions


def read_targets(
    raw: RawTable, name: str | None, rules: LabelRules
) -> tuple[FloatArray, list[str]]:
    """Return gold values (N,), NaN where a row has none, and notes.

    Raises
    ------
    ColumnError
        For labels in words and for infinite ones, with their rows.
    """
    if name is None:
        return np.full(len(raw.frame), np.nan), []
    if name in raw.class_names:
        raise ColumnError(
            f"column {name!r} holds the classes {listing(raw.class_names[name], 4)} by its format: "
            "leave out task='regression'"
        )
    spelled = read_spellings(column(raw.frame, name), rules)
    targets, notes = numbers_of(spelled), list(spelled.notes)
    if rules.task is None:
        n = len(spelled.occurring())
        are = "1 number is a value" if n == 1 else f"{n:,} different numbers are values"
        notes.append(
            f"column {name!r}: {are} to predict; pass task='classification' if each of them is a "
            "class"
        )
    return targets, notes


def read_weak_values(raw: RawTable, roles: Roles, rules: LabelRules) -> WeakValues:
    """Read the values of weak models, and their standard errors.

    Raises
    ------
    InputError
        For cells that are no numbers, errors below 0, columns without a number, and names that
        stand twice.
    """
    columns = _by_name("weak_values", roles.weak_values)
    errors = _by_name("weak_errors", roles.weak_errors)
    if not columns:
        return WeakValues()
    names = tuple(columns)
    read = {
        name: read_spellings(column(raw.frame, own), rules, meaning="abstain")
        for name, own in columns.items()
    }
    values = np.column_stack([numbers_of(spelled) for spelled in read.values()])
    empty = [
        columns[name] for name, own in zip(names, values.T, strict=True) if np.isnan(own).all()
    ]
    if empty:
        raise ColumnError(f"weak value column {empty[0]!r} holds no number")
    notes = tuple(note for spelled in read.values() for note in spelled.notes)
    notes += tuple(
        f"weak value column {columns[name]!r}: {counted(n, 'empty row')} "
        f"{'abstains' if n == 1 else 'abstain'}"
        for name, n in zip(names, np.isnan(values).sum(axis=0).tolist(), strict=True)
        if n and not read[name].notes
    )
    if roles.weak_errors is None:
        return WeakValues(values, None, names, notes)
    if isinstance(roles.weak_errors, Mapping) and set(errors) == set(names):
        errors = {name: errors[name] for name in names}
    elif isinstance(roles.weak_errors, Mapping) or len(errors) != len(names):
        raise InputError(
            f"weak_errors must name one column for each of {listing(names)}; got {listing(errors)}"
        )
    own_errors = [_errors(raw, own, rules) for own in errors.values()]
    numbers = np.column_stack([found for found, _ in own_errors])
    notes += tuple(note for _, told in own_errors for note in told)
    unsaid = np.isfinite(values) & np.isnan(numbers)
    notes += tuple(
        f"weak error column {name!r}: {counted(n, 'row')} with a value, but without an error"
        for name, n in zip(errors.values(), unsaid.sum(axis=0).tolist(), strict=True)
        if n
    )
    return WeakValues(values, numbers, names, notes)


def _by_name(role: str, columns: WeakColumns | None) -> dict[str, str]:
    """Return one column per model by the model's name, which is the column's where none is given.

    >>> _by_name("weak_values", ["a", "b"]), _by_name("weak_values", {"old": ["p"]})
    ({'a': 'a', 'b': 'b'}, {'old': 'p'})
    """
    if columns is None:
        return {}
    given = columns if isinstance(columns, Mapping) else {}
    listed = [columns] if isinstance(columns, str) else [str(name) for name in columns]
    own = [given.get(name, name) for name in listed]
    named = {
        name: c if isinstance(c, str) else "".join(c) for name, c in zip(listed, own, strict=True)
    }
    single = all(isinstance(c, str) or len(c) == 1 for c in own)
    clash = any(f"{name}{ERROR_SUFFIX}" in named for name in named)
    if not single or not named or len(named) < len(listed) or clash:
        raise InputError(
            f"{role} must name different columns, one per weak model; got {listing(listed)}"
        )
    return named


def _errors(raw: RawTable, name: str, rules: LabelRules) -> tuple[FloatArray, tuple[str, ...]]:
    """Return standard errors (N,), NaN where there is none, and notes."""
    # A code such as -99 would be a negative error, which is refused.
    values = column(raw.frame, name)
    spelled = read_spellings(values, rules, kept=MISSING_CODES, meaning="have no error")
    errors = numbers_of(spelled)
    bad = np.flatnonzero(errors < 0)
    if len(bad):
        raise ColumnError(
            f"weak error column {name!r} must hold standard errors >= 0; {rows(bad)} "
            f"{'does' if len(bad) == 1 else 'do'} not (row {bad[0]} holds {errors[bad[0]]:g})"
        )
    return errors, spelled.notes


def numbers_of(spelled: Spelled) -> FloatArray:
    """Return the number of each row (N,), NaN where it is missing; raise for any other cell."""
    numbers = [_number(spelling) for spelling in spelled.spellings]
    strange = np.array([number is None for number in numbers], dtype=bool) & (spelled.counts > 0)
    if strange.any():
        raise ColumnError(_not_numbers(spelled, strange))
    values = np.array([np.nan if number is None else number for number in numbers] + [np.nan])
    infinite = np.flatnonzero(np.isinf(values[spelled.codes]))
    if len(infinite):
        raise ColumnError(
            f"column {spelled.column!r} must hold finite numbers; it is infinite in "
            f"{rows(infinite)}: correct these cells, or leave them empty"
        )
    check_magnitude(values, f"column {spelled.column!r}")
    return values[spelled.codes]


def _number(spelling: str) -> float | None:
    """Return the number that a cell holds, None for any other text."""
    text = spelling.strip()
    if _INFINITE.fullmatch(text.casefold()):
        return float(text)
    number = number_of(text)
    return None if number is None else float(number)


def _not_numbers(spelled: Spelled, strange: BoolArray) -> str:
    """Say which cells are no numbers, and what to do about them."""
    column, first = spelled.column, spelled.spellings[int(np.argmax(strange))].strip()
    if strange[spelled.counts > 0].all() and not any(map(str.isdigit, first)):
        return (
            f"column {column!r} holds words, such as {first!r}, and values are numbers: name a "
            "column of numbers, or leave out task='regression' if the words are classes"
        )
    bad = np.flatnonzero((spelled.codes >= 0) & strange[spelled.codes])
    change = "correct them, or leave these cells empty"
    if re.fullmatch(r"[+-]?\d*,\d+", first):
        change = f"write {first.replace(',', '.')}"
    elif re.match(r"[+-]?[\d.,]+\s*\D+$", first):
        change = "write numbers without units"
    verb = "holds" if len(bad) == 1 else "hold other things"
    shown = repr(first) if len(bad) == 1 else f"(the first is {first!r})"
    return f"column {column!r} must hold numbers; {rows(bad)} {verb} {shown}: {change}"
