"""The table of a data set: ids, items, labels, sources and groups from the columns of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.columns import MISSING, Roles, as_names, distinct_names
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, DuplicateIdError, listing, rows

WEAK_ROLES = {  # in the words of a note
    "weak_columns": "weak labels",
    "weak_label": "weak labels",
    "weak_confidence": "confidence of the weak labels",
    "weak_values": "weak values",
    "weak_errors": "errors of the weak values",
}


def arrange_table(
    raw: RawTable, roles: Roles, items: Mapping[str, pd.Series | None], labels: pd.Series
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of a data set, and notes on sources and groups that became one."""
    table: dict[str, Any] = {"id": _read_ids(raw.frame, roles.id)}
    table |= {name: values for name, values in items.items() if values is not None}
    table["label"] = labels
    table["split"] = "pool"
    notes: list[str] = []
    for role, name in (("source", roles.source), ("group", roles.group)):
        if name is not None:
            values, merged = _stripped(raw.frame[name], name)
            table[role] = values.fillna(MISSING)
            notes += merged
    return pd.DataFrame(table, index=raw.frame.index), notes


def present_roles(roles: Roles, columns: Collection[str]) -> tuple[Roles, list[str]]:
    """Return the roles whose columns a table has, and notes on weak ones whose columns it lacks.

    Raise ColumnError if it lacks one of the items.
    """
    lacking = {role: [n for n in own if n not in columns] for role, own in roles.columns().items()}
    absent = {role: names for role, names in lacking.items() if names}
    for role in ("item", "chosen", "rejected"):
        if role in absent:
            raise ColumnError(
                f"the new rows lack {listing(absent[role], 4)}, in which the items were; they "
                f"have {listing(columns)}: rename it{', or pass item' if role == 'item' else ''}"
            )
    for role, other in (("weak_label", "weak_confidence"), ("weak_values", "weak_errors")):
        if role in absent:
            absent[other] = []  # means nothing alone
    notes = [
        f"no {WEAK_ROLES[role]}: "
        + (
            f"column {names[0]!r} is missing"
            if len(names) == 1
            else f"columns {listing(names, 4)} are missing"
        )
        for role, names in absent.items()
        if names and role in WEAK_ROLES
    ]
    return replace(roles, **dict.fromkeys(absent)), notes


def _stripped(values: pd.Series, name: str) -> tuple[pd.Series, list[str]]:
    """Return names without blanks around them, and a note on those that become one."""
    codes, distinct = distinct_names(values)
    bare = [text.strip() for text in distinct]
    names = np.array([*(text or None for text in bare), None], dtype=object)
    repeated = {text for text, n in Counter(bare).items() if text and n > 1}
    merged = [text for text, own in zip(distinct, bare, strict=True) if own in repeated]
    note = f"column {name!r}: names that differ by blanks are one, {listing(merged, 4)}"
    return pd.Series(names[codes], dtype=object), [note] if merged else []


def _read_ids(frame: pd.DataFrame, name: str | None) -> pd.Series:
    """Return unique ids as strings; row numbers if no column holds ids."""
    if name is None:
        return pd.Series(np.arange(len(frame)).astype(str), dtype=object)
    ids = as_names(frame[name])
    missing = np.flatnonzero(ids.isna())
    if len(missing):
        raise ColumnError(f"id column {name!r} is empty in {rows(missing)}")
    repeated = ids[ids.duplicated(keep=False)]  # all rows of a repeated id, for the message
    if len(repeated):
        # In order of appearance, so that the first rows of the table are named.
        where = repeated.groupby(repeated, sort=False).indices
        first = list(where.items())[:3]
        shown = ", ".join(f"{key!r} ({rows(repeated.index[at], 4)})" for key, at in first)
        more = f" and {len(where) - 3} more" if len(where) > 3 else ""
        raise DuplicateIdError(f"id column {name!r} must be unique; it repeats {shown}{more}")
    return ids
