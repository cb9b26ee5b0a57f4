"""The checked inputs of `measure_gain`: items with their splits, labels and pseudo-labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.splits import SPLITS, base_splits, parse_splits
from w2s_data.errors import EmptyDataError, InputError, SplitError, listing, rows, unknown
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.finetune.levels.store import digest_array, digest_items
from w2s_data.finetune.metrics import Truth
from w2s_data.finetune.weak_labels import as_weak_proba, check_posterior
from w2s_data.utils.io import sha256_json
from w2s_data.utils.text import natural_key
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.validation import check_same_length


@dataclass(frozen=True)
class GainData:
    """N items in splits."""

    inputs: FeatureMatrix | list[Any]  # (N, D) features, or N items
    weak_proba: FloatArray  # (N, M, C)
    labels: IntArray  # (N,), -1 where unknown
    splits: AnyArray  # (N,)
    class_names: tuple[object, ...]
    groups: AnyArray | None = None  # (N,)
    posterior: FloatArray | None = None  # (N, C), of gold and weak labels together
    sources: AnyArray | None = None  # (N,)
    # Test split of each test row, (N,) of str; None where all are in the one called "test".
    test_splits: AnyArray | None = None

    def rows(self, split: str) -> IntArray:
        """Return the row numbers of a split, ascending."""
        return np.flatnonzero(self.splits == split)

    @property
    def other_rows(self) -> IntArray:
        """Rows outside the test split, ascending."""
        return np.flatnonzero(self.splits != "test")

    def read(self, chosen: IntArray) -> Any:
        """Return the inputs of some rows."""
        if isinstance(self.inputs, list):
            return [self.inputs[row] for row in chosen]
        return FeatureView(self.inputs, chosen)

    def known(self, split: str) -> IntArray:
        """Return the rows of a split that have a gold label."""
        rows = self.rows(split)
        return rows[self.labels[rows] >= 0]

    def training_rows(self, uses_gold: bool) -> IntArray:
        """Return the pool, for methods that use gold labels with the labelled rows, ascending."""
        pool = self.rows("pool")
        return np.union1d(pool, self.known("labelled")) if uses_gold else pool

    @property
    def validation(self) -> tuple[Any, FloatArray]:
        """Inputs and gold labels (V, C), as distributions, of the validation rows with one."""
        rows = self.known("validation")
        return self.read(rows), np.eye(len(self.class_names))[self.labels[rows]]

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the test splits, "test" first; none where that is the only one."""
        if self.test_splits is None:
            return ()
        names = set(self.test_splits[self.rows("test")].tolist())
        return tuple(sorted(names, key=lambda name: (name != "test", natural_key(name))))

    @property
    def main_split(self) -> str:
        """The test split that is called "test", if there are others; empty for all test rows."""
        names = self.split_names
        return "test" if len(names) > 1 and "test" in names else ""

    def test_rows(self, name: str = "") -> IntArray:
        """Return the rows of a test split; by default those that the result is about."""
        name, test = name or self.main_split, self.rows("test")
        if not name or self.test_splits is None:
            return test
        return np.asarray(test[self.test_splits[test] == name])

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups of the test rows that the result is about, sorted."""
        if self.groups is None:
            return ()
        return tuple(np.unique(self.groups[self.test_rows()].astype(str)).tolist())

    @property
    def truth(self) -> Truth:
        """Labels and groups of the test rows that the result is about."""
        test = self.test_rows()
        names = self.group_names
        codes = None
        if self.groups is not None:
            codes = np.searchsorted(np.array(names), self.groups[test].astype(str))
        return Truth(self.labels[test], len(self.class_names), codes, len(names))

    def fingerprint(self) -> dict[str, str | None]:
        """Return a hash of each part, by name, so that a refusal can say which one changed."""
        if isinstance(self.inputs, list):
            inputs = digest_items(self.inputs)
        else:
            # Block by block: the features may be larger than memory.
            digest = hashlib.blake2b(digest_size=16)
            for _, block in self.inputs.blocks():
                digest.update(np.ascontiguousarray(block).data)
            inputs = digest.hexdigest()
        parts = {
            "labels": self.labels,
            "splits": self.splits,
            "groups": None if self.groups is None else self.groups.astype(str),
            "classes": [str(name) for name in self.class_names],
        }
        hashes = {name: sha256_json(part) for name, part in parts.items()}
        return {
            "inputs": inputs,
            "weak_proba": digest_array(self.weak_proba),
            "posterior": None if self.posterior is None else digest_array(self.posterior),
            "sources": None if self.sources is None else sha256_json(self.sources.astype(str)),
            **hashes,
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
    posterior: Any = None,
    sources: Any = None,
    test_by: Any = None,
) -> GainData:
    """Check the inputs of `measure_gain`, and raise an `InputError` that names what is wrong."""
    if (features is None) == (items is None):
        raise InputError("pass features (for a head) or items (for a whole model): one of them")
    inputs = as_feature_matrix(features) if items is None else list(items)
    n = len(inputs) if isinstance(inputs, list) else inputs.shape[0]
    teachers, classes = as_weak_proba(weak_proba, class_names)
    given = {"items": range(n), "weak_proba": teachers, "labels": labels, "splits": splits}
    more = {"groups": groups, "sources": sources, "test_by": test_by}
    check_same_length(**given, **{name: part for name, part in more.items() if part is not None})
    names = tuple(classes.tolist())
    named = parse_splits(pd.Series(splits), "splits")
    base = base_splits(named)
    data = GainData(
        inputs,
        teachers,
        _codes(np.asarray(labels), names, named=class_names is not None),
        base,
        names,
        None if groups is None else np.asarray(groups, dtype=object),
        None if posterior is None else check_posterior(posterior, teachers),
        None if sources is None else np.asarray(sources, dtype=object),
        _test_splits(base, named, test_by),
    )
    check_measurable(data.labels, named)
    return data


def _test_splits(base: AnyArray, named: AnyArray, test_by: Any) -> AnyArray | None:
    """Return the name of each test row's split, by `test_by` if given; None if all are "test"."""
    names = named if test_by is None else np.asarray(test_by, dtype=object)
    test = base == "test"
    names = np.array([str(name) for name in np.where(test, names, "")], dtype=object)
    return None if (names[test] == "test").all() else names


def check_measurable(labels: IntArray, splits: AnyArray) -> None:
    """Raise unless there are a pool, and test rows which all have a gold label.

    `splits` may hold names of test splits.
    """
    base = base_splits(splits)
    counts = {split: int(np.count_nonzero(base == split)) for split in SPLITS}
    for split in ("pool", "test"):
        if not counts[split]:
            raise EmptyDataError(f"no row is in the {split} split ({counts})")
    missing = np.flatnonzero((base == "test") & (labels < 0))
    if len(missing):
        lacking = listing(dict.fromkeys(splits[missing]), 4)
        which = "the test split" if lacking == "'test'" else f"test split {lacking}"
        raise SplitError(f"{rows(missing)} of {which} have no label to measure by")


def _codes(labels: AnyArray, names: tuple[object, ...], *, named: bool) -> IntArray:
    """Class codes of codes or names, -1 where there is no label."""
    labels = labels if named else _whole(labels)
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
            f"labels are {labels.dtype}, not whole numbers (or missing): pass class_names, in the "
            "order of the columns of weak_proba"
        )
    # By text: names read from a file may be numbers there and strings here.
    where = {str(name): code for code, name in enumerate(names)}
    codes = np.full(len(labels), -1)
    for row, label in enumerate(labels.tolist()):
        if label is None or label != label:  # NaN is the only value that differs from itself
            continue
        if str(label) not in where:
            raise InputError(f"labels, row {row}: " + unknown("class", str(label), list(where)))
        codes[row] = where[str(label)]
    return codes


def _whole(labels: AnyArray) -> AnyArray:
    """Return codes as integers, -1 where missing: pandas makes floats, or objects, of such columns.

    Anything else than whole numbers is returned as it is.
    """
    if labels.dtype.kind not in "bfO":
        return labels
    missing = pd.isna(labels)
    known = [label for label, gone in zip(labels.tolist(), missing, strict=True) if not gone]
    if not all(isinstance(label, Real) and float(label).is_integer() for label in known):
        return labels
    codes = np.full(len(labels), -1)
    codes[~missing] = known
    return codes


def lacking_gold(data: GainData, split: str) -> str:
    """Return why no student can be trained on the gold labels of a split; empty if one can."""
    chosen, known = data.rows(split), data.known(split)
    if not len(chosen):
        return f"no row is in the {split} split"
    if not len(known):
        return f"no row of the {split} split has a gold label"
    # A ceiling is for the whole pool; labelled rows without a label are simply not used.
    if split == "pool" and len(known) < len(chosen):
        return f"{len(chosen) - len(known):,} of {len(chosen):,} {split} rows have no gold label"
    present = np.unique(data.labels[known])
    if len(present) < 2:
        return f"the {split} split holds the single class {listing([data.class_names[present[0]]])}"
    return ""
