"""Results on several test splits, side by side: accuracies, paired differences, contrasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.errors import listing
from w2s_data.finetune.gain.data import GainData
from w2s_data.finetune.gain.intervals import (
    Comparison,
    Measurement,
    Score,
    format_limits,
    joint_level,
    measure,
    undefined,
)
from w2s_data.forecast.options import ADVICE, Choice

if TYPE_CHECKING:
    from w2s_data.finetune.gain.scores import Scorer

FEWEST = 20  # rows of a test split; Wilson's interval is then some .35 wide
_MOST_NAMED = 3  # contrasts in words, the most significant ones


@dataclass(frozen=True)
class SplitStudent:
    """Teacher, reference or method on one test split; NaN where a difference has no meaning."""

    name: str
    accuracy: Measurement
    gain: Measurement  # minus the teacher's accuracy, paired by item
    over_labelled: Measurement  # minus that of `labelled_only`, paired by item and seed
    # Sign of the gain where it is significant on all splits together, else 0: among many splits a
    # few look extreme by chance.
    sign: int = 0


@dataclass(frozen=True)
class SplitGain:
    """Results on one test split, for the same students and seeds as on the others."""

    name: str
    n: int  # rows
    students: tuple[SplitStudent, ...]  # teacher, ceiling, labelled_only, vote, then the methods
    comparisons: tuple[Comparison, ...]  # every pair of methods, those of all splits together
    best: str  # the most accurate option
    advised: str  # the cheapest at most half a point behind the best, and not significantly
    reading: str

    def __getitem__(self, name: str) -> SplitStudent:
        return next(student for student in self.students if student.name == name)

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per student; see `GainResult.split_table`."""
        return [
            {
                "split": self.name,
                "n": self.n,
                "student": student.name,
                **student.accuracy.columns("accuracy"),
                **student.gain.columns("gain"),
                **student.over_labelled.columns("over_labelled"),
            }
            for student in self.students
        ]

    def cell(self, name: str) -> str:
        """Return accuracy and gain of a student, or the accuracy of the teacher, for a line."""
        student = self[name]
        value = f"{student.accuracy.value:.3f}"
        return value if student.gain.reason else f"{value}  {_signed(student.gain)}"


def gain_on_split(
    name: str,
    teacher: Score,
    students: Mapping[str, Score],
    *,
    methods: Sequence[str],
    alone: Score | None,
    choice: Choice,
    scorer: Scorer,
    n_splits: int,
) -> SplitGain:
    """Compare teacher and students, references and methods, on one of several test splits.

    `alone` is the score of the student of the labelled rows alone.
    """
    level, none = scorer.level, undefined("it is not compared with itself, nor are references")
    over = {} if alone is None else {method: students[method] - alone for method in methods}
    compared = [SplitStudent("teacher", scorer.share(teacher), none, none)]
    for student, own in students.items():
        cautious = measure(own - teacher, joint_level(level, n_splits))
        compared.append(
            SplitStudent(
                student,
                scorer.share(own),
                measure(own - teacher, level),
                measure(over[student], level) if student in over else none,
                _sign(cautious),
            )
        )
    pairs = list(combinations(methods, 2))
    together = joint_level(level, n_splits * len(pairs))
    return SplitGain(
        name=name,
        n=teacher.n,
        students=tuple(compared),
        comparisons=tuple(
            Comparison(one, two, measure(students[one] - students[two], together))
            for one, two in pairs
        ),
        best=choice.best,
        advised=choice.advised,
        reading=choice.advise(),
    )


def _sign(gain: Measurement) -> int:
    """Return 1 or -1 where the interval lies above or below 0, else 0."""
    return int(gain.low > 0) - int(gain.high < 0)


def contrast_splits(splits: Sequence[SplitGain], methods: Sequence[str]) -> tuple[str, ...]:
    """Put in words where the splits disagree: on signs of gains, order of methods, and advice."""
    if len(splits) < 2 or not methods:
        return ()
    return (*_signs(splits, methods), *_orders(splits, methods), *_advice(splits))


def _signs(splits: Sequence[SplitGain], methods: Sequence[str]) -> Iterator[str]:
    """Name methods that gain on one split and lose on another."""
    vague = []
    for name in methods:
        ranked = sorted(splits, key=lambda split: -split[name].gain.value)
        first, last = ranked[0][name], ranked[-1][name]
        if not first.gain.value > 0 > last.gain.value:
            continue
        chance = [word for word, side in (("the gain", first), ("the loss", last)) if not side.sign]
        if len(chance) == 2:
            vague.append(name)
            continue
        yield (
            f"the gain of {name} changes sign between the test splits: {_signed(first.gain)} on "
            f"{ranked[0].name!r}, {_signed(last.gain)} on {ranked[-1].name!r}"
            + "".join(f"; {word} may be chance" for word in chance)
        )
    if vague:
        yield (
            f"the gain of {_few(vague)} changes sign between the test splits, which may be chance"
        )


def _orders(splits: Sequence[SplitGain], methods: Sequence[str]) -> Iterator[str]:
    """Name pairs of methods whose order differs significantly, or say that the order differs."""
    flips = []
    for of_pair in zip(*(split.comparisons for split in splits), strict=True):
        by_split = {split.name: each for split, each in zip(splits, of_pair, strict=True)}
        ranked = sorted(by_split, key=lambda name: -by_split[name].difference.value)
        ahead, behind = (by_split[ranked[at]].difference for at in (0, -1))
        if ahead.low > 0 > behind.high:
            flips.append(
                f"methods rank differently: {of_pair[0].first} minus {of_pair[0].second} is "
                f"{_signed(ahead)} on {ranked[0]!r} and {_signed(behind)} on {ranked[-1]!r}"
            )
    yield from flips[:_MOST_NAMED]
    if len(flips) > _MOST_NAMED:
        yield f"so do {len(flips) - _MOST_NAMED} more pairs of methods"
    orders = {
        tuple(sorted(methods, key=lambda name: -split[name].accuracy.value)) for split in splits
    }
    if len(orders) > 1 and not flips:
        yield (
            "the order of the methods differs between the test splits, for no pair significantly "
            "in both directions"
        )


def _advice(splits: Sequence[SplitGain]) -> Iterator[str]:
    """Say which split asks for another option."""
    advised: dict[str, list[str]] = {}
    for split in splits:
        advised.setdefault(split.advised, []).append(split.name)
    if len(advised) > 1:
        parts = (f"{ADVICE[option]} on {listing(names, 4)}" for option, names in advised.items())
        yield f"the advice depends on the test split: {'; '.join(parts)}"


def split_notes(data: GainData) -> tuple[str, ...]:
    """Return notes on test splits that are single, small, or of one class."""
    names = data.split_names
    rows = {name: data.test_rows(name) for name in names}
    notes = []
    if len(names) == 1:
        notes.append(f"all test rows are in the one test split {names[0]!r}: there is one column")
    small = [f"{name!r} ({len(own)})" for name, own in rows.items() if len(own) < FEWEST]
    if small:
        notes.append(f"test splits of fewer than {FEWEST} rows have wide intervals: {_few(small)}")
    single = [
        f"{name!r} ({data.class_names[classes[0]]})"
        for name, own in rows.items()
        if len(classes := np.unique(data.labels[own])) == 1
    ]
    if single and len(names) > 1:
        notes.append(
            f"test splits of one class, whose accuracy is the share predicted as it: {_few(single)}"
        )
    return tuple(notes)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _signed(difference: Measurement) -> str:
    return f"{difference.value:+.3f} ({format_limits(difference, '+')})"
