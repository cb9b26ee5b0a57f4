"""What `measure_gain` is given, checked: items with their roles, labels, and teachers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.splits import SPLITS, parse_splits
from w2s_data.errors import EmptyDataError, InputError, SplitError, listing, rows, unknown
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.finetune.metrics import Truth
from w2s_data.finetune.weak_labels import as_weak_proba
from w2s_data.utils.io import sha256_json
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray


@dataclass(frozen=True)
class GainData:
    """N items in splits.

    Attributes
    ----------
    inputs : FeatureMatrix (N, D), or list of N items
        What the student reads.
    weak_proba : array (N, M, C)
    labels : int array (N,)
        Class codes, -1 where unknown.
    splits : object array (N,)
    class_names : tuple
    groups : object array (N,) or None
    """

    inputs: FeatureMatrix | list[Any]
    weak_proba: FloatArray
    labels: IntArray
    splits: AnyArray
    class_names: tuple[object, ...]
    groups: AnyArray | None = None

    def rows(self, split: str) -> IntArray:
        """Row numbers of a split, ascending."""
        return np.flatnonzero(self.splits == split)

    def read(self, chosen: IntArray) -> Any:
        """What the student reads of some rows."""
        if isinstance(self.inputs, list):
            return [self.inputs[row] for row in chosen]
        return FeatureView(self.inputs, chosen)

    def known(self, split: str) -> IntArray:
        """Rows of a split that have a gold label."""
        found = self.rows(split)
        return found[self.labels[found] >= 0]

    @property
    def validation(self) -> tuple[Any, AnyArray]:
        """Inputs and gold labels of the validation rows that have one."""
        rows = self.known("validation")
        return self.read(rows), self.labels[rows]

    def gold(self, chosen: IntArray) -> FloatArray:
        """Gold labels of some rows as one-hot rows (n, C)."""
        return np.asarray(np.eye(len(self.class_names))[self.labels[chosen]])

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups of the test rows, sorted."""
        if self.groups is None:
            return ()
        return tuple(np.unique(self.groups[self.rows("test")].astype(str)).tolist())

    @property
    def truth(self) -> Truth:
        """What predictions on the test rows are compared with."""
        test = self.rows("test")
        names = self.group_names
        codes = None
        if self.groups is not None:
            codes = np.searchsorted(np.array(names), self.groups[test].astype(str))
        return Truth(self.labels[test], len(self.class_names), codes, len(names))

    def fingerprint(self) -> dict[str, str]:
        """A hash of each part, by name."""
        inputs = hashlib.blake2b(digest_size=16)
        if isinstance(self.inputs, list):
            for item in self.inputs:
                content = item if isinstance(item, bytes) else str(item).encode()
                inputs.update(len(content).to_bytes(8) + content)
        else:
            for _, block in self.inputs.blocks():
                inputs.update(np.ascontiguousarray(block).data)
        groups = None if self.groups is None else [str(group) for group in self.groups]
        return {
            "inputs": inputs.hexdigest(),
            "weak_proba": hashlib.blake2b(self.weak_proba.tobytes(), digest_size=16).hexdigest(),
            "labels": sha256_json(self.labels)[:32],
            "splits": sha256_json(self.splits)[:32],
            "groups": sha256_json(groups)[:32],
            "classes": sha256_json([str(name) for name in self.class_names])[:32],
        }


def check_gain_data(
    features: Any,
    weak_proba: Any,
    labels: Any,
    splits: Any,
    *,
    items: Sequence[Any] | None,
    groups: Any,
    class_names: Sequence[object] | None,
) -> GainData:
    """Bring the inputs of `measure_gain` together, or say what does not fit.

    Raises
    ------
    InputError, ProbabilityError, FeatureError
        Parts of different lengths, probabilities that are none, labels that are no classes.
    SplitError, EmptyDataError
        No pool, no test rows, or test rows without label.
    """
    if (features is None) == (items is None):
        raise InputError("give features (for a head) or items (for a whole model): one of them")
    inputs = as_feature_matrix(features) if items is None else list(items)
    n = len(inputs) if isinstance(inputs, list) else inputs.shape[0]
    teachers, classes = as_weak_proba(weak_proba, class_names)
    given = {"weak_proba": teachers, "labels": labels, "splits": splits, "groups": groups}
    for name, part in given.items():
        if part is not None and len(part) != n:
            raise InputError(f"row counts disagree: {n} items, but {name} has {len(part)}")
    names = tuple(classes.tolist())
    data = GainData(
        inputs,
        teachers,
        _codes(np.asarray(labels), names, named=class_names is not None),
        parse_splits(pd.Series(splits), "splits"),
        names,
        None if groups is None else np.asarray(groups, dtype=object),
    )
    counts = {split: len(data.rows(split)) for split in SPLITS}
    for split in ("pool", "test"):
        if not counts[split]:
            raise EmptyDataError(f"no row is in the {split} split ({counts})")
    missing = data.rows("test")[data.labels[data.rows("test")] < 0]
    if len(missing):
        raise SplitError(f"{rows(missing)} of the test split have no label to be measured against")
    return data


def _codes(labels: AnyArray, names: tuple[object, ...], *, named: bool) -> IntArray:
    """Class codes, -1 where there is no label, of codes or of names."""
    if labels.dtype.kind in "iu":
        bad = np.flatnonzero((labels < -1) | (labels >= len(names)))
        if len(bad):
            raise InputError(
                f"labels must be codes from 0 to {len(names) - 1}, -1 where unknown; {rows(bad)} "
                f"are not (row {bad[0]} holds {labels[bad[0]]})"
            )
        return labels.astype(np.int64)
    if not named:
        raise InputError(
            f"labels are {labels.dtype}, not whole numbers: give class_names, in the order of the "
            "columns of weak_proba"
        )
    where = {str(name): code for code, name in enumerate(names)}
    codes = np.full(len(labels), -1)
    for row, label in enumerate(labels.tolist()):
        if label is None or label != label:
            continue
        if str(label) not in where:
            raise InputError(f"labels, row {row}: " + unknown("class", str(label), list(where)))
        codes[row] = where[str(label)]
    return codes


def lacking_gold(data: GainData, split: str) -> str:
    """Why no student can be trained on the gold labels of a split; empty where one can."""
    chosen, known = data.rows(split), data.known(split)
    if not len(chosen):
        return f"no row is in the {split} split"
    if len(known) < len(chosen):
        return f"{len(chosen) - len(known):,} of {len(chosen):,} {split} rows have no gold label"
    present = np.unique(data.labels[known])
    if len(present) < 2:
        return f"the {split} split holds the single class {listing([data.class_names[present[0]]])}"
    return ""
