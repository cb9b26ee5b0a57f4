"""The table of a data set: ids, items, labels, sources and groups from the columns of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.columns import MISSING, Roles, distinct_names, read_ids
from w2s_data.data.readers import RawTable
from w2s_data.errors import listing


def arrange_table(
    raw: RawTable, roles: Roles, items: Mapping[str, pd.Series | None], labels: pd.Series
) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of a data set, and notes on sources and groups that became one."""
    table: dict[str, Any] = {"id": read_ids(raw.frame, roles.id)}
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


def _stripped(values: pd.Series, name: str) -> tuple[pd.Series, list[str]]:
    """Return names without blanks around them, and a note on those that become one."""
    codes, distinct = distinct_names(values)
    bare = [text.strip() for text in distinct]
    names = np.array([*(text or None for text in bare), None], dtype=object)
    repeated = {text for text, n in Counter(bare).items() if text and n > 1}
    merged = [text for text, own in zip(distinct, bare, strict=True) if own in repeated]
    note = f"column {name!r}: names that differ by blanks are one, {listing(merged, 4)}"
    return pd.Series(names[codes], dtype=object), [note] if merged else []
