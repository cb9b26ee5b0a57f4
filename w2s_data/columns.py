"""What the columns of a table mean: class names, items, weak probabilities, numbers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data._progress import progress
from w2s_data._typing import FloatArray, IntArray
from w2s_data._validation import check_feature_block, check_proba
from w2s_data.errors import (
    ColumnError,
    FeatureError,
    FileFormatError,
    ProbabilityError,
    listing,
    rows,
    unknown,
)
from w2s_data.readers import IMAGE_SUFFIXES

ItemKind = Literal["text", "image", "features"]
WeakColumns = str | Sequence[str] | Mapping[str, str | Sequence[str]]
ITEM_NAMES = (
    *("item", "text", "sentence", "content", "document", "review", "question"),
    *("image", "img", "path", "image_path", "file", "filename", "file_name"),
    *("features", "embedding", "embeddings", "vector"),
)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """Return the column of that name, or say which columns there are."""
    if name not in frame.columns:
        raise ColumnError(unknown("column", str(name), [str(c) for c in frame.columns]))
    if (frame.columns == name).sum() > 1:
        raise ColumnError(f"the table has more than one column {name!r}; rename all but one")
    return frame[name]


def guess_item(frame: pd.DataFrame, taken: Iterable[str]) -> str:
    """Return the one column whose name says that it holds the items."""
    roles = set(taken)
    matches = [c for c in frame.columns if str(c).lower() in ITEM_NAMES and c not in roles]
    if len(matches) != 1:
        seen = f"{listing(matches)} all could" if matches else "none does by its name"
        raise ColumnError(
            f"say which column holds the items (--item COLUMN, item=...): {seen}; "
            f"columns: {listing(frame.columns, limit=30)}"
        )
    return str(matches[0])


def guess_kind(values: pd.Series) -> ItemKind:
    """Tell text, images (bytes or image paths) and feature vectors by the first values."""
    first = [v for v in values.head(100) if _is_given(v)]
    if not first:
        return "text"
    if all(isinstance(v, bytes | bytearray | dict) for v in first):
        return "image"
    if all(isinstance(v, str | Path) and Path(v).suffix.lower() in IMAGE_SUFFIXES for v in first):
        return "image"
    if all(isinstance(v, list | tuple | np.ndarray) for v in first):
        return "features"
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return "features" if is_number else "text"


def as_names(values: pd.Series) -> pd.Series:
    """Turn a column of names or codes into strings; missing and empty cells into None.

    Whole numbers lose their decimal point, which missing values force on integer columns.

    >>> as_names(pd.Series([1.0, None, 0.0])).tolist()
    ['1', None, '0']
    """
    try:
        codes, found = pd.factorize(values)
    except TypeError as error:
        raise ColumnError(
            f"column {values.name!r} must hold names or numbers; it holds lists or other objects"
        ) from error
    names = np.array([*(_name(value) for value in found), None], dtype=object)
    return pd.Series(names[codes], dtype=object)


def _name(value: Any) -> str | None:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value) or None


def sort_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names, by value where all of them are numbers.

    >>> sort_class_names({"10", "9", "2"})
    ('2', '9', '10')
    """
    found = sorted(set(names))
    try:
        values = [float(name) for name in found]
    except ValueError:
        return tuple(found)
    if not all(math.isfinite(value) for value in values):
        return tuple(found)
    return tuple(name for _, name in sorted(zip(values, found, strict=True)))


def class_codes(names: pd.Series, class_names: Sequence[str], column_name: str) -> IntArray:
    """Codes into `class_names`, -1 where the name is missing; a name that is no class is told."""
    codes = pd.Index(list(class_names)).astype(object).get_indexer(pd.Index(names.astype(object)))
    strange = np.flatnonzero((codes < 0) & names.notna().to_numpy())
    if len(strange):
        raise ColumnError(
            f"column {column_name!r}, {rows(strange)}: "
            + unknown("class", str(names.iloc[strange[0]]), list(class_names))
        )
    return np.asarray(codes, dtype=np.int64)


def as_numbers(frame: pd.DataFrame, names: Sequence[str], dtype: Any = np.float64) -> FloatArray:
    """Columns of numbers (or of strings that spell them) as an array (N, len(names))."""
    array = np.empty((len(frame), len(names)), dtype=dtype)
    for j, name in enumerate(names):
        values = column(frame, name)
        try:
            numbers = pd.to_numeric(values, errors="coerce")
        except TypeError as error:
            raise ColumnError(f"column {name!r} must hold one number a row") from error
        bad = np.flatnonzero((numbers.isna() & values.notna()).to_numpy())
        if len(bad):
            raise ColumnError(
                f"column {name!r} must hold numbers; {rows(bad)} do not "
                f"(row {bad[0]} holds {values.iloc[bad[0]]!r})"
            )
        array[:, j] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return array


def text_items(values: pd.Series) -> pd.Series:
    """Texts as they stand; missing ones are refused."""
    missing = np.flatnonzero(values.isna().to_numpy())
    if len(missing):
        raise ColumnError(
            f"item column {values.name!r} has no text in {rows(missing)}; "
            "drop these rows or fill them"
        )
    if isinstance(values.dtype, pd.StringDtype):
        return values
    strange = [i for i, v in enumerate(values) if not isinstance(v, str | int | float | np.number)]
    if strange:
        raise ColumnError(
            f"item column {values.name!r} must hold text; {rows(strange)} hold "
            f"{type(values.iloc[strange[0]]).__name__}"
        )
    return values.map(str)


def feature_items(values: pd.Series) -> FloatArray:
    """Feature vectors, one a row, as float32 (N, D)."""
    if pd.api.types.is_numeric_dtype(values):
        features = as_numbers(values.to_frame(), [str(values.name)], np.float32)
    else:
        lengths = np.array([len(v) if _is_vector(v) else -1 for v in values])
        usual = int(np.median(lengths))
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
    if features.dtype.kind != "f":
        features = features.astype(np.float32)
    check_feature_block(features, np.arange(len(features)), name, nonzero=False)
    return features


def image_items(values: pd.Series, folder: Path | None) -> pd.Series:
    """Image bytes, or paths made complete from the table's folder; missing ones are refused."""
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


def image_bytes(item: str | bytes) -> bytes:
    """Contents of an image file, given as bytes or by its path."""
    return item if isinstance(item, bytes) else Path(item).read_bytes()


def image_digest(item: str | bytes) -> str:
    """SHA-256 of an image's bytes, wherever they lie."""
    try:
        return hashlib.sha256(image_bytes(item)).hexdigest()
    except OSError as error:
        raise FileFormatError(f"cannot read the image {item!r}: {error.strerror}") from error


def unreadable_images(items: Sequence[str | bytes]) -> dict[int, str]:
    """Rows whose image cannot be decoded, with the reason."""
    with ThreadPoolExecutor() as threads, progress("images", len(items)) as advance:
        reasons = {}
        for row, reason in enumerate(threads.map(_why_unreadable, items)):
            advance(1)
            if reason is not None:
                reasons[row] = reason
    return reasons


def _why_unreadable(item: str | bytes) -> str | None:
    import io

    from PIL import Image

    try:
        with Image.open(io.BytesIO(image_bytes(item))) as image:
            image.draft(image.mode, (1, 1))  # JPEG: decode at an eighth of the size, it suffices
            image.load()
    # PIL raises SyntaxError for a broken PNG, and lets its bomb check through as its own error.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error)
    return None


def _is_given(value: Any) -> bool:
    return not (value is None or (pd.api.types.is_scalar(value) and pd.isna(value)))


def _is_vector(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def weak_class_names(
    frame: pd.DataFrame, columns: WeakColumns | None, label: str | None
) -> tuple[str, ...]:
    """Class names that the weak inputs know by themselves, for data without labels.

    >>> weak_class_names(pd.DataFrame({"spam": [0.5]}), "spam", None)
    ('not spam', 'spam')
    """
    if label is not None:
        return sort_class_names(as_names(column(frame, label)).dropna())
    if columns is None:
        return ()
    first = next(iter(columns.values())) if isinstance(columns, Mapping) else columns
    names = [first] if isinstance(first, str) else [str(name) for name in first]
    return (f"not {names[0]}", names[0]) if len(names) == 1 else tuple(names)


def weak_from_columns(
    frame: pd.DataFrame, columns: WeakColumns, class_names: Sequence[str]
) -> tuple[FloatArray, tuple[str, ...]]:
    """Weak probabilities (N, C), or (N, M, C) and the M names for a mapping of models."""
    if not isinstance(columns, Mapping):
        return _one_weak_model(frame, columns, class_names), ()
    if not columns:
        raise ColumnError("weak_columns names no weak model: give {model name: columns}")
    models = [_one_weak_model(frame, names, class_names) for names in columns.values()]
    return np.stack(models, axis=1), tuple(str(name) for name in columns)


def _one_weak_model(
    frame: pd.DataFrame, columns: str | Sequence[str], class_names: Sequence[str]
) -> FloatArray:
    names = [columns] if isinstance(columns, str) else list(columns)
    if set(names) == set(class_names):
        names = list(class_names)  # named after the classes: the names decide, not the order
    if len(names) != len(class_names) and not (len(names) == 1 and len(class_names) == 2):
        raise ProbabilityError(
            f"weak columns {listing(names)} are {len(names)}, but there are {len(class_names)} "
            f"classes: {listing(class_names)}; give one column a class, in this order"
        )
    values = as_numbers(frame, names)
    if len(names) == 1:
        values = np.column_stack([1 - values[:, 0], values[:, 0]])
    return check_proba(values, f"weak columns {listing(names)}")


def weak_from_labels(
    frame: pd.DataFrame, label: str, confidence: str | None, class_names: Sequence[str]
) -> FloatArray:
    """Probabilities (N, C) of hard weak labels: c on the label, (1 - c)/(C - 1) on the others."""
    n_classes = len(class_names)
    if n_classes < 2:
        raise ProbabilityError(
            f"weak labels need two classes or more; there is only {listing(class_names)}"
        )
    names = as_names(column(frame, label))
    codes = class_codes(names, class_names, label)
    if (codes < 0).any():
        raise ColumnError(
            f"weak label column {label!r} is empty in {rows(np.flatnonzero(codes < 0))}"
        )
    level = np.ones(len(frame)) if confidence is None else as_numbers(frame, [confidence])[:, 0]
    bad = np.flatnonzero(~((level >= 1 / n_classes - 1e-6) & (level <= 1 + 1e-6)))
    if len(bad):
        raise ProbabilityError(
            f"weak confidence column {confidence!r} must lie in [1/{n_classes}, 1]; "
            f"{rows(bad)} do not (row {bad[0]} holds {level[bad[0]]:g})"
        )
    proba = np.repeat(((1 - level) / (n_classes - 1))[:, None], n_classes, axis=1)
    proba[np.arange(len(frame)), codes] = level
    return check_proba(proba, f"weak labels {label!r}")
