"""Weak probabilities from the columns of a table: matched with the classes, and checked by gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from w2s_data.data.columns import WeakColumns, as_numbers, column
from w2s_data.data.meaning.classes import Gold, check_class_labels, sort_class_names
from w2s_data.data.meaning.match import (
    Match,
    WeakInputs,
    implied_classes,
    match_columns,
    match_single,
)
from w2s_data.data.meaning.order import order_warning
from w2s_data.data.meaning.probabilities import (
    Distributions,
    as_distributions,
    check_single,
    holds_lists,
    read_lists,
    read_numbers,
)
from w2s_data.data.meaning.rules import LabelRules, key_of
from w2s_data.data.meaning.spelling import merge_spellings, read_spellings
from w2s_data.data.meaning.table import find_classes
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, ProbabilityError, listing, rows
from w2s_data.utils.typing import FloatArray, IntArray

_SHOWN = 4  # columns of a match in a note
ABSTAIN = "abstain, with equal probabilities of all classes"


@dataclass(frozen=True)
class Weak:
    """Weak probabilities, and the classes once the weak models have named theirs.

    Attributes
    ----------
    gold : Gold
        With the classes that only weak columns name.
    proba : float array (N, C) or (N, M, C), or None
    names : tuple of str
        Names of several weak models.
    notes : tuple of str
    """

    gold: Gold
    proba: FloatArray | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Model:
    """The columns of one weak model, and the names that its numbers go by."""

    columns: tuple[str, ...]  # of the table
    names: tuple[str, ...]  # one per number: columns or keys; none for a list without names
    title: str  # of the model, "" where there is one
    lists: FloatArray | None = None  # (N, K), of a column of lists

    @property
    def width(self) -> int:
        """Number of classes that the model knows, 1 for the probability of one of two."""
        return len(self.names) if self.lists is None else self.lists.shape[1]

    def numbers(self, frame: pd.DataFrame) -> FloatArray:
        """Return the numbers (N, K), NaN where a cell is empty."""
        return read_numbers(frame, self.columns) if self.lists is None else self.lists


def read_weak(
    raw: RawTable, inputs: WeakInputs, gold: Gold, rules: LabelRules, *, single: str | None = None
) -> Weak:
    """Read weak probabilities or weak labels.

    `single` is the class of an only column whose name fits no class, by default the second.

    Raises
    ------
    InputError
        One of its subclasses, for columns that fit no class, labels that are no class, and numbers
        that are no probabilities.
    """
    if inputs.label is not None:  # `Roles.checked` refuses both at once
        return _from_labels(raw, inputs.label, inputs.confidence, gold, rules)
    if inputs.columns is None:
        return Weak(gold)
    several = isinstance(inputs.columns, Mapping)
    models = _read_models(raw.frame, inputs.columns)
    labelled = gold.class_names
    gold = _with_weak_classes(models, gold, rules)
    matches = [_matched(model, gold, rules, single) for model in models]
    parts = [
        _distributions(raw.frame, model, match, gold.class_names)
        for model, match in zip(models, matches, strict=True)
    ]
    notes = [
        f"class {name!r} has weak probabilities, but no gold label"
        for name in gold.class_names
        if labelled and name not in labelled
    ]
    notes += [note for part in parts if (note := part.rounding)]
    for model, own, part in zip(models, matches, parts, strict=True):
        what = _what(model)
        notes += _abstention_note(what, part)
        warning = order_warning(part.proba, gold.codes, part.abstains, gold.class_names)
        if warning is not None:
            better = dict(zip(gold.class_names, warning.order, strict=True))
            notes.append(
                f"warning: {what}: {warning.text}; if so pass {_change(own, better, gold)}"
            )
    stacked = [part.proba for part in parts]
    proba = np.stack(stacked, axis=1) if several else stacked[0]
    names = tuple(model.title for model in models) if several else ()
    return Weak(gold, proba, names, (*_match_notes(models, matches), *notes))


def _read_models(frame: pd.DataFrame, columns: WeakColumns) -> list[_Model]:
    if not isinstance(columns, Mapping):
        return [_read_model(frame, columns, "")]
    if not columns:
        raise ColumnError("weak_columns names no weak model: give {model name: columns}")
    return [_read_model(frame, own, str(name)) for name, own in columns.items()]


def _read_model(frame: pd.DataFrame, columns: str | Sequence[str], title: str) -> _Model:
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    if len(set(names)) < len(names) or not names:
        raise ColumnError(f"weak columns {listing(names)} must be different columns, one or more")
    if len(names) == 1 and holds_lists(values := column(frame, names[0])):
        numbers, keys = read_lists(values)
        return _Model(names, keys, title, numbers)
    return _Model(names, tuple(map(str, names)), title)  # pandas numbers columns without names


def _what(model: _Model, *, quoted: bool = True) -> str:
    """Name a weak model in a note or an error."""
    shown = listing(model.columns, _SHOWN, quoted=quoted)
    title = f" of weak model {model.title}" if model.title else ""
    return f"weak column{'s' if len(model.columns) > 1 else ''} {shown}{title}"


def _with_weak_classes(models: Sequence[_Model], gold: Gold, rules: LabelRules) -> Gold:
    """Return gold labels among all classes, those included that only weak columns name."""
    for model in models:
        if not gold.class_names:
            implied = implied_classes(model.names) or tuple(map(str, range(model.width)))
            gold = Gold(implied, gold.codes, notes=gold.notes)
        elif len(model.names) > max(1, len(gold.class_names)) and gold.open:
            match = match_columns(model.names, gold.class_names, rules, extend=True)
            gold = gold.with_classes(sort_class_names(match.classes))
    return gold


def _matched(model: _Model, gold: Gold, rules: LabelRules, single: str | None) -> Match:
    class_names = gold.class_names
    if len(class_names) == 1:
        raise ProbabilityError(
            f"the gold labels show only the class {class_names[0]!r}; pass class_names with all "
            f"classes of {_what(model)}"
        )
    if len(model.names) == 1 and len(class_names) == 2:
        return match_single(model.names[0], class_names, rules, single or class_names[1])
    if model.names:
        return match_columns(model.names, class_names, rules, ordered=gold.given)
    if model.width != len(class_names):
        raise ProbabilityError(
            f"{_what(model)}: lists of {model.width} numbers, but there are {len(class_names)} "
            f"classes: {listing(class_names)}; pass class_names in the order of the lists"
        )
    return Match(model.columns, class_names, "by position")


def _distributions(
    frame: pd.DataFrame, model: _Model, match: Match, class_names: Sequence[str]
) -> Distributions:
    numbers = model.numbers(frame)
    classes = match.classes
    if len(classes) == 1:
        check_single(numbers[:, 0], model.names[0])
        numbers = np.column_stack([numbers, 1 - numbers])
        classes = (*classes, *(name for name in class_names if name not in classes))
    order = [classes.index(name) for name in class_names]
    return as_distributions(numbers[:, order], _what(model))


def _match_notes(models: Sequence[_Model], matches: Sequence[Match]) -> list[str]:
    """Return one line per match, and one for weak models that are matched alike."""
    lines: dict[tuple[tuple[str, ...], str, bool], list[_Model]] = {}
    for model, match in zip(models, matches, strict=True):
        lines.setdefault((match.classes, match.how, not model.names), []).append(model)
    notes = []
    for (classes, how, lists), alike in lines.items():
        if len(alike) == 1:
            subject = _what(alike[0], quoted=False)
        else:
            subject = (
                f"weak models {listing((model.title for model in alike), _SHOWN, quoted=False)}"
            )
        verb = (
            "lists of class" if lists else "probability of class" if len(classes) == 1 else "class"
        )
        change = "class_names" if how in ("by position", "by number") else "map"
        hint = f"; pass {change} to change it" if how != "by map" else ""
        notes.append(f"{subject}: {verb} {listing(classes, _SHOWN, quoted=False)} {how}{hint}")
    return notes


def _abstention_note(what: str, part: Distributions) -> list[str]:
    n = int(part.abstains.sum())
    return [f"{what}: {n:,} empty rows {ABSTAIN}"] if n else []


def _change(match: Match, better: Mapping[str, str], gold: Gold) -> str:
    """Return the parameter that gives the columns of a match the classes that suit them better."""
    if match.by_order and not gold.given:
        return f"class_names={list(better.values())!r}"
    swap = {
        name: better[own]
        for name, own in zip(match.columns, match.classes, strict=True)
        if better[own] != own
    }
    return f"map={swap!r}"


def _from_labels(
    raw: RawTable, label: str, confidence: str | None, gold: Gold, rules: LabelRules
) -> Weak:
    """Return probabilities (N, C): c on the label, (1 - c)/(C - 1) on the other classes."""
    stored = raw.class_names.get(label)
    kept = {key_of(name) for name in gold.class_names}
    spelled = read_spellings(
        column(raw.frame, label),
        rules,
        kept=kept,
        names=stored,
        closed=bool(kept),
        meaning=ABSTAIN,
    )
    notes = list(spelled.notes)
    if not gold.class_names:
        if stored is None:
            check_class_labels(spelled, rules)
        names, merged = merge_spellings(spelled)
        occurring = {n for n, count in zip(names, spelled.counts, strict=True) if count}
        gold = Gold(stored or sort_class_names(occurring), gold.codes, notes=gold.notes)
        notes += merged
    n_classes = len(gold.class_names)
    if n_classes < 2:
        raise ProbabilityError(
            f"weak labels need two classes or more; there is only {listing(gold.class_names)}"
        )
    codes, counted = find_classes(spelled, gold.class_names, ordered=gold.ordered)
    if (codes < 0).all():
        raise ColumnError(f"weak label column {label!r}: no row has a label")
    level = (
        np.ones(len(codes)) if confidence is None else _levels(raw, confidence, codes, n_classes)
    )
    proba = np.repeat(((1 - level) / (n_classes - 1))[:, None], n_classes, axis=1)
    proba[np.arange(len(codes)), codes] = level
    abstains = codes < 0
    proba[abstains] = 1 / n_classes
    part = Distributions(proba, abstains)
    what = f"weak label column {label!r}"
    notes += [*counted, *(() if spelled.notes else _abstention_note(what, part))]
    warning = order_warning(proba, gold.codes, abstains, gold.class_names)
    if warning is not None:
        swap = {
            f"{label}:{old}": new
            for old, new in zip(gold.class_names, warning.order, strict=True)
            if old != new
        }
        notes.append(f"warning: {what}: {warning.text}; if so pass map={swap!r}")
    return Weak(gold, proba, notes=tuple(notes))


def _levels(raw: RawTable, confidence: str, codes: IntArray, n_classes: int) -> FloatArray:
    level = as_numbers(raw.frame, [confidence])[:, 0]
    level[codes < 0] = 1.0  # the confidence of a label that is missing
    # Below 1/C another class would be likelier than the label; 1e-6 allows for decimal rounding.
    bad = np.flatnonzero(~((level >= 1 / n_classes - 1e-6) & (level <= 1 + 1e-6)))
    if len(bad):
        raise ProbabilityError(
            f"weak confidence column {confidence!r} must lie in [1/{n_classes}, 1]; "
            f"{rows(bad)} do not (row {bad[0]} holds {level[bad[0]]:g})"
        )
    return level
