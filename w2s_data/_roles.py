"""From the columns of a raw table to the parts of a data set, role by role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from w2s_data import columns as cols
from w2s_data._typing import FloatArray
from w2s_data.columns import ItemKind, WeakColumns
from w2s_data.errors import (
    ColumnError,
    DuplicateIdError,
    FileFormatError,
    InputError,
    listing,
    rows,
    unknown,
)
from w2s_data.readers import RawTable

MISSING = "(missing)"  # source or group of a row that names none


@dataclass(frozen=True)
class Roles:
    """Which columns play which role; None where no column does."""

    item: str | Sequence[str] | None = None
    id: str | None = None
    label: str | None = None
    split: str | None = None
    source: str | None = None
    group: str | None = None
    weak_columns: WeakColumns | None = None
    weak_label: str | None = None
    weak_confidence: str | None = None
    chosen: str | Sequence[str] | None = None
    rejected: str | Sequence[str] | None = None

    def given(self) -> list[str]:
        """Names of the roles that a column plays."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def single(self) -> dict[str, str]:
        """Columns by role, of the roles that take one column by name."""
        return {role: c for role in self.given() if isinstance(c := getattr(self, role), str)}

    def checked(self, raw: RawTable) -> Roles:
        """Return the roles, completed by what the format settles; every column exists."""
        roles = replace(self, **{r: c for r, c in raw.roles.items() if r not in self.given()})
        for name in roles.single().values():
            cols.column(raw.frame, name)
        if roles.weak_columns is not None and roles.weak_label is not None:
            raise InputError("give weak_columns (probabilities) or weak_label, not both")
        if roles.weak_confidence is not None and roles.weak_label is None:
            raise InputError("weak_confidence needs weak_label, the column it is about")
        return roles

    def unused_note(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """Note on columns that are named like a role which nobody gave to them."""
        used = {*self.single().values()}
        named = [
            role
            for role in ("id", "label", "split", "source", "group")
            if role not in self.given() and role in frame.columns and role not in used
        ]
        if not named:
            return ()
        options, arguments = (
            separator.join(form.format(role) for role in named)
            for separator, form in ((" ", "--{0} {0}"), (", ", "{0}={0!r}"))
        )
        what = f"columns {listing(named)} play" if len(named) > 1 else f"column {named[0]!r} plays"
        return (f"{what} no role; name it with {options} ({arguments})",)


def read_ids(frame: pd.DataFrame, name: str | None) -> pd.Series:
    """Unique ids as strings; row numbers where no column holds them."""
    if name is None:
        return pd.Series(np.arange(len(frame)).astype(str), dtype=object)
    ids = cols.as_names(frame[name])
    missing = np.flatnonzero(ids.isna())
    if len(missing):
        raise ColumnError(f"id column {name!r} is empty in {rows(missing)}")
    repeated = ids[ids.duplicated(keep=False)]
    if len(repeated):
        where = repeated.groupby(repeated, sort=False).indices
        shown = ", ".join(f"{key!r} ({rows(repeated.index[at], 4)})" for key, at in _first(where))
        more = f" and {len(where) - 3} more" if len(where) > 3 else ""
        raise DuplicateIdError(f"id column {name!r} must be unique; it repeats {shown}{more}")
    return ids


def _first(mapping: dict[Any, Any], limit: int = 3) -> list[tuple[Any, Any]]:
    return list(mapping.items())[:limit]


def read_labels(raw: RawTable, name: str | None) -> pd.Series:
    """Class names, None where the label is missing."""
    if name is None:
        return pd.Series([None] * len(raw.frame), dtype=object)
    if name not in raw.class_names:
        return cols.as_names(raw.frame[name])
    class_names = raw.class_names[name]
    codes = raw.frame[name].fillna(-1).to_numpy(dtype=np.int64)
    bad = np.flatnonzero((codes < -1) | (codes >= len(class_names)))
    if len(bad):
        raise ColumnError(
            f"label column {name!r} has codes outside its {len(class_names)} classes in {rows(bad)}"
        )
    return pd.Series(np.array([*class_names, None], dtype=object)[codes], dtype=object)


def resolve_class_names(
    raw: RawTable, roles: Roles, labels: pd.Series, given: Sequence[object] | None
) -> tuple[str, ...]:
    """Class names as given, as the format knows them, or sorted from labels and weak labels."""
    if given is not None:
        names = tuple(str(name) for name in given)
        if len(set(names)) < len(names):
            raise InputError(f"class_names repeat a name: {listing(names)}")
        return names
    if roles.label in raw.class_names:
        return raw.class_names[str(roles.label)]
    known = cols.sort_class_names(labels.dropna())
    if not known:
        return cols.weak_class_names(raw.frame, roles.weak_columns, roles.weak_label)
    if roles.weak_label is not None:
        weak = cols.weak_class_names(raw.frame, None, roles.weak_label)
        return cols.sort_class_names({*known, *weak})
    return known


def read_weak(
    frame: pd.DataFrame, roles: Roles, class_names: Sequence[str]
) -> tuple[FloatArray | None, tuple[str, ...]]:
    """Weak probabilities and the names of several weak models."""
    if roles.weak_columns is not None:
        return cols.weak_from_columns(frame, roles.weak_columns, class_names)
    if roles.weak_label is not None:
        level = roles.weak_confidence
        return cols.weak_from_labels(frame, roles.weak_label, level, class_names), ()
    return None, ()


def read_named(frame: pd.DataFrame, name: str) -> pd.Series:
    """Sources or groups as strings; rows that name none share `MISSING`."""
    return cols.as_names(frame[name]).fillna(MISSING)


def read_items(
    raw: RawTable, roles: Roles, kind: ItemKind | None, features: Any
) -> tuple[ItemKind, pd.Series | None, FloatArray | None]:
    """Kind, item column and features; one of the latter two is None."""
    if kind is not None and kind not in get_args(ItemKind):
        raise InputError(unknown("kind", str(kind), get_args(ItemKind)))
    if features is not None:
        if roles.item is not None or kind not in (None, "features"):
            raise InputError("features stand for the items: leave out item and kind")
        return "features", None, cols.check_features(_load_features(features), "features")
    if roles.item is not None and not isinstance(roles.item, str):
        if kind not in (None, "features") or not roles.item:
            raise InputError("a list of item columns holds the numbers of kind='features'")
        array = cols.as_numbers(raw.frame, list(roles.item), np.float32)
        return "features", None, cols.check_features(array, "item columns")
    name = roles.item or cols.guess_item(raw.frame, roles.single().values())
    values = raw.frame[name]
    kind = kind or cols.guess_kind(values)
    if kind == "features":
        return kind, None, cols.feature_items(values)
    if kind == "image":
        return kind, cols.image_items(values, raw.folder), None
    return kind, cols.text_items(values), None


def _load_features(features: Any) -> FloatArray:
    if not isinstance(features, str | Path):
        return np.asarray(features)
    try:
        loaded = np.load(features, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileFormatError(f"cannot read features {str(features)!r} as npy: {error}") from error
    if not isinstance(loaded, np.ndarray):
        raise FileFormatError(f"{str(features)!r} holds several arrays; give a .npy with one")
    return loaded
