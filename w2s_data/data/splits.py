"""Seeded splits, stratified and exact in size.

Exact duplicates form one unit, which is assigned as a whole, so that no split holds a copy of an
item of another split.

Test rows may come in several splits of their own names, "test", "test_ood", ...: to everything but
the measured gain they are one split, "test".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from w2s_data.errors import SplitError, listing, unknown
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_generator

SPLITS = ("labelled", "pool", "validation", "test")
SPLIT_ALIASES = {  # names of splits in common data sets
    "train": "labelled",
    "labeled": "labelled",
    "unlabeled": "pool",
    "unlabelled": "pool",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
}
# No letter after "test", or a single one ("testA"), so that "testimonials" is not a split.
_TEST_SPLIT = re.compile(r"test([^a-z].*|[a-z])?", re.DOTALL)
# The pool keeps half of the rows: the student learns from it.
DEFAULT_SPLIT_SIZES: Mapping[str, float] = {"labelled": 0.2, "validation": 0.1, "test": 0.2}
LEAST_POOL_SHARE = 0.2
# Labelled rows of a class of a source, on average, from which splits are balanced by source too. Of
# fewer, each could be the only one of its kind: cross-validation of the labelled rows, which leaves
# it out, would find less than these teach (17 points less at 1.25 of a kind, 2 at 10).
LEAST_OF_A_KIND = 10
_SIZED = ("labelled", "validation", "test")  # the pool takes the rest
DUPLICATES = "exact duplicates"  # marks the notes that a new split makes obsolete


def text_units(texts: Iterable[str | bytes]) -> IntArray:
    """Number the distinct texts in order of appearance, so that equal texts share a unit."""
    return np.asarray(pd.factorize(pd.Series(texts, dtype=object))[0], dtype=np.int64)


def feature_units(features: FloatArray) -> IntArray:
    """Number the distinct rows of a feature matrix, so that equal rows share a unit."""
    # Adding 0.0 turns -0.0, which is equal but has other bytes, into 0.0.
    digests = [hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest() for row in features]
    return text_units(digests)


def count_duplicates(units: IntArray) -> tuple[int, int]:
    """Count the items with duplicates, and the groups they form."""
    sizes = np.bincount(units)
    return int(sizes[sizes > 1].sum()), int((sizes > 1).sum())


def count_straddling(units: IntArray, splits: AnyArray) -> tuple[int, int]:
    """Count the items, and the groups of duplicates, that lie in more than one split."""
    straddles = pd.Series(splits).groupby(units).nunique().to_numpy() > 1
    return int(np.bincount(units)[straddles].sum()), int(straddles.sum())


def read_split(name: object) -> str | None:
    """Return the split that a name stands for: one of `SPLITS`, or a test split of its own name.

    Case and blanks around the name do not count. A test split is "test" followed by anything but a
    letter, or by one letter. None for other names.

    >>> [read_split(name) for name in ("Train ", "test_2024", "Test-News", "testA", "tester")]
    ['labelled', 'test_2024', 'test-news', 'testa', None]
    """
    lower = str(name).strip().lower()
    if lower in SPLITS or _TEST_SPLIT.fullmatch(lower):
        return lower
    return SPLIT_ALIASES.get(lower)


def base_splits(splits: AnyArray) -> AnyArray:
    """Return splits (N,) with every test split as "test".

    >>> base_splits(np.array(["pool", "test_ood", "test"], dtype=object)).tolist()
    ['pool', 'test', 'test']
    """
    codes, names = pd.factorize(splits)
    base = [name if name in SPLITS else "test" for name in names]
    named: AnyArray = np.array(base, dtype=object)
    return named[codes]


def check_varied(
    truth: AnyArray, labelled: IntArray, known: BoolArray, class_names: Sequence[str]
) -> None:
    """Raise SplitError if labelled rows hold one class, or one value where there are no classes.

    Neither a classifier nor a regression can be fitted to one of them.
    """
    held = np.unique(truth[labelled])
    if len(held) > 1:
        return
    one = f"class {class_names[held[0]]!r}" if class_names else f"value {held[0]:g}"
    elsewhere = int((truth[known] != held[0]).sum())
    do = (
        f"put some of the {elsewhere:,} other gold rows into it, by split or split_sizes"
        if elsewhere
        else "label rows that differ"
    )
    raise SplitError(
        f"the labelled split holds the single {one} ({len(labelled)} rows); the teacher needs two "
        f"or more: {do}"
    )


def test_names(splits: AnyArray) -> AnyArray:
    """Return the names of test splits (N,), and "" for other splits."""
    tests: AnyArray = splits.copy()
    tests[base_splits(splits) != "test"] = ""
    return tests


def joins_pool(values: pd.Series, known: BoolArray) -> BoolArray:
    """Mark rows (N,) without a label whose split is "train" or empty: the pool is their place.

    `known` (N,) marks the rows with a label. Where no row of "train" has one, its rows stay: the
    labels are missing, and not those of a pool.

    >>> joins_pool(pd.Series(["train", "train", None, "test"]), np.arange(4) == 0).tolist()
    [False, True, True, False]
    """
    codes, distinct = pd.factorize(values.astype(object))
    training = [i for i, name in enumerate(distinct) if str(name).strip().lower() == "train"]
    trained = np.isin(codes, training)
    return np.asarray(~known & ((codes < 0) | (trained & (trained & known).any())))


def parse_splits(values: pd.Series, column: str) -> AnyArray:
    """Translate a column of split names as `read_split` does."""
    if values.isna().any():
        raise SplitError(
            f"split column {column!r} is empty in {int(values.isna().sum())} rows; "
            f"each row needs one of {listing(SPLITS)}"
        )
    codes, distinct = pd.factorize(values.astype(object))
    names = [read_split(name) for name in distinct]
    strange = [value for value, name in zip(distinct, names, strict=True) if name is None]
    if strange:
        valid = listing([*SPLITS, *SPLIT_ALIASES])
        raise SplitError(
            f"split column {column!r} holds {listing(strange)}; valid: {valid}, and names of "
            "further test splits, such as 'test_ood'"
        )
    return np.array(names, dtype=object)[codes]


def quantile_codes(targets: FloatArray) -> IntArray:
    """Return strata (N,) of values between their quantiles, -1 where a value is missing.

    There are ten, or fewer where one would have fewer than ten rows.

    >>> quantile_codes(np.array([*range(20), np.nan])).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1]
    """
    codes = np.full(len(targets), -1)
    known = np.isfinite(targets)
    if known.any():
        n_strata = int(np.clip(known.sum() // 10, 1, 10))
        # By the share of smaller values, so that equal values have equal codes.
        shares = pd.Series(targets[known]).rank(method="min") - 1
        codes[known] = np.floor(shares.to_numpy() / known.sum() * n_strata).astype(np.int64)
    return codes


def apportion(total: int, shares: Sequence[float] | AnyArray) -> IntArray:
    """Round shares of `total` to integers of that sum, by largest remainders."""
    weights = np.asarray(shares, dtype=np.float64)
    quota = total * weights / weights.sum()
    counts: IntArray = np.floor(quota + 1e-9).astype(np.int64)  # 0.3 * 10 may be 2.9999...
    # Remainders are rounded before the stable sort, so that ties go to the first share.
    first = np.argsort(-np.round(quota - counts, 9), kind="stable")
    counts[first[: total - counts.sum()]] += 1
    return counts


def default_split_sizes(
    n_gold: int, n_pool: int = 0, came: Collection[str] = ()
) -> dict[str, float]:
    """Return the default shares of the gold rows that have no split yet.

    `came` are splits that came with the data, which have their size. The pool keeps the share of
    all rows that it has where none is in it yet, the `n_pool` rows that are there already first,
    and at least a fifth of the gold rows, by which accuracies of the pool are measured. The others
    are labelled.

    >>> default_split_sizes(1000)["labelled"], default_split_sizes(900, 2100)["labelled"]
    (0.2, 0.5)
    >>> default_split_sizes(900, 2100, ["test"])
    {'labelled': 0.7, 'validation': 0.1}
    """
    sizes = {split: size for split, size in DEFAULT_SPLIT_SIZES.items() if split not in came}
    if n_gold and "labelled" in sizes:
        share = 1 - sum(sizes.values())
        needed = share - (1 - share) * n_pool / n_gold  # (N_gold + N_pool) share less N_pool
        sizes["labelled"] = round(sizes["labelled"] + share - max(LEAST_POOL_SHARE, needed), 12)
    return sizes


def split_counts(sizes: Mapping[str, float] | None, available: int, held: int = 0) -> IntArray:
    """Turn shares or counts into numbers of labelled, validation, test and pool rows.

    `held` more rows have a label, but stay in the pool with their duplicates.
    """
    wanted = np.zeros(len(_SIZED))
    for name, size in (DEFAULT_SPLIT_SIZES if sizes is None else sizes).items():
        if name not in SPLITS:
            raise SplitError(unknown("split", str(name), SPLITS))
        is_count = isinstance(size, int | np.integer) and not isinstance(size, bool)
        is_share = isinstance(size, float | np.floating) and 0 <= size <= 1
        if not (is_share or (is_count and size >= 0)):
            raise SplitError(
                f"size of split {name!r} must be a share in [0.0, 1.0] (float) or a number of "
                f"rows (int); got {size!r}"
            )
        if name == "pool":  # its size follows from the others, and could contradict them
            raise SplitError("the pool takes the remaining rows; leave out its size")
        wanted[_SIZED.index(name)] = size if is_count else size * available
    rest = available - wanted.sum()
    if rest < -1e-6:  # shares such as .7 + .2 + .1 may exceed 1 by a rounding error
        asked = ", ".join(f"{n} {w:g}" for n, w in zip(_SIZED, wanted, strict=True) if w)
        raise SplitError(
            f"split sizes ask for {wanted.sum():g} rows ({asked}), "
            f"but only {available} rows have a label to split by" + _held_back(held)
        )
    if available == 0:
        return np.zeros(len(_SIZED) + 1, dtype=np.int64)
    return apportion(available, [*wanted, max(rest, 0.0)])


def assign_splits(
    labels: IntArray,
    units: IntArray,
    *,
    sources: IntArray | None = None,
    sizes: Mapping[str, float] | None = None,
    fixed: AnyArray | None = None,
    random_state: RandomState = None,
) -> AnyArray:
    """Assign rows to splits, stratified by label and source; return values of `SPLITS` or `fixed`.

    Within each label the number of labelled rows differs from its exact share by less than 1, that
    of validation and test rows by less than 2, and so it does within each source of a label, where
    the labelled rows are at least `LEAST_OF_A_KIND` times as many as these. The totals are exact,
    unless there are too few single items to balance groups of duplicates.

    Parameters
    ----------
    labels : int array (N,)
        Class codes; -1 is missing. A row without label goes to the pool, and so does every
        duplicate of it.
    units : int array (N,)
        Codes 0..U-1; rows of one unit get one split.
    sizes : mapping from split to share of the labelled rows (float) or number of rows (int)
        Shares are of the rows that may leave the pool, which takes the rest. None is
        `DEFAULT_SPLIT_SIZES`.
    fixed : object array (N,) or None
        Given split of a row and its duplicates; None where it is to be assigned.
    """
    rng = check_generator(random_state)
    splits = np.full(len(labels), "pool", dtype=object)
    free = labels >= 0
    if fixed is not None:
        given = _with_duplicates(fixed, units)
        splits[given != None] = given[given != None]  # noqa: E711 (elementwise)
        free &= given == None  # noqa: E711
    first, unit_size = np.unique(units, return_index=True, return_counts=True)[1:]
    eligible = np.bincount(units, weights=~free) == 0  # may leave the pool
    held = free & ~eligible[units]
    free &= eligible[units]
    wanted = split_counts(sizes, int(free.sum()), int(held.sum()))

    strata = [labels[first]]
    if sources is not None:
        kinds = np.unique((sources * (labels.max(initial=0) + 1) + labels)[free])
        if wanted[0] >= LEAST_OF_A_KIND * len(kinds):
            strata.insert(0, sources[first])
    assigned = np.full(len(first), len(_SIZED))
    # Groups of duplicates come first: single items can then restore the exact totals.
    for recurring in (True, False):
        members = np.flatnonzero(eligible & ((unit_size > 1) == recurring))
        if len(members) == 0:
            continue
        # lexsort takes the last key first: by label, source and size, ties at random.
        keys = (rng.random(len(members)), unit_size[members], *(key[members] for key in strata))
        ordered = members[np.lexsort(keys)]
        if recurring:
            quota = apportion(len(ordered), wanted)[: len(_SIZED)]
        else:
            weights = unit_size * eligible
            so_far = np.bincount(assigned, weights=weights, minlength=len(_SIZED) + 1)
            quota = wanted[: len(_SIZED)] - so_far.astype(np.int64)[: len(_SIZED)]
        assigned[ordered] = _assign_places(len(ordered), quota, rng)
    names = np.array([*_SIZED, "pool"], dtype=object)
    splits[free] = names[assigned[units[free]]]
    return splits


def held_note(
    known: BoolArray, units: IntArray, splits: AnyArray, fixed: AnyArray | None
) -> list[str]:
    """Return a note on rows (N,) with a label that are in the pool since a duplicate has none.

    >>> held_note(np.arange(3) > 0, np.array([0, 0, 1]), np.array(["pool"] * 3), None)
    ['rows with a label that stay in the pool, since exact duplicates of them have none: 1']
    """
    assigned = known if fixed is None else known & (fixed == None)  # noqa: E711 (elementwise)
    bare = np.bincount(units, weights=~known) > 0
    held = int((assigned & bare[units] & (splits == "pool")).sum())
    about = f"rows with a label that stay in the pool, since {DUPLICATES} of them have none"
    return [f"{about}: {held:,}"] if held else []


def _held_back(held: int) -> str:
    """Say how many more rows with a label cannot leave the pool, and what to do; "" for none."""
    if not held:
        return ""
    return (
        f"; {held:,} more must stay in the pool, since {DUPLICATES} of them have no label: ask "
        "for fewer rows, or label the duplicates"
    )


def _with_duplicates(fixed: AnyArray, units: IntArray) -> AnyArray:
    """Extend given splits to the duplicates of their rows."""
    known = [*SPLITS, *sorted({*fixed} - {*SPLITS, None})]
    codes = pd.Series(fixed, dtype=object).map({name: i for i, name in enumerate(known)})
    of_unit = codes.groupby(units).transform("min")
    names = np.array([*known, None], dtype=object)
    return np.asarray(names[codes.fillna(of_unit).fillna(len(known)).to_numpy(dtype=np.int64)])


def _assign_places(n: int, quota: IntArray, rng: np.random.Generator) -> IntArray:
    """Assign n ordered places to the splits, each split evenly spread over the order."""
    assigned = np.full(n, len(quota))
    left = np.arange(n)
    for code, wanted in enumerate(quota):
        if len(left) == 0:
            break
        taken = _evenly_spread(len(left), int(np.clip(wanted, 0, len(left))), rng)
        assigned[left[taken]] = code
        left = left[~taken]
    return assigned


def _evenly_spread(n: int, k: int, rng: np.random.Generator) -> BoolArray:
    """Mark k of n places so that every interval holds its share, off by less than 1.

    Systematic sampling in whole numbers: place i is marked when (i k + r) / n passes an integer.
    """
    passed = (np.arange(n + 1, dtype=np.int64) * k + rng.integers(n)) // n
    return np.diff(passed) > 0
