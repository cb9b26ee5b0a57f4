"""Columns of a table: their roles, and the ids, names, numbers and items that they hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from w2s_data.data.readers import IMAGE_SUFFIXES, RawTable
from w2s_data.errors import (
    ColumnError,
    FeatureError,
    InputError,
    listing,
    rows,
    unknown,
)
from w2s_data.utils.io import load_npy
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block, check_parameters, one_of

ItemKind = Literal["text", "image", "features"]
Task = Literal["classification", "regression"]
ERROR_SUFFIX = "_error"  # of the column of standard errors beside a teacher's values
WeakColumns = str | Sequence[str] | Mapping[str, str | Sequence[str]]
ITEM_NAMES = (  # lower-case names of columns that hold items in common data sets
    *("item", "text", "sentence", "content", "document", "review", "question"),
    *("messages", "conversations", "conversation"),
    *("image", "img", "path", "image_path", "file", "filename", "file_name"),
    *("features", "embedding", "embeddings", "vector"),
)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return a column by its name; raise with the nearest name if there is none."""
    if name not in frame.columns:
        raise ColumnError(unknown("column", str(name), [str(c) for c in frame.columns]))
    if (frame.columns == name).sum() > 1:  # pandas would return a data frame
        raise ColumnError(f"the table has more than one column {name!r}; rename all but one")
    return frame[name]


def is_empty(cell: object) -> bool:
    """Return whether a cell holds nothing; a list or another object is something.

    >>> is_empty(float("nan")), is_empty(pd.NA), is_empty([])
    (True, True, False)
    """
    # NaN is the only value that differs from itself; pandas' own test looks into lists.
    return cell is None or cell is pd.NA or (isinstance(cell, float) and cell != cell)


def guess_item(frame: pd.DataFrame, taken: Iterable[str]) -> str:
    """Return the only column whose name is a usual name of items."""
    roles = set(taken)
    matches = [c for c in frame.columns if str(c).lower() in ITEM_NAMES and c not in roles]
    if len(matches) != 1:
        seen = f"{listing(matches)} all could" if matches else "no name suggests it"
        raise ColumnError(
            f"cannot guess which column holds the items ({seen}); name it with item=, one of "
            f"{listing(frame.columns, limit=30)}"
        )
    return str(matches[0])


def guess_kind(values: pd.Series) -> ItemKind:
    """Recognize text, images (bytes or image paths) or feature vectors by the first values."""
    # A hundred values suffice: later ones of another kind are refused when the items are read.
    first = list(values.head(100).dropna())
    if not first:
        return "text"
    is_named_image = str(values.name).lower().startswith(("image", "img"))
    if not is_named_image and all(isinstance(v, bytes) and _is_written(v) for v in first):
        return "text"  # Parquet files of some programs do not mark their texts as such
    if all(isinstance(v, bytes | bytearray | dict) for v in first):
        return "image"
    if all(isinstance(v, str | Path) and Path(v).suffix.lower() in IMAGE_SUFFIXES for v in first):
        return "image"
    if all(isinstance(v, list | tuple | np.ndarray) for v in first):
        return "features"
    # True and False are numbers to pandas, but as items they are words.
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return "features" if is_number else "text"


def as_names(values: pd.Series) -> pd.Series:
    """Turn a column of names or codes into strings, and missing and empty cells into None."""
    codes, distinct = distinct_names(values)
    names = np.array([*(name or None for name in distinct), None], dtype=object)  # code -1: None
    return pd.Series(names[codes], dtype=object)


def distinct_names(values: pd.Series) -> tuple[IntArray, list[str]]:
    """Return the code (N,) of each row, -1 where missing, and the distinct values as strings."""
    try:
        codes, distinct = pd.factorize(values)  # each distinct value is converted once
        if values.dtype == object and any(isinstance(value, tuple) for value in distinct):
            raise TypeError("several names per row")
    except TypeError as error:
        raise ColumnError(
            f"column {values.name!r} must hold names or numbers; it holds lists or other objects"
        ) from error
    if isinstance(distinct.dtype, pd.StringDtype):  # iterating over Arrow's is ten times as slow
        names = distinct.to_numpy(dtype=object).tolist()
    else:
        names = [_name(value) for value in distinct]
    return np.asarray(codes, dtype=np.int64), names


def _name(value: Any) -> str:
    # A missing value turns a column of integers into floats: 1.0 stands for class "1".
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    # Arrow's binary columns hold what is text elsewhere.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def as_numbers(frame: pd.DataFrame, names: Sequence[str], dtype: Any = np.float64) -> FloatArray:
    """Return columns of numbers, or of strings of digits, as an array (N, len(names))."""
    array = np.empty((len(frame), len(names)), dtype=dtype)
    for j, name in enumerate(names):
        values = column(frame, name)
        try:
            # Coerced, so that the error names all bad rows, not only the first.
            numbers = pd.to_numeric(values, errors="coerce")
        except TypeError as error:
            raise ColumnError(f"column {name!r} must hold one number per row") from error
        bad = np.flatnonzero((numbers.isna() & values.notna()).to_numpy())
        if len(bad):
            raise ColumnError(
                f"column {name!r} must hold numbers; {rows(bad)} do not "
                f"(row {bad[0]} holds {values.iloc[bad[0]]!r})"
            )
        array[:, j] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return array


def text_items(values: pd.Series) -> pd.Series:
    """Return texts unchanged; raise if one is missing or empty."""
    is_text = isinstance(values.dtype, pd.StringDtype)
    # An empty text is missing in every format, since a CSV file cannot tell the two apart.
    if is_text:
        empty = values.eq("").fillna(False).to_numpy(dtype=bool)
    else:
        empty = np.array([isinstance(value, str) and not value for value in values], dtype=bool)
    missing = np.flatnonzero(values.isna().to_numpy() | empty)
    if len(missing):
        raise ColumnError(
            f"item column {values.name!r} has no text in {rows(missing)}; "
            "drop these rows or fill them"
        )
    if is_text:
        return values  # all strings: no need to look at each value
    cells = [v.decode() if isinstance(v, bytes) and _is_written(v) else v for v in values]
    strange = [i for i, v in enumerate(cells) if not isinstance(v, str | int | float | np.number)]
    if strange:
        raise ColumnError(
            f"item column {values.name!r} must hold text; {rows(strange)} hold "
            f"{type(cells[strange[0]]).__name__}"
        )
    texts = [str(cell) for cell in cells]
    halves = [i for i, text in enumerate(texts) if not _is_unicode(text)]
    if halves:
        raise ColumnError(
            f"item column {values.name!r} has half of a surrogate pair, which is not a character, "
            f"in {rows(halves)}; repair these texts"
        )
    return pd.Series(texts, index=values.index, name=values.name)


def _is_written(content: bytes) -> bool:
    """Return whether bytes are text, and not an image (whose text formats begin with P1 to P3)."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return "\0" not in text and not re.match(r"P[1-3]\s", text)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def feature_items(values: pd.Series) -> FloatArray:
    """Return feature vectors, one per row, as float32 (N, D)."""
    if pd.api.types.is_numeric_dtype(values):
        features = as_numbers(values.to_frame(), [str(values.name)], np.float32)
    else:
        texts = [i for i, v in enumerate(values) if _is_vector(v) and _holds_text(v)]
        if texts:
            raise FeatureError(
                f"item column {values.name!r} holds lists of texts in {rows(texts)}; join each "
                "list to one text"
            )
        lengths = np.array([len(v) if _is_vector(v) else -1 for v in values])
        usual = int(np.median(lengths))  # so that the rows that differ from the rest are named
        bad = np.flatnonzero((lengths != usual) | (lengths < 1))
        if len(bad):
            raise FeatureError(
                f"item column {values.name!r} must hold vectors of one length ({usual}); "
                f"{rows(bad)} do not"
            )
        try:
            features = np.array(values.tolist(), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise FeatureError(
                f"item column {values.name!r} must hold vectors of numbers: {error}"
            ) from error
    return check_features(features, f"features of column {values.name!r}")


def check_features(features: FloatArray, name: str) -> FloatArray:
    """Return features as a floating array (N, D) without NaN or infinities."""
    if features.ndim != 2 or not features.shape[1] or features.dtype.kind not in "fiub":
        raise FeatureError(
            f"{name} must be numbers of shape (N, D); got {features.dtype} of {features.shape}"
        )
    if features.dtype.kind != "f":  # floats stay unchanged: they may be a memory map
        features = features.astype(np.float32)
    check_feature_block(features, np.arange(len(features)), name, nonzero=False)
    return features


def image_items(values: pd.Series, folder: Path | None) -> pd.Series:
    """Return image bytes, or paths relative to the table's folder made complete."""
    items = [_image_item(value, folder) for value in values]
    missing = [i for i, item in enumerate(items) if item is None]
    if missing:
        raise ColumnError(
            f"item column {values.name!r} has no image in {rows(missing)}; "
            "each row needs a path or the bytes of an image file"
        )
    return pd.Series(items, dtype=object)


def _image_item(value: Any, folder: Path | None) -> str | bytes | None:
    if isinstance(value, dict):  # how the `datasets` library stores an image
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str | Path) and str(value):
        return str(folder / value) if folder is not None else str(value)
    return None


def _holds_text(values: Any) -> bool:
    return isinstance(next(iter(values), None), str)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


MISSING = "(missing)"  # source or group of a row without one


@dataclass(frozen=True)
class Roles:
    """Columns by role; None where no column has the role."""

    item: str | Sequence[str] | None = None
    id: str | None = None
    label: str | None = None
    split: str | None = None
    source: str | None = None
    group: str | None = None
    weak_columns: WeakColumns | None = None
    weak_label: str | None = None
    weak_confidence: str | None = None
    weak_values: WeakColumns | None = None
    weak_errors: WeakColumns | None = None
    chosen: str | Sequence[str] | None = None
    rejected: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        for role in self.given():
            if isinstance(name := getattr(self, role), int):  # of a table without a header
                raise InputError(
                    f"{role} must be the name of a column; got {name}: rename the columns, e.g. by "
                    "data.rename(columns=str)"
                )

    def given(self) -> list[str]:
        """Return the roles that have a column."""
        return [f.name for f in fields(self) if getattr(self, f.name) is not None]

    def single(self) -> dict[str, str]:
        """Return columns by role, for the roles that are one column."""
        return {role: c for role in self.given() if isinstance(c := getattr(self, role), str)}

    def columns(self) -> dict[str, list[str]]:
        """Return the columns of each role that has any."""
        named: dict[str, list[str]] = {}
        for role in self.given():
            value = getattr(self, role)
            parts = value.values() if isinstance(value, Mapping) else [value]
            named[role] = [n for part in parts for n in ([part] if isinstance(part, str) else part)]
        return named

    def check_named(self, columns: Collection[str]) -> None:
        """Raise if a named column is not among those of a table."""
        for name in (name for names in self.columns().values() for name in names):
            if name not in columns:
                raise ColumnError(unknown("column", str(name), [str(c) for c in columns]))

    def checked(self, raw: RawTable) -> Roles:
        """Return the roles completed by those of the format, once every column exists."""
        # Roles named by the caller take precedence over those of the format.
        roles = replace(self, **{r: c for r, c in raw.roles.items() if r not in self.given()})
        for name in roles.single().values():
            column(raw.frame, name)
        if roles.weak_columns is not None and roles.weak_label is not None:
            raise InputError("give weak_columns (probabilities) or weak_label, not both")
        if roles.weak_confidence is not None and roles.weak_label is None:
            raise InputError("weak_confidence requires weak_label")
        named = roles.columns()
        weak = {*named.get("weak_label", ()), *named.get("weak_values", ())}
        if roles.label in weak:
            raise InputError(
                f"column {roles.label!r} cannot hold both the gold labels and the weak ones, which "
                "are compared with them"
            )
        return roles

    def unused_note(self, raw: RawTable) -> tuple[str, ...]:
        """Return a note on columns that are named like a role and have none."""
        used = {*self.single().values()}
        if raw.fixed_splits is not None:
            used.add("split")  # the reader's own column, used unless another one is named
        named = [
            role
            for role in ("id", "label", "split", "source", "group")
            if role not in self.given() and role in raw.frame.columns and role not in used
        ]
        if not named:
            return ()
        arguments = ", ".join(f"{role}={role!r}" for role in named)
        if len(named) == 1:
            return (f"column {named[0]!r} is ignored; pass {arguments} to use it",)
        return (f"columns {listing(named)} are ignored; pass {arguments} to use them",)


def item_columns(raw: RawTable, roles: Roles, features: Any, prompt: str | None) -> list[str]:
    """Return the columns that hold items, guessed if not named; none for ready-made features.

    Raise InputError if a prompt is given for such features.
    """
    names: list[Any] = [roles.chosen, roles.rejected]
    if roles.chosen is None:
        names = [] if features is not None else [roles.item]
    if names == [None]:
        taken = [*roles.single().values(), *([] if prompt is None else [prompt])]
        names = [guess_item(raw.frame, taken)]
    if prompt is not None:
        column(raw.frame, prompt)
        if not names or not all(isinstance(name, str) for name in names):
            raise InputError("prompt stands before items that are texts; leave it out for features")
    return [name for name in names if isinstance(name, str)]


def read_items(
    raw: RawTable, roles: Roles, kind: ItemKind | None, features: Any
) -> tuple[ItemKind, pd.Series | None, FloatArray | None]:
    """Return kind, item column and features; one of the latter two is None."""
    check_parameters({"kind": kind}, {"kind": one_of(None, *get_args(ItemKind))})
    if features is not None:
        if roles.item is not None or kind not in (None, "features"):
            raise InputError("use either features, or item and kind, not both")
        is_file = isinstance(features, str | Path)
        array = load_npy(features) if is_file else np.asarray(features)
        return "features", None, check_features(array, "features")
    if roles.item is not None and not isinstance(roles.item, str):
        if kind not in (None, "features") or not roles.item:
            raise InputError("a list of item columns requires kind='features'")
        array = as_numbers(raw.frame, list(roles.item), np.float32)
        return "features", None, check_features(array, "item columns")
    # A column with another role cannot hold the items as well.
    name = roles.item or guess_item(raw.frame, roles.single().values())
    values = raw.frame[name]
    kind = kind or guess_kind(values)
    if kind == "features":
        return kind, None, feature_items(values)
    if kind == "image":
        return kind, image_items(values, raw.folder), None
    return kind, text_items(values), None
