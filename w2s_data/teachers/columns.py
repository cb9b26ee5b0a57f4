"""Teachers that are columns of the data: probabilities, or labels with their confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from w2s_data.data.columns import Roles
from w2s_data.data.meaning.classes import Gold
from w2s_data.data.meaning.inputs import Weak, read_weak
from w2s_data.data.meaning.match import WeakInputs
from w2s_data.data.meaning.rules import LabelRules
from w2s_data.data.pairs import SIDES, read_pair_weak
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, InputError, listing
from w2s_data.teachers.items import Items
from w2s_data.teachers.opinions import Opinions
from w2s_data.utils.votes import abstains


def column_opinions(
    items: Items,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    confidence: str | None = None,
    map: Mapping[str, str] | None = None,
) -> Opinions:
    """Read one teacher's columns as `load_dataset` reads ready-made weak labels.

    Classes are matched by the names of the columns, and checked by the gold labels; a row without
    a number or label abstains.

    Raises
    ------
    InputError
        For columns that fit no class, labels that are not classes, and numbers that are not
        probabilities.
    """
    if confidence is not None and label is None:
        raise InputError("confidence requires label, the column that it is about")
    names = [name for name in (*(columns or ()), label, confidence) if name is not None]
    frame = items.columns[[]].assign(**{name: items.column(name) for name in names})
    known = items.dataset.columns
    rules = LabelRules.checked(
        None, dict(known.get("map") or {}) | dict(map or {}), known.get("missing"), None
    )
    rules.used.update(known.get("map") or {})  # that of the data set concerns other columns too
    weak = _read(
        items, RawTable(frame), (list(columns) if columns else None, label, confidence), rules
    )
    rules.check_used((*items.class_names, *names))
    proba = weak.proba
    assert proba is not None  # there is a column or a label
    summary = {"columns": names, "n_abstained": int(abstains(proba).sum())}
    return Opinions(proba, summary, weak.notes)


def _read(
    items: Items,
    raw: RawTable,
    inputs: tuple[list[str] | None, str | None, str | None],
    rules: LabelRules,
) -> Weak:
    dataset = items.dataset
    if dataset.is_paired:
        sides = {side: dataset.columns.get(side, side) for side in SIDES}
        weak_columns, weak_label, weak_confidence = inputs
        roles = Roles(
            weak_columns=weak_columns,
            weak_label=weak_label,
            weak_confidence=weak_confidence,
            **sides,
        )
        weak = read_pair_weak(raw, roles, rules)
        if weak.proba is not None:  # they are about chosen and rejected
            turned = dataset.labels == 1
            weak.proba[turned] = weak.proba[turned][:, ::-1]
        return weak
    weak = read_weak(raw, WeakInputs(*inputs), Gold(dataset.class_names, dataset.labels), rules)
    if more := [name for name in weak.gold.class_names if name not in dataset.class_names]:
        raise ColumnError(
            f"columns {listing(raw.frame.columns)} name {listing(more)}, and the classes are "
            f"{listing(dataset.class_names)}: pass class_names with all of them"
        )
    return weak if weak.proba is None else _in_order(weak, dataset.class_names)


def _in_order(weak: Weak, class_names: Sequence[str]) -> Weak:
    """Return probabilities whose columns are in the order of the classes."""
    order = np.array([weak.gold.class_names.index(name) for name in class_names])
    assert weak.proba is not None
    return Weak(weak.gold, weak.proba[:, order], weak.names, weak.notes)
