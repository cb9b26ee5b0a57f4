"""The checked inputs of `measure_gain` for values: rows with their splits, weak and gold values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.splits import base_splits, parse_splits
from w2s_data.errors import EmptyDataError, SplitError, rows
from w2s_data.regression.material import Material
from w2s_data.regression.student import make_material
from w2s_data.utils.text import natural_key
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.validation import check_same_length

GROUP, SPLIT = "group ", "split "  # before the names of the parts of the test rows


@dataclass(frozen=True)
class ValueData:
    """N rows in splits."""

    material: Material  # its targets are all that are known
    splits: AnyArray  # (N,)
    test_splits: AnyArray | None  # (N,), names of the test splits where there are several
    groups: AnyArray | None
    units: AnyArray | None
    teacher: FloatArray  # (N,), the mean weak value, of rows without one that of the others

    @property
    def targets(self) -> FloatArray:
        """Gold values (N,), NaN where unknown."""
        return self.material.targets

    def rows(self, split: str) -> IntArray:
        """Return the row numbers of a split, ascending."""
        return np.flatnonzero(self.splits == split)

    def lesson_material(self, split: str) -> Material:
        """Return the material in which the gold values of one split alone are seen.

        For "labelled" the pool is there too, for "pool" its gold values alone.
        """
        known = (self.splits == split) & np.isfinite(self.targets)
        taught = known | ((self.splits == "pool") if split == "labelled" else False)
        return replace(
            self.material,
            targets=np.where(known, self.targets, np.nan),
            sample_weight=self.material.sample_weight * taught,
        )

    def read(self, chosen: IntArray, items: Sequence[Any] | None, tuning: str) -> Any:
        """Return what a student of some tuning reads of some rows."""
        if tuning != "head":
            assert items is not None
            return [items[row] for row in chosen]
        return self.material.read(chosen, "a head")

    @property
    def split_names(self) -> tuple[str, ...]:
        """Names of the test splits, "test" first; none where that is the only one."""
        if self.test_splits is None:
            return ()
        names = {str(name) for name in self.test_splits[self.rows("test")]}
        return tuple(sorted(names, key=lambda name: (name != "test", natural_key(name))))

    @property
    def group_names(self) -> tuple[str, ...]:
        """Groups of the test rows, sorted."""
        if self.groups is None:
            return ()
        return tuple(np.unique(self.groups[self.rows("test")].astype(str)).tolist())

    def parts(self, test: IntArray) -> dict[str, BoolArray]:
        """Return which test rows are in each part; "" is all that the result is about."""
        names = self.split_names
        parts: dict[str, BoolArray] = {"": np.ones(len(test), dtype=bool)}
        for name in names:
            assert self.test_splits is not None
            parts[SPLIT + name] = np.asarray(self.test_splits[test].astype(str) == name)
        if "test" in names:
            parts[""] = parts[SPLIT + "test"]
        for name in self.group_names:
            assert self.groups is not None
            inside = (self.groups[test].astype(str) == name) & parts[""]
            if inside.any():
                parts[GROUP + name] = inside
        return parts

    def unit_codes(self, test: IntArray) -> IntArray:
        """Return the number of the unit of each test row, which are resampled together."""
        if self.units is None:
            return np.arange(len(test))
        return np.unique(self.units[test].astype(str), return_inverse=True)[1].ravel()


def check_value_data(
    features: Any,
    weak_values: Any,
    targets: Any,
    splits: Any,
    weak_errors: Any,
    groups: Any,
    units: Any,
    test_by: Any,
    entropy: int,
) -> ValueData:
    """Check the inputs of `measure_gain`, and raise an `InputError` that names what is wrong."""
    more = {"groups": groups, "units": units, "test_by": test_by}
    present = {name: part for name, part in more.items() if part is not None}
    n = check_same_length(weak_values=weak_values, targets=targets, splits=splits, **present)
    material = make_material(
        features,
        weak_values,
        targets=targets,
        weak_errors=weak_errors,
        posterior=None,
        sample_weight=None,
        seed=entropy,
    )
    named = parse_splits(pd.Series(splits), "splits")
    base = base_splits(named)
    for split in ("pool", "test"):
        if not (base == split).any():
            raise EmptyDataError(f"no row is in the {split} split")
    missing = np.flatnonzero((base == "test") & ~np.isfinite(material.targets))
    if len(missing):
        raise SplitError(f"{rows(missing)} of the test split have no gold value to measure by")
    names = named if test_by is None else np.asarray(test_by, dtype=object)
    several = (names[base == "test"] != "test").any()
    values, _ = material.mean
    silent = ~np.isfinite(values)
    if silent.any():
        values = np.where(silent, np.nanmean(values), values)
    return ValueData(
        material,
        base,
        names if several else None,
        None if groups is None else np.asarray(groups, dtype=object),
        None if units is None else np.asarray(units, dtype=object),
        np.broadcast_to(values, n),
    )
