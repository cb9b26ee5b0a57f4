"""The data set: one table, the roles of its columns, and arrays with the same rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data import describing
from w2s_data.data.columns import ItemKind, Task
from w2s_data.data.hashing import hash_contents
from w2s_data.data.images import image_digest
from w2s_data.data.meaning.classes import class_codes
from w2s_data.data.pairs import PAIR_CLASSES, mirrored, starts_negative
from w2s_data.data.prompts import pair_items
from w2s_data.data.splits import (
    DUPLICATES,
    SPLITS,
    assign_splits,
    base_splits,
    check_varied,
    count_duplicates,
    count_straddling,
    feature_units,
    held_note,
    quantile_codes,
    test_names,
    text_units,
)
from w2s_data.errors import (
    ColumnError,
    FeatureError,
    InputError,
    SplitError,
    listing,
    rows,
    unknown,
)
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_same_length

logger = logging.getLogger("w2s_data")

# Optional parts with one row per item.
_VALUES = ("weak_values", "weak_errors")
_ARRAYS = ("weak_proba", "features", *_VALUES)
_FRAMES = ("truth", "extra")


@dataclass(frozen=True, eq=False, repr=False)  # tables have no single truth value to compare
class W2SDataset:
    """N items with the roles that weak-to-strong training gives them.

    Parameters
    ----------
    table : DataFrame (N rows, RangeIndex)
        `id` (str, unique), `item` (text, image path or image bytes; absent for features), `label`
        (class name or missing; float64 where labels are values), `split` (a value of `SPLITS`),
        and, if known, `source`, `group`; `test_split` names the test split of each test row, if it
        is not "test" for all.
        In pairs of texts `item` is the first and `other` the second; both begin with `prompt`, if
        there is one, and `messages` are prompt, first and second as chat messages, in JSON.
    kind : "text", "image" or "features"
    class_names : tuple of str
        The C classes, in the order of the columns of `weak_proba`; none where labels are values.
    weak_proba : float array (N, C) or (N, M, C), or None
        Ready-made probabilities of one or M weak models; rows sum to 1.
    features : float array (N, D) or None
        Only for `kind="features"`.
    weak_names : tuple of str
        Names of the M weak models.
    notes : tuple of str
        Remarks on how the data were read.
    truth : DataFrame (N rows) or None
        For synthetic data, the true values of each row, e.g. its `region`.
    columns : mapping
        Arguments of `load_dataset` by which new rows are read like these: the column of each role,
        and how labels and texts are spelled.
    extra : DataFrame (N rows) or None
        Further columns of the original table that teachers read; no part of the fingerprint.
    task : "classification" or "regression"
        Whether labels are classes or values.
    weak_values, weak_errors : float array (N, M), or None
        Ready-made values of M weak models, NaN where one abstains, and their standard errors.

    Examples
    --------
    >>> from w2s_data import load_dataset
    >>> table = pd.DataFrame({"text": ["good", "bad", "fine"], "stars": [5, 1, None]})
    >>> data = load_dataset(table, label="stars", split_sizes={"labelled": 2})
    >>> data.class_names, data.labels.tolist(), data.splits.tolist()
    (('1', '5'), [1, 0, -1], ['labelled', 'labelled', 'pool'])
    """

    table: pd.DataFrame
    kind: ItemKind
    class_names: tuple[str, ...]
    weak_proba: FloatArray | None = None
    features: FloatArray | None = None
    weak_names: tuple[str, ...] = ()
    name: str = "data"
    notes: tuple[str, ...] = ()
    truth: pd.DataFrame | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    extra: pd.DataFrame | None = None
    task: Task = "classification"
    weak_values: FloatArray | None = None
    weak_errors: FloatArray | None = None

    def __post_init__(self) -> None:
        needed = {"id", "label", "split"} | ({"item"} if self.kind != "features" else set())
        missing = sorted(needed - set(self.table.columns))
        if missing:
            raise ColumnError(f"the table of a data set lacks {listing(missing)}")
        if self.kind == "features" and self.features is None:
            raise FeatureError("a data set of kind 'features' needs features of shape (N, D)")
        names = (*_ARRAYS, *_FRAMES)
        given = {name: part for name in names if (part := getattr(self, name)) is not None}
        check_same_length(table=self.table, **given)
        of_others = ("class_names", "weak_proba") if self.is_regression else _VALUES
        if any(getattr(self, name) is not None and len(getattr(self, name)) for name in of_others):
            raise InputError(f"a data set of task {self.task!r} has no {listing(of_others)}")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> AnyArray:
        """Unique ids, object array (N,) of str."""
        return self.table["id"].to_numpy(dtype=object)

    @property
    def items(self) -> list[Any]:
        """Texts, image paths or bytes, feature vectors, or `Pair`s, in row order."""
        if self.kind == "features":
            return list(np.asarray(self.features))
        if self.is_paired:
            return pair_items(self.table)
        return self.table["item"].tolist()

    @property
    def is_paired(self) -> bool:
        """Whether each row is a pair of items whose label is the preferred one."""
        return self.class_names == PAIR_CLASSES

    @property
    def pairs(self) -> tuple[list[Any], list[Any]]:
        """First and second items of pairs of texts; InputError if the rows are not such pairs."""
        if "other" not in self.table.columns:
            raise InputError(
                "the items are not pairs of texts; load them with chosen= and rejected="
            )
        return self.table["item"].tolist(), self.table["other"].tolist()

    @property
    def is_regression(self) -> bool:
        """Whether labels are values to predict, not classes."""
        return self.task == "regression"

    @property
    def has_weak_labels(self) -> bool:
        """Whether weak labels came with the data."""
        return self.weak_proba is not None or self.weak_values is not None

    @property
    def is_labelled(self) -> BoolArray:
        """Whether each row (N,) has a gold label."""
        return np.isfinite(self.targets) if self.is_regression else self.labels >= 0

    @property
    def targets(self) -> FloatArray:
        """Gold values, float64 (N,), NaN where unknown; InputError if the labels are classes."""
        if not self.is_regression:
            raise InputError("the labels are classes: use labels")
        return self.table["label"].to_numpy(dtype=np.float64, na_value=np.nan)

    @property
    def labels(self) -> IntArray:
        """Class codes, int64 (N,), -1 where the label is missing; InputError for values."""
        if self.is_regression:
            raise InputError("the labels are values: use targets")
        return self._codes.copy()

    @cached_property
    def _codes(self) -> IntArray:
        # Stages ask for the labels a dozen times.
        return class_codes(self.table["label"], self.class_names, "label")

    @property
    def splits(self) -> AnyArray:
        """Split of each row, object array (N,) of values of `SPLITS`."""
        return self.table["split"].to_numpy(dtype=object)

    @property
    def test_splits(self) -> AnyArray:
        """Name of the test split of each test row, "" elsewhere, object array (N,)."""
        named = self._optional("test_split")
        return test_names(self.splits) if named is None else named

    @property
    def sources(self) -> AnyArray | None:
        """Source of each row, object array (N,), or None."""
        return self._optional("source")

    @property
    def groups(self) -> AnyArray | None:
        """Group of each row, object array (N,), or None."""
        return self._optional("group")

    @property
    def prompts(self) -> AnyArray | None:
        """Text with which both items of each pair begin, object array (N,), or None."""
        return self._optional("prompt")

    def _optional(self, role: str) -> AnyArray | None:
        return self.table[role].to_numpy(dtype=object) if role in self.table.columns else None

    @cached_property
    def units(self) -> IntArray:
        """Codes (N,), equal for exact duplicates: equal texts, image bytes or feature rows."""
        if self.kind == "features":
            features = np.asarray(self.features)
            return feature_units(mirrored(features) if self.is_paired else features)
        if self.is_paired:  # a pair and the same pair in the other order are duplicates
            return text_units([repr(sorted(pair)) for pair in zip(*self.pairs, strict=True)])
        if self.kind == "image":
            return text_units([image_digest(item) for item in self.items])
        return text_units(self.table["item"])

    @property
    def turned(self) -> BoolArray:
        """Which of the pairs (N,) of one unit are in the other order; False for single items."""
        if not self.is_paired:
            return np.zeros(len(self), dtype=bool)
        if self.kind == "features":
            return starts_negative(np.asarray(self.features))
        first, second = self.pairs
        return np.array([one > two for one, two in zip(first, second, strict=True)], dtype=bool)

    def rows(self, split: str) -> IntArray:
        """Return the row numbers of a split, ascending; those of all test splits for "test"."""
        if split in SPLITS:
            return np.flatnonzero(self.splits == split)
        named = self.test_splits
        tests = sorted({*named} - {"", *SPLITS})
        if split not in tests:
            raise SplitError(unknown("split", split, [*SPLITS, *tests]))
        return np.flatnonzero(named == split)

    def subset(self, rows: Any) -> W2SDataset:
        """Return the data set of the given rows (int array in any order, or bool mask)."""
        rows = np.asarray(rows)
        picked = np.flatnonzero(rows) if rows.dtype == bool else rows
        parts: dict[str, Any] = {name: getattr(self, name) for name in (*_ARRAYS, *_FRAMES)}
        kept: dict[str, Any] = {
            name: _rows_of(part, picked) if name in _FRAMES else part[picked]
            for name, part in parts.items()
            if part is not None
        }
        return replace(self, table=_rows_of(self.table, picked), **kept)

    def with_splits(
        self,
        sizes: Mapping[str, float] | None = None,
        random_state: RandomState = 0,
        *,
        fixed: AnyArray | None = None,
    ) -> W2SDataset:
        """Return the data set with new splits; see `splits.assign_splits`.

        Raise SplitError if the sizes are not valid, or ask for labelled rows where there are none.
        """
        known = self.is_labelled
        if not known.any() and (sizes or {}).get("labelled"):
            raise SplitError(
                "a labelled split requires labels, and no row has one; name the column of labels "
                "with label="
            )
        # Codes from 1 on: a missing source, -1 to pandas, becomes a stratum of its own.
        sources = None if self.sources is None else pd.factorize(self.sources)[0] + 1
        splits = assign_splits(
            quantile_codes(self.targets) if self.is_regression else self.labels,
            self.units,
            sources=sources,
            sizes=sizes if known.any() else {},  # without labels all rows join the pool
            fixed=fixed,
            random_state=random_state,
        )
        split = self.with_given_splits(splits)
        held = held_note(known, self.units, splits, fixed)
        return replace(split, notes=(*split.notes, *held))

    def with_given_splits(self, splits: AnyArray) -> W2SDataset:
        """Return the data set with these splits, and a note on duplicates across them.

        Test rows may be in "test" or in splits of other names; see `splits.read_split`.
        """
        notes = [note for note in self.notes if DUPLICATES not in note]
        named, splits = splits, base_splits(splits)
        tests = test_names(named)
        straddling, straddling_groups = count_straddling(self.units, splits)
        recurring, groups = count_duplicates(self.units)
        if straddling:
            notes.append(
                f"warning: {straddling} items in {straddling_groups} groups of {DUPLICATES} lie "
                "in more than one split (they leak); the splits were kept as given"
            )
            logger.warning("%s: %s", self.name, notes[-1])
        elif groups:
            notes.append(
                f"{recurring} items recur in {groups} groups of {DUPLICATES}; "
                "each group stays in one split (items that are nearly the same may not)"
            )
        table = self.table.assign(split=splits).drop(columns="test_split", errors="ignore")
        if {*tests} - {"test", ""}:
            table["test_split"] = tests
        return replace(self, table=table, notes=tuple(notes))

    def check_teacher_data(self) -> None:
        """Raise SplitError if no weak teacher can be trained on the labelled split.

        It must not be empty, hold a single class or value, or hold rows without label.
        """
        labelled, known = self.rows("labelled"), self.is_labelled
        if len(labelled) == 0:
            counts = ", ".join(f"{s} {len(self.rows(s))}" for s in SPLITS)
            weak = "weak_values" if self.is_regression else "weak_columns"
            ready = "" if self.has_weak_labels else f", or ready-made weak labels with {weak}="
            missing = (
                "put rows with a label into it (equal items stay in one split, and split_sizes "
                "says how many are assigned to it)"
                if known.any()
                else f"label some rows, or name a column of gold labels with label={ready}"
            )
            raise SplitError(
                f"no row is in the labelled split ({counts}), and the teacher needs some: {missing}"
            )
        without = labelled[~known[labelled]]
        if len(without) == len(labelled):
            raise SplitError(
                f"none of the {len(labelled)} rows of the labelled split has a label; "
                "put the rows that have one into it"
            )
        if len(without):
            raise SplitError(
                f"{rows(without)} of the labelled split have no label; put them into the pool"
            )
        truth = self.targets if self.is_regression else self.labels
        check_varied(truth, labelled, known, () if self.is_regression else self.class_names)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, items (image bytes, not paths), roles and numbers, in hex."""
        contents = {role: self.table[role] for role in self.table.columns if role != "item"}
        if self.kind == "text":
            contents["item"] = self.table["item"]
        elif self.kind == "image":
            # Bytes, so that a folder of images that was moved is the same data.
            contents["item"] = pd.Series([image_digest(item) for item in self.items])
        head: tuple[object, ...] = (self.kind, self.class_names, self.weak_names)
        if not self.is_regression:
            return hash_contents(head, contents, [self.weak_proba, self.features])
        del contents["label"]
        values = [self.targets, self.weak_values, self.weak_errors, self.features]
        return hash_contents((*head, self.task), contents, values)

    def to_frame(self) -> pd.DataFrame:
        """Return the table, with the weak labels, one column per weak model, and per class."""
        arrays = self.weak_proba, self.weak_values, self.weak_errors
        return self.table.assign(
            **describing.weak_columns(self.weak_names, self.class_names, *arrays)
        )

    def __repr__(self) -> str:
        n_features = "" if self.features is None else f" of {self.features.shape[1]} dimensions"
        what = "pairs" if self.is_paired else "items"
        kind = "values" if self.is_regression else f"{len(self.class_names)} classes"
        lines = [
            f"W2SDataset {self.name!r}: {len(self):,} {what} ({self.kind}{n_features}), {kind}"
        ]
        if self.is_regression:
            lines.append(describing.describe_values(self.targets, self.splits))
        else:
            lines.append(describing.count_classes(self.labels, self.splits, self.class_names))
        lines += describing.describe_roles(self.table)
        models = f" ({', '.join(self.weak_names)})" if self.weak_names else ""
        for name in ("weak_proba", "weak_values"):
            if (array := getattr(self, name)) is not None:
                word = "probabilities" if name == "weak_proba" else "values"
                lines.append(f"weak {word}: {array.shape}{models}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def _rows_of(frame: pd.DataFrame, picked: IntArray) -> pd.DataFrame:
    return frame.iloc[picked].reset_index(drop=True)
