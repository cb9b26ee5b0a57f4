"""Load a data set from a table and the roles of its columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data.data.classes import class_codes, read_labels, read_weak, resolve_class_names
from w2s_data.data.columns import (
    MISSING,
    ItemKind,
    Roles,
    WeakColumns,
    as_names,
    read_ids,
    read_items,
)
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.images import unreadable_images
from w2s_data.data.pairs import check_pair_roles, read_pairs
from w2s_data.data.readers import RawTable, read_raw
from w2s_data.data.splits import DEFAULT_SPLIT_SIZES, SPLITS, parse_splits
from w2s_data.errors import EmptyDataError, FileFormatError, InputError, listing
from w2s_data.utils.typing import AnyArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, one_of

__all__ = ["SPLITS", "ItemKind", "W2SDataset", "load_dataset"]

logger = logging.getLogger("w2s_data")


def load_dataset(
    data: str | Path | pd.DataFrame,
    *,
    item: str | Sequence[str] | None = None,
    kind: ItemKind | None = None,
    id: str | None = None,
    label: str | None = None,
    split: str | None = None,
    source: str | None = None,
    group: str | None = None,
    weak_columns: WeakColumns | None = None,
    weak_label: str | None = None,
    weak_confidence: str | None = None,
    chosen: str | Sequence[str] | None = None,
    rejected: str | Sequence[str] | None = None,
    class_names: Sequence[object] | None = None,
    features: Any = None,
    split_sizes: Mapping[str, float] | None = None,
    unreadable: Literal["error", "skip"] = "error",
    random_state: RandomState = 0,
) -> W2SDataset:
    """Load a data set from a file, folder, URL, data frame, hub name or example.

    Parameters
    ----------
    data : path, DataFrame or str
        A table (CSV, TSV, JSON lines, these also gzipped; Parquet; Arrow), a folder of images with
        one subfolder per class, a DataFrame, `example:NAME[?key=value&...]`, or, if no such file
        exists, a Hugging Face data set `OWNER/NAME[:CONFIG]` (extra `hub`).
    item : str or list of str
        Column of texts, image paths (relative to the table's folder), image bytes or vectors; a
        list of columns of numbers makes feature vectors. Guessed from the column's name.
    kind : "text", "image" or "features"
        Guessed from the items.
    id, label, split, source, group : str
        Columns. Rows without label go to the pool. A split column is kept unchanged; its values
        are those of `SPLITS`, or train, unlabeled, dev, val, valid.
    weak_columns : str, list of str, or dict from weak model to these
        Probabilities, one column per class in the order of `class_names` (or named after the
        classes); for two classes one column, the probability of the second, is enough.
    weak_label, weak_confidence : str
        Hard weak labels and their confidence c in [1/C, 1] (1 if not given), made into
        probabilities c on the label and (1 - c)/(C - 1) on each other class.
    chosen, rejected : str or list of str
        Preference data, instead of item and label: columns of the preferred and the other item of
        each pair, texts or vectors. The order in a pair is drawn at random; the classes are
        "first preferred" and "second preferred". A single weak column is then the probability that
        the chosen item is preferred, two are those of chosen and rejected, and weak labels are
        "chosen" or "rejected". See `w2s_data.data.pairs`.
    class_names : sequence
        The order of the classes. By default sorted, numbers by value.
    features : array (N, D) or path of a .npy file
        Ready-made features that stand for the items.
    split_sizes : mapping from split to share (float) of the labelled rows, or number (int) of rows
        The pool takes the rest. Default: labelled .2, validation .1, test .2.
    unreadable : "error" or "skip"
        Handling of images that cannot be decoded; a note names the skipped ones.
    random_state : int, Generator or None
        Seed of the splits, and of the order inside pairs.

    Raises
    ------
    InputError
        One of its subclasses, naming the column, rows or file, and the values that are valid.

    Examples
    --------
    >>> data = load_dataset("example:digits")
    >>> len(data), data.kind, data.class_names[:3]
    (1797, 'image', ('0', '1', '2'))
    >>> {split: len(data.rows(split)) for split in SPLITS}
    {'labelled': 359, 'pool': 899, 'validation': 180, 'test': 359}
    """
    weak = weak_columns, weak_label, weak_confidence
    roles = Roles(item, id, label, split, source, group, *weak, chosen, rejected)
    check_pair_roles(roles, features, class_names)
    if split is not None and split_sizes is not None:
        raise InputError("use either split, a column that is kept, or split_sizes, not both")
    check_parameters({"unreadable": unreadable}, {"unreadable": one_of("error", "skip")})
    if isinstance(data, str) and data.startswith("example:"):
        return _load_example(data, roles, split_sizes, random_state)

    raw = read_raw(data)
    if len(raw.frame) == 0:
        raise EmptyDataError(f"{raw.name!r} holds no rows: give a table with at least one item")
    roles = roles.checked(raw)
    rng = check_generator(random_state)  # for the order of pairs and, after it, the splits
    dataset = _assemble(raw, roles, kind, features, class_names, rng)
    given = raw.fixed_splits
    if roles.split is not None:
        given = parse_splits(raw.frame[roles.split], roles.split)
    if dataset.kind == "image":
        # Decoded once here, since a bad image would later end the embedding half-way.
        kept = _decodable(dataset, unreadable)
        given = None if given is None else given[kept]
        dataset = _without_unreadable(dataset, kept)
    if roles.split is None or given is None:
        dataset = _assign_splits(dataset, split_sizes, given, rng)
    else:
        dataset = dataset.with_given_splits(given)
    # Ready-made weak labels need no teacher, and rows without any label can still be embedded.
    if dataset.weak_proba is None and (dataset.labels >= 0).any():
        dataset.check_teacher_data()
    return dataset


def _assemble(
    raw: RawTable,
    roles: Roles,
    kind: ItemKind | None,
    features: Any,
    given_names: Any,
    rng: np.random.Generator,
) -> W2SDataset:
    """Read every role except the split; all rows start in the pool."""
    if roles.chosen is not None:
        items, labels, parts = read_pairs(raw, roles, kind, rng)
    else:
        items, labels, parts = _read_single(raw, roles, kind, features, given_names)
    return W2SDataset(
        table=_table(raw, roles, items, labels),
        name=raw.name,
        notes=raw.notes + roles.unused_note(raw),
        **parts,
    )


def _read_single(
    raw: RawTable, roles: Roles, kind: ItemKind | None, features: Any, given_names: Any
) -> tuple[dict[str, pd.Series | None], pd.Series, dict[str, Any]]:
    """Read items that are not pairs; return item columns, labels and fields of a data set."""
    labels = read_labels(raw, roles.label)
    class_names = resolve_class_names(raw, roles, labels, given_names)
    if roles.label is not None:
        class_codes(labels, class_names, roles.label)  # raises for a label that is not a class
    weak_proba, weak_names = read_weak(raw.frame, roles, class_names)
    kind, items, item_features = read_items(raw, roles, kind, features)
    parts = {"kind": kind, "class_names": class_names, "features": item_features}
    return {"item": items}, labels, parts | {"weak_proba": weak_proba, "weak_names": weak_names}


def _table(
    raw: RawTable, roles: Roles, items: Mapping[str, pd.Series | None], labels: pd.Series
) -> pd.DataFrame:
    table: dict[str, Any] = {"id": read_ids(raw.frame, roles.id)}
    table |= {name: values for name, values in items.items() if values is not None}
    table["label"] = labels
    table["split"] = "pool"
    for role, name in (("source", roles.source), ("group", roles.group)):
        if name is not None:
            table[role] = as_names(raw.frame[name]).fillna(MISSING)
    return pd.DataFrame(table, index=raw.frame.index)


def _decodable(dataset: W2SDataset, unreadable: str) -> IntArray:
    """Return the rows whose image can be decoded; raise for others unless they are skipped."""
    reasons = unreadable_images(dataset.items)
    if reasons and unreadable == "error":
        first = next(iter(reasons))
        raise FileFormatError(
            f"{len(reasons)} images cannot be decoded: "
            f"{listing((dataset.ids[row] for row in reasons), 5)} "
            f"({reasons[first]}); repair them, or skip them with unreadable='skip'"
        )
    return np.setdiff1d(np.arange(len(dataset)), np.fromiter(reasons, dtype=np.int64))


def _without_unreadable(dataset: W2SDataset, kept: IntArray) -> W2SDataset:
    if len(kept) == len(dataset):
        return dataset
    if len(kept) == 0:
        raise EmptyDataError(f"none of the {len(dataset)} images of {dataset.name!r} is readable")
    skipped = np.setdiff1d(dataset.ids, dataset.ids[kept])
    note = (
        f"warning: {len(skipped)} images that cannot be decoded were skipped: {listing(skipped, 5)}"
    )
    logger.warning("%s: %s", dataset.name, note)
    return replace(dataset.subset(kept), notes=(*dataset.notes, note))


def _assign_splits(
    dataset: W2SDataset,
    sizes: Mapping[str, float] | None,
    fixed: AnyArray | None,
    random_state: RandomState,
) -> W2SDataset:
    """Assign splits to the rows without one; rows without label join the pool."""
    if fixed is not None:
        fixed = np.where(dataset.labels >= 0, fixed, np.array(None))
        if sizes is None:
            # A split that came with the data has its size.
            sizes = {s: size for s, size in DEFAULT_SPLIT_SIZES.items() if s not in set(fixed)}
    return dataset.with_splits(sizes, random_state, fixed=fixed)


def _load_example(
    name: str, roles: Roles, sizes: Mapping[str, float] | None, random_state: RandomState
) -> W2SDataset:
    from w2s_data.data.examples import load_example

    if roles.given():  # examples define all roles
        raise InputError(f"{name!r} has its own columns; leave out {listing(roles.given())}")
    dataset = load_example(name.removeprefix("example:"), random_state).dataset
    return dataset if sizes is None else dataset.with_splits(sizes, random_state)
