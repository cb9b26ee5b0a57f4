"""Load a data set from a table and the roles of its columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.arranging import arrange_table, present_roles
from w2s_data.data.columns import (
    ItemKind,
    Roles,
    Task,
    WeakColumns,
    column,
    item_columns,
    read_items,
)
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.meaning.classes import read_gold
from w2s_data.data.meaning.inputs import read_weak
from w2s_data.data.meaning.match import WeakInputs
from w2s_data.data.meaning.rules import LabelRules
from w2s_data.data.meaning.values import (
    are_values,
    check_value_roles,
    read_targets,
    read_weak_values,
)
from w2s_data.data.messages import render_messages
from w2s_data.data.pairs import check_pair_roles, read_pairs
from w2s_data.data.prompts import Prompts
from w2s_data.data.readers import RawTable, read_raw
from w2s_data.data.readers.peek import peek_columns
from w2s_data.data.splits import (
    SPLITS,
    base_splits,
    default_split_sizes,
    joins_pool,
    parse_splits,
)
from w2s_data.data.usable import decodable_rows, only_rows, ordered_rows
from w2s_data.errors import EmptyDataError, InputError, listing
from w2s_data.utils.typing import AnyArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, one_of

__all__ = ["SPLITS", "ItemKind", "W2SDataset", "load_dataset"]

logger = logging.getLogger("w2s_data")


def load_dataset(
    data: Any,
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
    weak_values: WeakColumns | None = None,
    weak_errors: WeakColumns | None = None,
    chosen: str | Sequence[str] | None = None,
    rejected: str | Sequence[str] | None = None,
    class_names: Sequence[object] | None = None,
    map: Mapping[Any, Any] | None = None,
    missing: Sequence[object] | None = None,
    task: Task | None = None,
    features: Any = None,
    split_sizes: Mapping[str, float] | None = None,
    unreadable: Literal["error", "skip"] = "error",
    prompt: str | None = None,
    chat_template: Any = None,
    keep: Sequence[str] = (),
    memory: MemoryLimit | str | int | None = None,
    random_state: RandomState = 0,
) -> W2SDataset:
    """Load a data set from a file, folder, URL, data frame, hub name or example.

    Parameters
    ----------
    data : path, DataFrame or str
        A table (CSV, TSV, JSON, Parquet, Arrow, also packed by gzip or zstd) or its URL; a folder
        or pattern such as "data/part-*.parquet" of files that hold one table, or its splits; what
        `save_to_disk` of the `datasets` library wrote; a folder of images with one subfolder per
        class; a DataFrame of pandas or Polars, an Arrow table, a `Dataset` or `DatasetDict` of
        `datasets`; `example:NAME[?key=value&...]`; or, if no such file exists, a Hugging Face data
        set `OWNER/NAME[:CONFIG]` (extra `hub`).
    item : str or list of str
        Column of texts, chat messages, image paths (relative to the table's folder), image bytes
        or vectors; a list of columns of numbers makes feature vectors. Guessed from the column's
        name.
    kind : "text", "image" or "features"
        Guessed from the items.
    id, label, split, source, group : str
        Columns. Rows without label go to the pool. A split column is kept unchanged, but that rows
        without label whose split is train or empty go to the pool; its values are those of
        `SPLITS`, or train, unlabeled, dev, val, valid. Several test splits, such as
        test and test_ood, are measured side by side; see `splits.read_split`.
    weak_columns : str, list of str, or dict from weak model to these
        Probabilities, one column per class, matched by name ("p_neg", "P(neg)", "neg_prob") or,
        where no name fits, by the order of `class_names`; for two classes one column is enough, of
        the class it is named after or of the second. Or one column of lists, in the order of the
        classes, or of mappings. Empty rows abstain. A note says how columns and classes match.
    weak_label, weak_confidence : str
        Hard weak labels and their confidence c in [1/C, 1] (1 if not given), made into
        probabilities c on the label and (1 - c)/(C - 1) on each other class. A missing label is
        an abstention, with equal probabilities.
    weak_values, weak_errors : str, list of str, or dict from weak model to column
        Values of weak models where labels are values, one column per model, and their standard
        errors in the same order or by the same names. Empty cells abstain.
    chosen, rejected : str or list of str
        Preference data, instead of item and label: columns of the preferred and the other item of
        each pair, texts or vectors. The order in a pair is drawn at random; the classes are
        "first preferred" and "second preferred". A single weak column is then the probability that
        the chosen item is preferred, two are those of chosen and rejected, and weak labels are
        "chosen" or "rejected". Pairs of the same item twice are left out, and a note names them.
        See `w2s_data.data.pairs`.
    class_names : sequence
        All classes in their order. By default sorted, numbers by value.
    map : mapping from spelling to class
        For labels and weak columns that are spelled otherwise, e.g. ``{0: "neg", 1: "pos"}``;
        "COLUMN:LABEL" concerns one column, and an empty class means no label.
    missing : sequence
        Spellings of a missing label, instead of the usual ones (-1 beside codes from 0, blanks,
        "NULL", "nan", "None", "N/A", "?", "-", ...). An empty list leaves empty cells only.
    task : "classification" or "regression"
        Whether numbers are classes or values to predict. By default numbers with fractions are
        values, which a note says, few whole numbers are classes, and many are refused.
    features : array (N, D) or path of a .npy file
        Ready-made features that stand for the items.
    split_sizes : mapping from split to share (float) of the labelled rows, or number (int) of rows
        The pool takes the rest. Default: labelled .2, validation .1, test .2; labelled up to .5
        where rows without a label fill the pool.
    unreadable : "error" or "skip"
        Handling of images that cannot be decoded; a note names the skipped ones.
    prompt : str
        Column of texts or messages that stand before the items, or before chosen and rejected.
    chat_template : str or tokenizer
        Model (folder or hub name) whose template renders chat messages as texts; by default, and
        for "plain", a message is a line "role: content".
    keep : sequence of str
        Further columns, which teachers read; see `W2SDataset.extra`.
    memory : MemoryLimit, str or int
        Limit such as "4GB", a quarter of which a table may take; see `MemoryLimit`.
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
    weak = weak_columns, weak_label, weak_confidence, weak_values, weak_errors
    roles = Roles(item, id, label, split, source, group, *weak, chosen, rejected)
    check_pair_roles(roles, features, class_names)
    rules = LabelRules.checked(class_names, map, missing, task)
    check_value_roles(roles, rules)
    if split is not None and split_sizes is not None:
        raise InputError("use either split, a column that is kept, or split_sizes, not both")
    check_parameters({"unreadable": unreadable}, {"unreadable": one_of("error", "skip")})
    if isinstance(data, str) and data.startswith("example:"):
        return _load_example(data, roles, rules, split_sizes, random_state)

    limit = memory if isinstance(memory, MemoryLimit) else MemoryLimit.parse(memory)
    if names := peek_columns(data, limit):  # of an empty table the reader says more
        roles.check_named(names)
    raw = read_raw(data, limit)
    if len(raw.frame) == 0:
        raise EmptyDataError(f"{raw.name!r} holds no rows: give a table with at least one item")
    roles = roles.checked(raw)
    items = item_columns(raw, roles, features, prompt)
    raw, prompts = render_messages(raw, items, prompt, chat_template)
    rng = check_generator(random_state)  # for the order of pairs and, after it, the splits
    dataset = _assemble(raw, roles, kind, features, rules, rng, prompts)
    columns = _described(roles, items, map, missing, prompt, chat_template)
    columns |= {"task": dataset.task} if dataset.is_regression else {}
    dataset = replace(dataset, extra=_extra(raw, keep), columns=columns)
    given = raw.fixed_splits
    if roles.split is not None:
        named = raw.frame[roles.split].astype(object)
        moved = joins_pool(named, dataset.is_labelled)
        given = parse_splits(named.mask(moved, "pool"), roles.split)
        if moved.any():
            note = (
                f"{moved.sum()} rows without a label, of split 'train' or of none, are in the pool"
            )
            dataset = replace(dataset, notes=(*dataset.notes, note))
    dataset, kept = _usable(dataset, unreadable)
    given = None if given is None else given[kept]
    if roles.split is None or given is None:
        dataset = _assign_splits(dataset, split_sizes, given, rng)
    else:
        dataset = dataset.with_given_splits(given)
    # Ready-made weak labels need no teacher, and rows without any label can still be embedded.
    if not dataset.has_weak_labels and dataset.is_labelled.any():
        dataset.check_teacher_data()
    return dataset


def load_new(
    data: Any,
    columns: Mapping[str, Any],
    class_names: Sequence[str],
    kind: ItemKind,
    memory: MemoryLimit,
    renamed: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    unreadable: Literal["error", "skip"] = "error",
) -> W2SDataset:
    """Load new rows as earlier ones were read: all in the pool, and without need of labels.

    Pairs stay in their order, so that the item of the column `chosen` is the first.

    Parameters
    ----------
    columns : mapping
        `W2SDataset.columns` of the earlier rows. Columns other than those of the items may be
        missing; a note says which weak ones are.
    renamed : mapping from role to column, optional
        Other names of columns, which must exist.
    keep : sequence of str
        Columns that teachers read; those that are missing are left out.
    unreadable : "error" or "skip"
        As `load_dataset` takes it.

    Raises
    ------
    InputError
        For a table without the columns of the items, or with classes that are not known.
    """
    raw = read_raw(data, memory)
    if len(raw.frame) == 0:
        raise EmptyDataError(f"{raw.name!r} holds no rows: give a table with at least one item")
    renamed = renamed or {}
    Roles(**renamed).check_named(raw.frame.columns)
    names = {f.name for f in fields(Roles)} - {"split", "source", "group"}
    known: dict[str, Any] = {role: value for role, value in columns.items() if role in names}
    roles = Roles(**{**known, **renamed})
    roles, absent = present_roles(roles, raw.frame.columns)
    roles = roles.checked(raw)
    prompt = columns.get("prompt")
    items = item_columns(raw, roles, None, prompt)
    raw, prompts = render_messages(raw, items, prompt, columns.get("chat_template"))
    classes = None if roles.chosen is not None else class_names
    given = columns.get("map"), columns.get("missing"), columns.get("task")
    rules = LabelRules.checked(classes or None, *given)
    rules.used.update(rules.map)  # new rows need not hold every spelling
    dataset = _assemble(raw, roles, kind, None, rules, None, prompts)
    present = [name for name in keep if name in raw.frame.columns]
    notes = (*dataset.notes, *absent)
    return _usable(replace(dataset, extra=_extra(raw, present), notes=notes), unreadable)[0]


def _usable(
    dataset: W2SDataset, unreadable: Literal["error", "skip"]
) -> tuple[W2SDataset, IntArray]:
    """Return the data set of the rows that can be used, and these rows.

    Images are decoded once here, since a bad one would later end the embedding half-way.
    """
    is_image = dataset.kind == "image"
    kept = decodable_rows(dataset, unreadable) if is_image else ordered_rows(dataset)
    return only_rows(dataset, kept), kept


def _extra(raw: RawTable, keep: Sequence[str]) -> pd.DataFrame | None:
    """Return the columns to keep for teachers, None if there are none."""
    if not keep:
        return None
    return pd.DataFrame({name: column(raw.frame, name) for name in keep}).reset_index(drop=True)


def _described(
    roles: Roles,
    items: Sequence[str],
    map: Mapping[Any, Any] | None,
    missing: Sequence[object] | None,
    prompt: str | None,
    chat_template: Any,
) -> dict[str, Any]:
    """Return the arguments by which new rows are read in the same way."""
    columns = {role: getattr(roles, role) for role in roles.given()}
    if len(items) == 1:  # also where it was guessed
        columns["item"] = items[0]
    template = chat_template if isinstance(chat_template, str) else None
    how = {"map": map, "missing": missing, "prompt": prompt, "chat_template": template}
    return columns | {name: value for name, value in how.items() if value is not None}


def _assemble(
    raw: RawTable,
    roles: Roles,
    kind: ItemKind | None,
    features: Any,
    rules: LabelRules,
    rng: np.random.Generator | None,
    prompts: Prompts | None,
) -> W2SDataset:
    """Read every role except the split; all rows start in the pool."""
    if roles.chosen is not None:
        items, labels, parts, notes = read_pairs(raw, roles, kind, rules, rng, prompts)
    else:
        items, labels, parts, notes = _read_single(raw, roles, kind, features, rules)
    known = (*parts.get("class_names", ()), *WeakInputs(roles.weak_columns).all_columns())
    rules.check_used(known)
    table, more = arrange_table(raw, roles, items, labels)
    notes = (*raw.notes, *roles.unused_note(raw), *notes, *more)
    for note in notes:
        if note.startswith("warning: "):
            logger.warning("%s: %s", raw.name, note)
    return W2SDataset(table=table, name=raw.name, notes=notes, **parts)


def _read_single(
    raw: RawTable, roles: Roles, kind: ItemKind | None, features: Any, rules: LabelRules
) -> tuple[dict[str, pd.Series | None], pd.Series, dict[str, Any], tuple[str, ...]]:
    """Read items that are not pairs; return item columns, labels, fields of a data set, notes."""
    if are_values(raw, roles, rules):
        return _read_values(raw, roles, kind, features, rules)
    inputs = WeakInputs(roles.weak_columns, roles.weak_label, roles.weak_confidence)
    gold = read_gold(raw, roles.label, rules, inputs)
    weak = read_weak(raw, inputs, gold, rules)
    gold = weak.gold
    kind, items, item_features = read_items(raw, roles, kind, features)
    parts = {"kind": kind, "class_names": gold.class_names, "features": item_features}
    parts |= {"weak_proba": weak.proba, "weak_names": weak.names}
    return {"item": items}, gold.names, parts, gold.notes + weak.notes


def _read_values(
    raw: RawTable, roles: Roles, kind: ItemKind | None, features: Any, rules: LabelRules
) -> tuple[dict[str, pd.Series | None], pd.Series, dict[str, Any], tuple[str, ...]]:
    """Read items whose labels are values; return what `_read_single` does."""
    targets, notes = read_targets(raw, roles.label, rules)
    weak = read_weak_values(raw, roles, rules)
    kind, items, item_features = read_items(raw, roles, kind, features)
    parts: dict[str, Any] = {
        "kind": kind,
        "class_names": (),
        "features": item_features,
        "task": "regression",
    }
    parts |= {"weak_values": weak.values, "weak_errors": weak.errors, "weak_names": weak.names}
    return {"item": items}, pd.Series(targets), parts, (*notes, *weak.notes)


def _assign_splits(
    dataset: W2SDataset,
    sizes: Mapping[str, float] | None,
    fixed: AnyArray | None,
    random_state: RandomState,
) -> W2SDataset:
    """Assign splits to the rows without one; rows without label join the pool."""
    known = dataset.is_labelled
    if fixed is not None:
        fixed = np.where(known, fixed, np.array(None))
    if sizes is None and known.any():
        came = np.array([]) if fixed is None else base_splits(fixed[fixed != None])  # noqa: E711
        n_pool = int((~known).sum() + (came == "pool").sum())
        sizes = default_split_sizes(int(known.sum()) - len(came), n_pool, set(came))
    return dataset.with_splits(sizes, random_state, fixed=fixed)


def _load_example(
    name: str,
    roles: Roles,
    rules: LabelRules,
    sizes: Mapping[str, float] | None,
    random_state: RandomState,
) -> W2SDataset:
    from w2s_data.data.examples import load_example

    # Examples define all roles and classes.
    given = [*roles.given(), *(f.name for f in fields(rules) if getattr(rules, f.name))]
    if given:
        raise InputError(f"{name!r} has its own columns; leave out {listing(given)}")
    dataset = load_example(name.removeprefix("example:"), random_state).dataset
    return dataset if sizes is None else dataset.with_splits(sizes, random_state)
