"""How reliable each teacher is, and what each adds to the others: `assess_teachers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.errors import InputError, listing
from w2s_data.posterior.calibration import calibration_error
from w2s_data.teachers.beyond import NEGLIGIBLE, added_by
from w2s_data.teachers.evidence import evidence_shares, like_pool
from w2s_data.teachers.pairs import Pair, compare_teachers
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import Estimate, wilson_interval
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import check_codes, check_proba, check_rows, root_seed
from w2s_data.utils.votes import votes

MOST_PARTS = 50  # sources or groups that are listed, the largest
MOST_GOLD = 2_000  # gold rows by which teachers are compared; more would change little
# Gold votes from which "adds nothing" is said. In simulations of 60 draws it was said of a teacher
# that adds .027 nats in 5 % at 100 votes and never at 300; below, weights shrink to 0 by chance.
SURE = 100
SHRUNK = 0.01  # coefficient in the posterior below which it does not listen to a teacher
SHOWN = 3  # pairs that a sentence names


@dataclass(frozen=True)
class Part:
    """A teacher on some of the rows: of one class, source or group, or all."""

    name: str
    n: int  # rows
    coverage: float  # share of them on which it votes, in [0, 1]
    n_gold: int  # gold rows on which it votes
    accuracy: Estimate  # share of these on which it is right; Wilson's interval

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return vars(self) | {"accuracy": self.accuracy.to_dict()}


@dataclass(frozen=True)
class TeacherRecord:
    """Reliability of one teacher."""

    name: str
    whole: Part  # coverage of the pool
    calibration_error: float  # mean distance of confidence and accuracy, in [0, 1]; 0 is best
    weight: float  # share of the teachers' evidence for the right class, in [0, 1]; NaN if unknown
    coefficient: float  # in the posterior, beside its models; NaN without one
    by_class: tuple[Part, ...]  # gold rows of each class
    by_source: tuple[Part, ...]
    by_group: tuple[Part, ...]
    beyond: str = ""  # the teacher that repeats most of its votes
    added: Estimate = field(default_factory=lambda: Estimate(np.nan))  # to that one, nats per vote

    @property
    def adds_nothing(self) -> bool:
        """Whether 100 gold votes or more add less than .01 nats each beyond one other teacher.

        Where the posterior gives it no weight, it is enough that nothing speaks for it.
        """
        shrunk = self.coefficient < SHRUNK and self.added.low <= 0
        return self.whole.n_gold >= SURE and bool(self.added.high < NEGLIGIBLE or shrunk)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        parts = {f"by_{k}": [p.to_dict() for p in getattr(self, f"by_{k}")] for k in KINDS}
        return {
            **{k: v for k, v in self.whole.to_dict().items() if k != "name"},
            "name": self.name,
            "calibration_error": self.calibration_error,
            "weight": self.weight,
            "coefficient": self.coefficient,
            "beyond": self.beyond,
            "added": self.added.to_dict(),
            "adds_nothing": self.adds_nothing,
            **parts,
        }


KINDS = ("class", "source", "group")


@dataclass(frozen=True, repr=False)
class TeacherReliability:
    """Result of `assess_teachers`."""

    teachers: tuple[TeacherRecord, ...]
    pairs: tuple[Pair, ...]
    n_gold: int
    level: float
    notes: tuple[str, ...]  # sentences: who is silent, copies, adds nothing

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types, the content of `reliability.json`."""
        return {
            "n_gold": self.n_gold,
            "level": self.level,
            "teachers": [teacher.to_dict() for teacher in self.teachers],
            "pairs": [pair.to_dict() for pair in self.pairs],
            "notes": list(self.notes),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one row per teacher."""
        return pd.DataFrame(
            [
                {
                    "teacher": teacher.name,
                    "coverage": teacher.whole.coverage,
                    "n_gold": teacher.whole.n_gold,
                    **teacher.whole.accuracy.columns("accuracy"),
                    "calibration_error": teacher.calibration_error,
                    "weight": teacher.weight,
                    "coefficient": teacher.coefficient,
                    "beyond": teacher.beyond,
                    **teacher.added.columns("added"),
                }
                for teacher in self.teachers
            ]
        ).set_index("teacher")

    def __repr__(self) -> str:
        shown = self.to_frame()[["coverage", "n_gold", "accuracy", "weight"]].round(3)
        return "\n".join([f"TeacherReliability on {self.n_gold} gold rows", shown.to_string()])


def assess_teachers(
    weak_proba: FloatArray,
    labels: IntArray,
    *,
    names: Sequence[str],
    class_names: Sequence[str],
    pool: IntArray | None = None,
    sources: AnyArray | None = None,
    groups: AnyArray | None = None,
    coefficients: Mapping[str, float] | None = None,
    symmetric: bool = False,
    level: float = LEVEL,
    random_state: RandomState = None,
) -> TeacherReliability:
    """Measure coverage, accuracy, calibration and dependence of several teachers.

    Parameters
    ----------
    weak_proba : float array (N, M, C)
        Class probabilities of M teachers; a uniform row abstains. On gold rows that a teacher
        learned from they have to be cross-fitted.
    labels : int array (N,)
        Classes of the gold rows, -1 elsewhere.
    names, class_names : M and C str
    pool : int array or bool array (N,), optional
        Rows that coverage and agreement are about; by default those without a gold label.
    sources, groups : array (N,), optional
        Parts to report on, beside the classes.
    coefficients : mapping of str to float, optional
        Weights of the views in the posterior, by teacher.
    symmetric : bool
        The classes are the two orders of pairs, which are drawn: nothing is reported by class.
    level : float
        Coverage of the intervals.
    random_state : int, Generator or None
        Controls folds and resamples.

    Raises
    ------
    InputError
        If shapes or names disagree, probabilities are none, or labels are not class codes.

    Notes
    -----
    A teacher's weight is its share of the evidence for the right class: its part of the log-odds by
    which a log-linear pool of the teachers alone prefers the gold classes to the mean of all, with
    gold rows weighted to the pool's mix of sources where each of these has 20. The coefficient is
    that of the posterior beside its models of the gold labels, and may be 0 for a good teacher who
    says what they say.

    Dependence is the correlation of two teachers' errors within a class, on gold rows on which both
    vote. A teacher "adds nothing beyond" the one that repeats most of its votes if a log-linear
    pool of both is, by the interval, less than .01 nats per vote better on held-out gold rows than
    a pool of the other alone; or if the posterior gives it no weight and nothing speaks against
    that; and if it votes on 100 gold rows or more. Intervals are for gold rows drawn at random from
    rows like these.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=600)
    >>> right = rng.random((600, 2)) < [0.9, 0.7]
    >>> proba = 0.1 + 0.8 * np.eye(2)[np.where(right, y[:, None], 1 - y[:, None])]
    >>> labels = np.where(np.arange(600) < 300, y, -1)
    >>> found = assess_teachers(proba, labels, names=("a", "b"), class_names=("no", "yes"))
    >>> [round(teacher.whole.accuracy.value, 1) for teacher in found.teachers]
    [0.9, 0.7]
    """
    proba = np.asarray(weak_proba)
    if proba.ndim != 3 or proba.shape[1:] != (len(names), len(class_names)):
        raise InputError(
            f"weak_proba must have shape (N, {len(names)}, {len(class_names)}), by names and "
            f"class_names; got {proba.shape}"
        )
    for m, name in enumerate(names):
        check_proba(proba[:, m], f"weak_proba of {name!r}")
    proba = proba.astype(np.float64, copy=False)
    labels = check_codes(labels, len(proba), len(class_names), "labels", unknown=True)
    seed = root_seed(random_state)
    gold = np.flatnonzero(labels >= 0)
    own_pool = check_rows(labels < 0 if pool is None else pool, len(proba), "pool")
    said = votes(proba)
    held_out = said[gold]
    by_class = [] if symmetric else _classes(gold, labels, class_names)
    by_source, by_group = (_parts(values, own_pool, gold) for values in (sources, groups))

    def part(m: int, rows: _Rows) -> Part:
        known = rows.gold[said[rows.gold, m] >= 0]
        return _part(rows, said[rows.pool, m], said[known, m] == labels[known], level)

    shares = evidence_shares(
        proba[gold], labels[gold], like_pool(sources, own_pool, gold), offsets=not symmetric
    )
    records = []
    for m, name in enumerate(names):
        known = gold[held_out[:, m] >= 0]
        records.append(
            TeacherRecord(
                *(name, part(m, _Rows("", own_pool, gold))),
                calibration_error=calibration_error(
                    proba[known, m].max(axis=1), said[known, m] == labels[known]
                ),
                weight=float(shares[m]),
                coefficient=float((coefficients or {}).get(name, np.nan)),
                by_class=tuple(part(m, rows) for rows in by_class),
                by_source=tuple(part(m, rows) for rows in by_source),
                by_group=tuple(part(m, rows) for rows in by_group),
            )
        )
    fewer = np.sort(np.random.default_rng(seed).permutation(gold)[:MOST_GOLD])
    pairs = compare_teachers(
        *(said[own_pool], held_out, labels[gold], names),
        strata=np.zeros(len(gold), dtype=np.int64) if symmetric else None,
        level=level,
        seed=seed,
    )
    compared = [
        _beyond(m, record, records, pairs, proba[fewer], labels[fewer], seed)
        for m, record in enumerate(records)
    ]
    notes = _notes(compared, pairs, len(gold), level)
    return TeacherReliability(tuple(compared), tuple(pairs), len(gold), level, tuple(notes))


@dataclass(frozen=True)
class _Rows:
    """Rows of a class, source or group, in the pool and among the gold rows."""

    name: str
    pool: IntArray
    gold: IntArray


def _classes(gold: IntArray, labels: IntArray, names: Sequence[str]) -> list[_Rows]:
    """Return the gold rows of each class; the classes of the pool are not known."""
    rows = [gold[labels[gold] == c] for c in range(len(names))]
    return [_Rows(str(name), own, own) for name, own in zip(names, rows, strict=True)]


def _parts(values: AnyArray | None, pool: IntArray, gold: IntArray) -> list[_Rows]:
    """Return the rows of the most frequent values in the pool."""
    if values is None:
        return []
    frequent = pd.Series(values[pool]).value_counts()[:MOST_PARTS].index
    own = pd.Index(values).map(str)
    return [
        _Rows(str(value), pool[own[pool] == str(value)], gold[own[gold] == str(value)])
        for value in sorted(frequent, key=str)
    ]


def _part(rows: _Rows, said: IntArray, right: BoolArray, level: float) -> Part:
    """Return coverage by the votes on rows of the pool, and accuracy by those on gold rows."""
    n = len(right)
    low, high = wilson_interval(int(right.sum()), n, level)
    value = float(right.mean()) if n else np.nan
    coverage = float((said >= 0).mean()) if len(said) else np.nan
    accuracy = Estimate(value, float(low), float(high), level)
    return Part(rows.name, len(said), coverage, n, accuracy)


def _beyond(
    m: int,
    record: TeacherRecord,
    records: Sequence[TeacherRecord],
    pairs: Sequence[Pair],
    proba: FloatArray,
    labels: IntArray,
    seed: int,
) -> TeacherRecord:
    """Return a record with the teacher that repeats most of its votes, and what it adds to it."""
    names = [each.name for each in records]
    known = [pair for pair in pairs if record.name in (pair.first, pair.second) and pair.n]
    if not known:
        return record
    nearest = max(known, key=lambda pair: pair.agreement * pair.n)
    other = nearest.second if nearest.first == record.name else nearest.first
    added = added_by(
        proba[:, m], proba[:, names.index(other)], labels, record.whole.accuracy.level, seed
    )
    return replace(record, beyond=other, added=added)


def _notes(
    records: Sequence[TeacherRecord], pairs: Sequence[Pair], n_gold: int, level: float
) -> list[str]:
    """Return what a reader should know in sentences."""
    silent = [r.name for r in records if not r.whole.coverage]
    notes = []
    if silent:
        verb = "abstains" if len(silent) == 1 else "abstain"
        notes.append(f"{listing(silent)} {verb} on every row of the pool and changes nothing")
    if not any(record.whole.n_gold for record in records):
        why = "there are none" if not n_gold else "all teachers abstain on them"
        return [*notes, f"accuracies are unknown, as they need gold rows with a vote, and {why}"]
    copies = [pair for pair in pairs if pair.copies]
    notes += [f"{p.first!r} and {p.second!r} are copies of each other" for p in copies]
    copied = {name for pair in copies for name in (pair.first, pair.second)}
    useless = {
        r.name: r.beyond for r in records if r.adds_nothing and r.name not in {*copied, *silent}
    }
    for name, other in useless.items():
        if useless.get(other) != name:
            notes.append(f"{name!r} adds nothing beyond {other!r}")
        elif name < other:
            notes.append(f"{name!r} and {other!r} add nothing beyond each other: one is enough")
    # Among many pairs some seem dependent by chance.
    tested = np.isfinite([p.p_value for p in pairs]).sum()
    sure = [p for p in pairs if p.p_value * tested < 1 - level and not p.copies]
    together = sorted(
        (p for p in sure if p.dependence.value > 0), key=lambda p: -p.dependence.value
    )
    if together:
        named = ", ".join(f"{p.first!r} with {p.second!r}" for p in together[:SHOWN])
        more = f" and {len(together) - SHOWN} more pairs" if len(together) > SHOWN else ""
        notes.append(
            f"errors come together within a class more often than by chance: {named}{more}"
        )
    return notes
