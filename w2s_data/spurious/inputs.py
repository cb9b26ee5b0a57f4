"""Checks of the rows, groups and splits that `SpuriousAnalyzer` is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from w2s_data.discrepancy.moments import GROUP_BYTES
from w2s_data.errors import InputError, listing, rows
from w2s_data.features.matrix import FeatureMatrix, FeatureView, as_feature_matrix
from w2s_data.utils.typing import BoolArray, IntArray
from w2s_data.utils.validation import check_names, check_same_length

MIN_ROWS = 10  # of a group and of all others; from fewer the shift of the mean is unknown


@dataclass(frozen=True)
class Rows:
    """The rows of either split, and the names of their groups in order of appearance."""

    strong: FeatureMatrix
    weak: FeatureMatrix
    names: list[Any]
    codes: IntArray
    labelled: BoolArray
    numbers: IntArray  # of the rows as the user counts them, for messages

    @property
    def n(self) -> int:
        """Labelled rows."""
        return int(self.labelled.sum())

    @property
    def N(self) -> int:
        """Pool rows."""
        return int((~self.labelled).sum())

    def check_determined(self, d_s: int, d_w: int) -> None:
        """Raise unless the rows determine teacher and student, and moments fit in memory."""
        for split, count, side, d in (
            ("labelled", self.n, "weak", d_w),
            ("pool", self.N, "strong", d_s),
        ):
            if count <= d + 2:
                raise InputError(
                    f"{count} {split} rows do not determine a fit on {d} {side} dimensions: more "
                    f"than {d + 2} are needed, or fewer {side}_components"
                )
        # Each group keeps a matrix of second moments in float64.
        if len(self.names) * 8 * (d_w + d_s) ** 2 > GROUP_BYTES:
            raise InputError(
                f"{len(self.names)} groups of {d_w} + {d_s} dimensions do not fit in memory: give "
                "fewer groups, strong_components or weak_components"
            )

    def why_unknown(self, group: int) -> str:
        """Tell why a group cannot be judged; empty if it can."""
        inside = self.codes == group
        size, others = np.count_nonzero(inside), np.count_nonzero(~inside)
        labelled = np.count_nonzero(inside & self.labelled)
        if labelled == 0:
            return "has no labelled row: label some, or merge it with another group"
        if labelled == self.n:
            return (
                "holds all labelled rows: the teacher saw no other group; label some rows of them"
            )
        if size < MIN_ROWS:
            return f"has {size} rows: {MIN_ROWS} or more are needed, merge it with another group"
        if others < MIN_ROWS:
            return f"holds all but {others} rows: {MIN_ROWS} or more others are needed"
        return ""


def check_rows(
    strong_features: Any,
    weak_features: Any,
    groups: ArrayLike,
    labelled: ArrayLike,
    pool: ArrayLike | None,
) -> Rows:
    """Check all arrays against each other, and drop the rows of neither split."""
    strong = as_feature_matrix(strong_features, "strong features")
    weak = as_feature_matrix(weak_features, "weak features")
    masks = {"labelled": np.asarray(labelled)}
    if pool is not None:
        masks["pool"] = np.asarray(pool)
    for name, mask in masks.items():
        if mask.ndim != 1 or mask.dtype != bool:
            raise InputError(
                f"{name} must be one boolean per row; got {mask.dtype} of shape {mask.shape}"
            )
    check_same_length(
        strong_features=np.empty(strong.shape[0]),
        weak_features=np.empty(weak.shape[0]),
        groups=np.asarray(groups),
        **masks,
    )
    first = masks["labelled"]
    rest = masks.get("pool", ~first)
    both = np.flatnonzero(first & rest)
    if len(both):
        raise InputError(f"a row is either labelled or in the pool, not both: {rows(both)}")
    used = np.flatnonzero(first | rest)
    names, codes = check_names(np.asarray(groups)[used], "groups", used)
    if len(names) < 2:
        raise InputError(f"all rows belong to one group, {listing(names)}: two or more are needed")
    if len(used) < len(first):  # a view of all rows would only slow the reading down
        strong, weak, first = FeatureView(strong, used), FeatureView(weak, used), first[used]
    return Rows(strong, weak, names, codes, first, used)
