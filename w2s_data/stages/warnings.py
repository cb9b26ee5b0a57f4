"""Warnings of data: too few gold rows, rare and unseen classes, weak labels that do not help.

Each stage that draws a conclusion writes the same warnings under "data_warnings" of its summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from w2s_data.data.dataset import W2SDataset
from w2s_data.stages.graph import FORECAST, GAIN
from w2s_data.utils.intervals import mean_estimate, wilson_interval
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import abstains, mean_label

# An accuracy of .80 has the interval .58 to .92 on 20 rows, .63 to .90 on 30, .71 to .87 on 100.
FEWEST_LABELLED = 20
FEWEST_VALIDATION = 30
FEWEST_TEST = 100  # below, most gains are smaller than the error of the accuracies
FEWEST_MEASURED = 30  # test rows below which even a large gain is not a result
FEWEST_OF_CLASS = 5  # rows, so that each fold of the usual cross-validation has one
RAREST = 0.01  # share of a class below which a model may miss it and lose a point at most
WORSE = 0.05  # share of the variance, from which values are worse than their mean
SHOWN = 5  # classes in a sentence
NOTE = "warning: "  # at the start of a note of the data set


@dataclass(frozen=True)
class DataWarning:
    """A warning of data, for people and for programs.

    Attributes
    ----------
    code : str
        The kind of warning.
    text : str
        One sentence, with the next step.
    numbers : dict
        The counts and shares behind it, by class where it is about classes.
    withholds : tuple of str
        Stages, forecast or gain, whose advice does not hold because of it.
    """

    code: str
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)
    withholds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unseen:
    """Share of the test rows in classes without gold rows in other splits.

    `by_teacher`: of classes that the labelled split lacks; `by_ceiling`: that the pool lacks too.
    """

    by_teacher: float = 0.0
    by_ceiling: float = 0.0


def data_warnings(dataset: W2SDataset, weak: FloatArray | None = None) -> list[dict[str, Any]]:
    """Return the warnings of a data set and, if given, of its weak labels, as records.

    `weak` are probabilities (N, C), or (N, M, C) for M weak models, which are averaged; values (N,)
    where labels are values.

    Examples
    --------
    >>> from w2s_data import load_dataset
    >>> found = data_warnings(load_dataset("example:digits").subset(range(60)))
    >>> [warning["code"] for warning in found][:3]
    ['few_labelled', 'few_test', 'few_validation']
    """
    found = [*_of_splits(dataset), *(() if dataset.is_regression else _of_classes(dataset))]
    if weak is not None and dataset.is_regression:
        found += _of_weak_values(dataset, weak)
    elif weak is not None:
        found += _of_weak_labels(dataset, mean_label(weak))
    # Loud notes of reading, such as leaking duplicates and doubtful weak columns.
    found += [
        DataWarning("note", note.removeprefix(NOTE))
        for note in dataset.notes
        if note.startswith(NOTE)
    ]
    return [asdict(warning) for warning in found]


def unseen_share(dataset: W2SDataset) -> Unseen:
    """Measure how much of the test split lies in classes that nothing can be learned about."""
    test, labelled, pool = (_counts(dataset, split) for split in ("test", "labelled", "pool"))
    if not test.sum():
        return Unseen()
    unseen = labelled == 0
    absent = unseen & (pool == 0)
    return Unseen(*(float(test[missing].sum() / test.sum()) for missing in (unseen, absent)))


def _counts(dataset: W2SDataset, split: str) -> IntArray:
    """Count the gold rows of a split by class, (C,)."""
    labels = dataset.labels[dataset.rows(split)]
    return np.bincount(labels[labels >= 0], minlength=len(dataset.class_names))


def _of_splits(dataset: W2SDataset) -> Iterator[DataWarning]:
    labelled = dataset.is_labelled
    gold = {split: int(labelled[dataset.rows(split)].sum()) for split in ("labelled", "validation")}
    n_test, known = len(dataset.rows("test")), int(labelled[dataset.rows("test")].sum())
    # Without any gold label there is nothing to have few of: weak labels alone are a choice.
    if not labelled.any():
        return
    if gold["labelled"] < FEWEST_LABELLED and (gold["labelled"] or not dataset.has_weak_labels):
        yield DataWarning(
            "few_labelled",
            f"the labelled split has {_rows(gold['labelled'])}: from fewer than {FEWEST_LABELLED} "
            "neither a teacher nor a forecast can be trusted; label more",
            {"n": gold["labelled"], "fewest": FEWEST_LABELLED},
            (FORECAST.name,),
        )
    if 0 < known < n_test:
        yield DataWarning(
            "unlabelled_test",
            f"{n_test - known:,} of {n_test:,} test rows have no gold label: a gain is measured "
            "only where all have one; put them into the pool",
            {"n": n_test - known, "n_test": n_test},
        )
    if (main := dataset.test_splits == "test").any():  # of several, the one to advise from
        known = int(labelled[main].sum())
    if known < FEWEST_TEST:
        few = f"a gain of less than {_halfwidth(known):.0f} points cannot be told from chance"
        if dataset.is_regression:
            few = "the mean of so few squared errors is uncertain by a fifth and more"
        yield DataWarning(
            "few_test",
            f"the test split has {_rows(known)} with a gold label: "
            + (f"{few}; label more" if known else "a gain cannot be measured"),
            {"n": known, "fewest": FEWEST_TEST},
            (GAIN.name,) if known < FEWEST_MEASURED else (),
        )
    if 0 < gold["validation"] < FEWEST_VALIDATION:
        yield DataWarning(
            "few_validation",
            f"the validation split has {_rows(gold['validation'])} with a gold label: choices by "
            f"fewer than {FEWEST_VALIDATION} are mostly luck",
            {"n": gold["validation"], "fewest": FEWEST_VALIDATION},
        )


def _halfwidth(n: int) -> float:
    """Return the half-width, in points, of the interval of an accuracy of .8 on n rows."""
    low, high = wilson_interval(round(0.8 * n), n, 0.95)
    return float(50 * (high - low))


def _of_classes(dataset: W2SDataset) -> Iterator[DataWarning]:
    labelled, test, pool, validation = (
        _counts(dataset, split) for split in ("labelled", "test", "pool", "validation")
    )
    everywhere = labelled + test + pool + validation
    if not labelled.sum():
        return
    unseen = (labelled == 0) & (everywhere > 0)
    if unseen.any():
        share = float(test[unseen].sum() / max(1, test.sum()))
        held = {"test": test, "pool": pool, "validation": validation}
        split, rows = next((name, rows) for name, rows in held.items() if rows[unseen].any())
        where = f"{int(rows[unseen].sum()):,} of {int(rows.sum()):,} {split} rows"
        yield DataWarning(
            "unseen_class",
            f"{_classes(dataset, unseen)} {_has(unseen)} no row in the labelled split, but {where}"
            f": a teacher trained on it never predicts {_them(unseen)}, and neither does its "
            "student; put some rows of it there",
            {"classes": _by_class(dataset, unseen, test), "share_of_test": share},
            (FORECAST.name,) if share else (),
        )
    empty = everywhere == 0
    if empty.any():
        yield DataWarning(
            "empty_class",
            f"{_classes(dataset, empty)} {_has(empty)} no gold row at all: nothing can be learned "
            f"or checked about {_them(empty)}",
            {"classes": _by_class(dataset, empty, everywhere)},
        )
    few = (labelled < FEWEST_OF_CLASS) | (labelled < RAREST * labelled.sum())
    rare = few & (labelled > 0)
    if rare.any():
        yield DataWarning(
            "rare_class",
            f"{_classes(dataset, rare, labelled)} {_is(rare)} rare among the "
            f"{int(labelled.sum()):,} labelled rows: a model may ignore {_them(rare)} and still be "
            "right on most; label more, or look at each class alone",
            {"classes": _by_class(dataset, rare, labelled), "n": int(labelled.sum())},
        )
    untested = (test < FEWEST_OF_CLASS) & (labelled > 0)
    if untested.any() and test.sum():
        yield DataWarning(
            "few_test_of_class",
            f"{_classes(dataset, untested, test)} {_has(untested)} fewer than {FEWEST_OF_CLASS} "
            "test rows: an accuracy on so few says nothing",
            {"classes": _by_class(dataset, untested, test), "n": int(test.sum())},
        )


def _of_weak_labels(dataset: W2SDataset, weak_proba: FloatArray) -> Iterator[DataWarning]:
    weak = weak_proba.argmax(axis=1)
    names = dataset.class_names
    votes = ~abstains(weak_proba)
    said = weak[votes]
    if len(said) and (said == said[0]).all():
        yield DataWarning(
            "constant_weak_labels",
            f"the weak labels are {names[said[0]]!r} for all {len(said):,} rows: they tell a "
            "student nothing",
            {"n": len(said)},
        )
        return
    known = votes & (dataset.labels >= 0)
    n = int(known.sum())
    if not n:
        return
    gold = dataset.labels[known]
    right = int((weak[known] == gold).sum())
    high = float(wilson_interval(right, n, 0.95)[1])
    most = np.bincount(gold).argmax()
    usual, chance = float((gold == most).mean()), 1 / len(names)
    numbers = {"n": n, "accuracy": right / n, "most_frequent": usual, "chance": chance}
    accuracy = f"the weak labels are right on {right / n:.1%} of {n:,} gold rows"
    if high < chance:
        yield DataWarning(
            "weak_below_chance",
            f"{accuracy}, below chance ({chance:.1%}): check which class each weak column or weak "
            "label means",
            numbers,
        )
    elif high < usual:
        yield DataWarning(
            "weak_below_usual",
            f"{accuracy}, fewer than always answering {names[most]!r} would be ({usual:.1%})",
            numbers,
        )


def _of_weak_values(dataset: W2SDataset, weak: FloatArray) -> Iterator[DataWarning]:
    said = weak[np.isfinite(weak)]
    if len(said) and np.ptp(said) == 0:
        yield DataWarning(
            "constant_weak_labels",
            f"the weak values are {said[0]:g} for all {len(said):,} rows: they tell a student "
            "nothing",
            {"n": len(said)},
        )
        return
    known = np.isfinite(weak) & dataset.is_labelled
    n = int(known.sum())
    if n < 2:
        return
    gold = dataset.targets[known]
    # By how much the weak values' squared error is above that of the gold mean, row by row.
    excess = mean_estimate((weak[known] - gold) ** 2 - (gold - gold.mean()) ** 2)
    variance = float(gold.var())
    # A useless teacher's values, left out one at a time, are a little worse than the mean.
    if excess.low > 0 and excess.value > WORSE * variance:
        r2 = -excess.value / variance if variance > 0 else 0.0
        yield DataWarning(
            "weak_below_usual",
            f"on {n:,} gold rows the weak values are farther off than always saying "
            f"{gold.mean():.4g}, the mean (R\N{SUPERSCRIPT TWO} {r2:.2f}): check their scale",
            {"n": n, "r2": r2},
        )


def _rows(n: int) -> str:
    return f"{n:,} row{'s' if n != 1 else ''}" if n else "no row"


def _classes(dataset: W2SDataset, which: Any, counts: IntArray | None = None) -> str:
    """Name classes, with their counts if given: "classes 'a' (3) and 'b' (1)"."""
    numbers = np.flatnonzero(which)
    named = [repr(dataset.class_names[c]) for c in numbers]
    if counts is not None:
        named = [f"{name} ({counts[c]:,})" for name, c in zip(named, numbers, strict=True)]
    shown = ", ".join(named[:SHOWN])
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return f"class{'es' if len(named) > 1 else ''} {shown}{more}"


def _by_class(dataset: W2SDataset, which: Any, counts: IntArray) -> dict[str, int]:
    return {dataset.class_names[c]: int(counts[c]) for c in np.flatnonzero(which)}


def _is(which: Any) -> str:
    return "are" if which.sum() > 1 else "is"


def _has(which: Any) -> str:
    return "have" if which.sum() > 1 else "has"


def _them(which: Any) -> str:
    return "them" if which.sum() > 1 else "it"
