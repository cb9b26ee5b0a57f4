"""The data set: one table, the roles of its columns, and arrays with the same rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.columns import ItemKind
from w2s_data.data.images import image_digest
from w2s_data.data.meaning.classes import class_codes
from w2s_data.data.pairs import PAIR_CLASSES, mirrored, starts_negative
from w2s_data.data.prompts import pair_items
from w2s_data.data.splits import (
    SPLITS,
    assign_splits,
    base_splits,
    count_duplicates,
    count_straddling,
    feature_units,
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

_SHOWN = 12  # classes, sources and groups in a repr, which fits one screen
_DUPLICATES = "exact duplicates"  # marks the notes that a new split makes obsolete


@dataclass(frozen=True, eq=False, repr=False)  # tables have no single truth value to compare
class W2SDataset:
    """N items with the roles that weak-to-strong training gives them.

    Parameters
    ----------
    table : DataFrame (N rows, RangeIndex)
        `id` (str, unique), `item` (text, image path or image bytes; absent for features), `label`
        (class name or missing), `split` (a value of `SPLITS`), and, if known, `source`, `group`;
        `test_split` names the test split of each test row, if it is not "test" for all.
        In pairs of texts `item` is the first and `other` the second; both begin with `prompt`, if
        there is one, and `messages` are prompt, first and second as chat messages, in JSON.
    kind : "text", "image" or "features"
    class_names : tuple of str
        The C classes, in the order of the columns of `weak_proba`.
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

    def __post_init__(self) -> None:
        needed = {"id", "label", "split"} | ({"item"} if self.kind != "features" else set())
        missing = sorted(needed - set(self.table.columns))
        if missing:
            raise ColumnError(f"the table of a data set lacks {listing(missing)}")
        if self.kind == "features" and self.features is None:
            raise FeatureError("a data set of kind 'features' needs features of shape (N, D)")
        parts = {"weak_proba": self.weak_proba, "features": self.features}
        frames = {"truth": self.truth, "extra": self.extra}
        given = {name: part for name, part in {**parts, **frames}.items() if part is not None}
        check_same_length(table=self.table, **given)

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
    def labels(self) -> IntArray:
        """Class codes, int64 (N,), -1 where the label is missing."""
        return class_codes(self.table["label"], self.class_names, "label")

    @property
    def splits(self) -> AnyArray:
        """Split of each row, object array (N,) of values of `SPLITS`."""
        return self.table["split"].to_numpy(dtype=object)

    @property
    def test_splits(self) -> AnyArray:
        """Name of the test split of each test row, "" elsewhere, object array (N,)."""
        named = self._optional("test_split")
        return _tests(self.splits) if named is None else named

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
        return replace(
            self,
            table=_rows_of(self.table, picked),
            weak_proba=None if self.weak_proba is None else self.weak_proba[picked],
            features=None if self.features is None else self.features[picked],
            truth=None if self.truth is None else _rows_of(self.truth, picked),
            extra=None if self.extra is None else _rows_of(self.extra, picked),
        )

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
        labels = self.labels
        if not (labels >= 0).any() and (sizes or {}).get("labelled"):
            raise SplitError(
                "a labelled split requires labels, and no row has one; name the column of labels "
                "with label="
            )
        # Codes from 1 on: a missing source, -1 to pandas, becomes a stratum of its own.
        sources = None if self.sources is None else pd.factorize(self.sources)[0] + 1
        splits = assign_splits(
            labels,
            self.units,
            sources=sources,
            sizes=sizes if (labels >= 0).any() else {},  # without labels all rows join the pool
            fixed=fixed,
            random_state=random_state,
        )
        return self.with_given_splits(splits)

    def with_given_splits(self, splits: AnyArray) -> W2SDataset:
        """Return the data set with these splits, and a note on duplicates across them.

        Test rows may be in "test" or in splits of other names; see `splits.read_split`.
        """
        notes = [note for note in self.notes if _DUPLICATES not in note]
        named, splits = splits, base_splits(splits)
        tests = _tests(named)
        straddling, straddling_groups = count_straddling(self.units, splits)
        recurring, groups = count_duplicates(self.units)
        if straddling:
            notes.append(
                f"warning: {straddling} items in {straddling_groups} groups of {_DUPLICATES} lie "
                "in more than one split (leakage); the splits were kept as given"
            )
            logger.warning("%s: %s", self.name, notes[-1])
        elif groups:
            notes.append(
                f"{recurring} items recur in {groups} groups of {_DUPLICATES}; "
                "each group stays in one split (items that are nearly the same may not)"
            )
        table = self.table.assign(split=splits).drop(columns="test_split", errors="ignore")
        if {*tests} - {"test", ""}:
            table["test_split"] = tests
        return replace(self, table=table, notes=tuple(notes))

    def check_teacher_data(self) -> None:
        """Raise SplitError if no weak teacher can be trained on the labelled split.

        It must not be empty, hold a single class, or hold rows without label.
        """
        labelled = self.rows("labelled")
        if len(labelled) == 0:
            counts = ", ".join(f"{s} {len(self.rows(s))}" for s in SPLITS)
            missing = (
                "put rows with a label into it"
                if (self.labels >= 0).any()
                else "name a column of gold labels with label=, or ready-made weak labels with "
                "weak_columns="
            )
            raise SplitError(
                f"no row is in the labelled split ({counts}), and the teacher needs some: {missing}"
            )
        labels = self.labels[labelled]
        if (labels < 0).all():
            raise SplitError(
                f"none of the {len(labelled)} rows of the labelled split has a label; "
                "put the rows that have one into it"
            )
        if (labels < 0).any():
            raise SplitError(
                f"{rows(labelled[labels < 0])} of the labelled split have no label; "
                "put them into the pool"
            )
        classes = np.unique(labels)
        if len(classes) < 2:  # a classifier cannot be fitted to one class
            raise SplitError(
                f"the labelled split holds the single class {self.class_names[classes[0]]!r} "
                f"({len(labels)} rows); the teacher needs two or more"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, items (image bytes, not paths), roles and numbers, in hex."""
        digest = hashlib.sha256(repr((self.kind, self.class_names, self.weak_names)).encode())
        contents = {role: self.table[role] for role in self.table.columns if role != "item"}
        if self.kind == "text":
            contents["item"] = self.table["item"]
        elif self.kind == "image":
            # Bytes, so that a folder of images that was moved is the same data.
            contents["item"] = pd.Series([image_digest(item) for item in self.items])
        for role in sorted(contents):  # the order of columns does not count
            digest.update(role.encode())
            _add_strings(digest, contents[role])
        for array in (self.weak_proba, self.features):
            if array is not None:
                # Without the shape, arrays of other shapes could have the same bytes.
                digest.update(repr((array.shape, array.dtype.str)).encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """Return the table, with one column of weak probabilities per class and weak model."""
        frame = self.table.copy()
        if self.weak_proba is not None:
            several = self.weak_proba.reshape(len(self), -1, len(self.class_names))
            numbered = [f"weak{m}" for m in range(several.shape[1])]
            for m, model in enumerate(self.weak_names or numbered):
                for c, class_name in enumerate(self.class_names):
                    frame[f"{model}_{class_name}"] = several[:, m, c]
        return frame

    def __repr__(self) -> str:
        n_features = "" if self.features is None else f" of {self.features.shape[1]} dimensions"
        what = "pairs" if self.is_paired else "items"
        head = f"{len(self):,} {what} ({self.kind}{n_features}), {len(self.class_names)} classes"
        lines = [
            f"W2SDataset {self.name!r}: {head}",
            _counts(self).to_string(formatters=["{:,}".format] * len(SPLITS)),
        ]
        for role in ("test_split", "source", "group"):
            if role in self.table.columns:
                counts = self.table[role].value_counts().drop("", errors="ignore")
                shown = [f"{name} {count:,}" for name, count in counts.head(_SHOWN).items()]
                more = ["..."] if len(counts) > _SHOWN else []
                lines.append(f"{role.replace('_', ' ')}s: {', '.join(shown + more)}")
        if self.weak_proba is not None:
            models = f" ({', '.join(self.weak_names)})" if self.weak_names else ""
            lines.append(f"weak probabilities: {self.weak_proba.shape}{models}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def _counts(data: W2SDataset) -> pd.DataFrame:
    """Count rows by class and split, cut to fit a screen, with a total."""
    names = np.array([*data.class_names, "(no label)"], dtype=object)
    kept = [*range(len(data.class_names)), *([-1] if (data.labels < 0).any() else [])]
    present = pd.crosstab(data.labels, data.splits)
    counts = present.reindex(index=kept, columns=list(SPLITS), fill_value=0).set_axis(names[kept])
    counts.columns.name = None
    if len(counts) > _SHOWN:
        rest = counts.iloc[_SHOWN - 1 :].sum().to_frame(f"{len(counts) - _SHOWN + 1} more").T
        counts = pd.concat([counts.iloc[: _SHOWN - 1], rest])
    return pd.concat([counts, counts.sum().to_frame("total").T])


def _tests(splits: AnyArray) -> AnyArray:
    """Return the names of test splits, and "" for other splits."""
    tests: AnyArray = splits.copy()
    tests[base_splits(splits) != "test"] = ""
    return tests


def _rows_of(frame: pd.DataFrame, picked: IntArray) -> pd.DataFrame:
    return frame.iloc[picked].reset_index(drop=True)


def _add_strings(digest: Any, values: pd.Series) -> None:
    """Add a column of strings to a hash."""
    # "surrogatepass", since a table may hold texts that are not valid Unicode.
    encoded = [
        v.encode("utf-8", "surrogatepass") if isinstance(v, str) else None
        for v in values.astype(object)
    ]
    # The lengths keep ("a", "bc") apart from ("ab", "c"), and a missing value from an empty one.
    lengths = np.array([-1 if v is None else len(v) for v in encoded], dtype="<i8")
    digest.update(lengths.data)
    digest.update(b"".join(v for v in encoded if v is not None))
