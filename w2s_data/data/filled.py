"""Tables of labels that a person filled in: read, checked, and added to a data set."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.memory import MemoryLimit
from w2s_data.data.columns import as_names, column
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.meaning.rules import LabelRules
from w2s_data.data.meaning.spelling import Spelled, read_spellings
from w2s_data.data.meaning.table import ClassTable
from w2s_data.data.meaning.values import numbers_of
from w2s_data.data.pairs import PAIR_CLASSES
from w2s_data.data.readers import read_raw
from w2s_data.errors import ColumnError, InputError, UnfilledError, rows, unknown
from w2s_data.utils.typing import IntArray

logger = logging.getLogger("w2s_data")

WHY, AT_RANDOM = "why", "drawn at random"  # a column of tables to fill in, and a value of it


Label = str | float  # a class, or a value


@dataclass(frozen=True)
class Filled:
    """Labels of one table.

    Attributes
    ----------
    name : str or None
        Name of the table; None for the labels that came with the data.
    labels : mapping
        Class or value by id, of the rows whose label is filled in.
    n_chosen : int
        Those of them that were chosen for what a model thought of them, not drawn at random.
    drawn : set
        Ids of those that the table says were drawn at random.
    """

    name: str | None
    labels: Mapping[str, Label]
    n_chosen: int = 0
    drawn: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Labelling:
    """Rounds in which a person labelled rows of a data set.

    Attributes
    ----------
    base : str
        Fingerprint of the data set before them.
    rounds : tuple of dict
        The first describes the data set itself. Each has `table`, `labels` (class or value by id),
        `drawn` (ids of rows drawn at random), `n_labelled` and `results`, the accuracies that the
        run had measured when the next began.
    """

    base: str
    rounds: tuple[dict[str, Any], ...] = ()

    @property
    def labels(self) -> dict[str, Label]:
        """Class or value by id, of all rounds."""
        return {key: label for known in self.rounds for key, label in known["labels"].items()}

    @property
    def drawn(self) -> frozenset[str]:
        """Ids of the rows that were drawn from the pool at random."""
        return frozenset(key for known in self.rounds for key in known["drawn"])


def read_filled(
    table: str | Path | pd.DataFrame,
    class_names: tuple[str, ...] | None,
    memory: MemoryLimit | None = None,
) -> Filled:
    """Read the filled rows of a table with the columns `id` and `label`; other columns are ignored.

    Labels are spelled as the classes are, but for case, blanks and hyphens; with None for classes
    they are values. A row without a label is left out.

    Raises
    ------
    InputError
        If a label is not a class or a number, or an id has two labels.
    UnfilledError
        If no label is filled in.

    Examples
    --------
    >>> table = pd.DataFrame({"id": ["a", "b", "c"], "label": ["Pos", None, "neg"]})
    >>> read_filled(table, ("neg", "pos")).labels
    {'a': 'pos', 'c': 'neg'}
    """
    raw = read_raw(table, memory)
    name = raw.name if isinstance(table, pd.DataFrame) else Path(table).name
    try:
        ids, found = _read(raw.frame, class_names)
    except ColumnError as error:
        raise ColumnError(f"labels in {name!r}: {error}") from error
    filled = np.flatnonzero(~pd.isna(found))
    if not len(filled):
        raise UnfilledError(
            f"{name!r} has no label filled in: its column 'label' is empty in all {len(ids):,} rows"
        )
    labels: dict[str, Label] = {}
    for row in filled:
        label = found[row]
        if labels.setdefault(str(ids[row]), label) != label:
            raise InputError(
                f"{name!r} labels id {ids[row]!r} twice, as {labels[str(ids[row])]!r} and as "
                f"{label!r} ({rows([int(row)])}): keep one of them"
            )
    why = _why(raw.frame)[filled]
    drawn = ids[filled][why == AT_RANDOM]
    chosen = ids[filled][~pd.isna(why) & (why != AT_RANDOM)]
    return Filled(name, labels, len(set(chosen)), frozenset(map(str, drawn)))


def add_labels(dataset: W2SDataset, filled: Filled) -> tuple[W2SDataset, dict[str, Label]]:
    """Move the filled rows from the pool to the labelled split; return what was new as well.

    A label that the data set has already is no news.

    Raises
    ------
    InputError
        If an id is unknown, outside pool and labelled split, or has another label already.

    Examples
    --------
    >>> from w2s_data import load_dataset
    >>> table = pd.DataFrame({"text": list("abcd"), "mood": [0, 1, None, None]})
    >>> data = load_dataset(table, label="mood", split_sizes={"labelled": 2})
    >>> more, new = add_labels(data, Filled("filled.csv", {"0": "0", "2": "1"}))
    >>> new, more.splits.tolist()
    ({'2': '1'}, ['labelled', 'labelled', 'labelled', 'pool'])
    """
    known = pd.Index(dataset.ids)
    at = known.get_indexer(pd.Index(list(filled.labels), dtype=object))
    _check_ids(dataset, filled, at)
    before, splits = dataset.table["label"].to_numpy(dtype=object), dataset.splits
    new: dict[str, Label] = {}
    for (key, label), row in zip(filled.labels.items(), at, strict=True):
        earlier = before[row]
        if pd.notna(earlier) and earlier != label:
            raise InputError(
                f"{filled.name!r} labels id {key!r} as {label!r}, and it was labelled "
                f"{earlier!r} before: correct one of the two"
            )
        if splits[row] == "pool":
            new[key] = label
    if not new:
        return dataset, {}
    moved = known.get_indexer(pd.Index(list(new), dtype=object))
    labels, splits = before.copy(), splits.copy()
    labels[moved], splits[moved] = list(new.values()), "labelled"
    if dataset.is_regression:
        labels = labels.astype(np.float64)
    changed = replace(dataset, table=dataset.table.assign(label=labels, split=splits))
    return changed, new


def _read(
    frame: pd.DataFrame, class_names: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and labels (N,), None where no label is filled in."""
    ids = as_names(column(frame, "id")).to_numpy(dtype=object)
    spelled = read_spellings(
        column(frame, "label"),
        LabelRules(class_names=class_names),
        closed=class_names is not None,
        meaning="stay unlabelled",
    )
    for note in spelled.notes:
        logger.warning("%s", note)
    if class_names is None:
        values = numbers_of(spelled)
        labels = np.where(np.isnan(values), np.array(None), values.astype(object))
    else:
        labels = np.array([*class_names, None], dtype=object)[_codes(spelled, class_names)]
    nameless = np.flatnonzero(~pd.isna(labels) & pd.isna(ids))
    if len(nameless):
        raise ColumnError(f"column 'id' is empty in {rows(nameless)}, which have a label")
    return ids, labels


def _codes(spelled: Spelled, class_names: tuple[str, ...]) -> IntArray:
    """Return class codes (N,), -1 where no label is filled in; raise for a label of no class."""
    # In a pair, "first" is enough.
    short = {name.partition(" ")[0]: name for name in class_names if class_names == PAIR_CLASSES}
    spellings = [short.get(spelling.strip().casefold(), spelling) for spelling in spelled.spellings]
    found = ClassTable(class_names).find(spellings)
    for code, spelling in enumerate(spelled.spellings):
        if found[code] is None and spelled.counts[code]:
            where = np.flatnonzero(spelled.codes == code)
            raise ColumnError(
                f"column 'label', {rows(where)}: {unknown('class', spelling, list(class_names))}"
            )
    return spelled.recoded([0 if code is None else code for code in found])


def _why(frame: pd.DataFrame) -> np.ndarray:
    """Return the column `why`, empty in all rows without it."""
    return frame[WHY].to_numpy(object) if WHY in frame else np.full(len(frame), None)


def _check_ids(dataset: W2SDataset, filled: Filled, at: np.ndarray) -> None:
    """Refuse ids that are not rows of the pool, or were labelled from the start."""
    keys = list(filled.labels)
    strange = [key for key, row in zip(keys, at, strict=True) if row < 0]
    if strange:
        more = f" (and {len(strange) - 1:,} more)" if len(strange) > 1 else ""
        raise InputError(
            f"{filled.name!r}: the run has no id {strange[0]!r}{more}; fill in the table that "
            "`w2s next` wrote for this run"
        )
    held = [
        (key, split)
        for key, split in zip(keys, dataset.splits[at], strict=True)
        if split not in ("pool", "labelled")
    ]
    if held:
        key, split = held[0]
        raise InputError(
            f"{filled.name!r}: id {key!r} is in the {split} split, whose labels measure the "
            "result; only rows of the pool can be labelled"
        )
