"""Groups and splits as `SpuriousAnalyzer` takes them, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from w2s_data.discrepancy.moments import GROUP_BYTES
from w2s_data.errors import InputError, listing, rows
from w2s_data.utils.typing import BoolArray, IntArray
from w2s_data.utils.validation import check_same_length

MIN_ROWS = 10  # of a group and of all others; from fewer the shift of the mean is unknown


def why_unknown(size: int, total: int, labelled: int, n_labelled: int) -> str:
    """Why a group cannot be judged; empty if it can."""
    if labelled == 0:
        return "has no labelled row: label some, or merge it with another group"
    if labelled == n_labelled:
        return "holds all labelled rows: the teacher saw no other group; label some rows of them"
    if size < MIN_ROWS:
        return f"has {size} rows: {MIN_ROWS} or more are needed, merge it with another group"
    if total - size < MIN_ROWS:
        return f"holds all but {total - size} rows: {MIN_ROWS} or more others are needed"
    return ""


def check_groups(groups: ArrayLike, used: IntArray) -> tuple[list[Any], IntArray]:
    """Different names in order of appearance, and the code of each row used."""
    if np.ndim(groups) != 1:
        raise InputError(f"groups must name one group for each row; got shape {np.shape(groups)}")
    series = pd.Series(np.asarray(groups)[used])
    missing = used[series.isna().to_numpy()]
    if len(missing):
        raise InputError(f"groups are missing in {rows(missing)}")
    codes, found = pd.factorize(series.to_numpy(), sort=False)
    names = [name.item() if isinstance(name, np.generic) else name for name in found]
    if len(names) < 2:
        raise InputError(f"all rows belong to one group, {listing(names)}: two or more are needed")
    return names, np.asarray(codes)


def check_split(labelled: ArrayLike, pool: ArrayLike | None) -> tuple[BoolArray, IntArray]:
    """Mask of the labelled rows, and the numbers of all rows in either split."""
    mask = _check_mask(labelled, "labelled")
    if pool is None:
        return mask, np.arange(len(mask))
    rest = _check_mask(pool, "pool")
    check_same_length(labelled=mask, pool=rest)
    both = np.flatnonzero(mask & rest)
    if len(both):
        raise InputError(f"a row is labelled or in the pool, not both: {rows(both)}")
    return mask, np.flatnonzero(mask | rest)


def _check_mask(mask: ArrayLike, name: str) -> BoolArray:
    found = np.asarray(mask)
    if found.ndim != 1 or found.dtype != bool:
        raise InputError(
            f"{name} must be a boolean for each row; got {found.dtype} of shape {found.shape}"
        )
    return found


def check_rows(n_labelled: int, n_pool: int, d_w: int, d_s: int) -> None:
    """Refuse splits that do not determine teacher and student."""
    for what, count, side, d in (
        ("labelled", n_labelled, "weak", d_w),
        ("pool", n_pool, "strong", d_s),
    ):
        if count <= d + 2:
            raise InputError(
                f"{count} {what} rows do not determine a fit on {d} {side} dimensions: more "
                f"than {d + 2} are needed, or fewer {side}_components (--{side}-components)"
            )


def check_group_count(n_groups: int, d_w: int, d_s: int) -> None:
    """Refuse more groups than memory holds second moments of."""
    if n_groups * 8 * (d_w + d_s) ** 2 > GROUP_BYTES:
        raise InputError(
            f"{n_groups} groups of {d_w} + {d_s} dimensions do not fit in memory: give fewer "
            "groups, or fewer weak_components and strong_components (--weak-components, "
            "--strong-components)"
        )
