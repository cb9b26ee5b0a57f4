"""`GainResult`: teacher, students and ceiling on the same test items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from w2s_data.errors import listing
from w2s_data.finetune.gain.intervals import (
    Comparison,
    Measurement,
    format_limits,
    undefined,
)
from w2s_data.finetune.gain.options import MeasuredOption
from w2s_data.finetune.gain.splits import SplitGain
from w2s_data.finetune.methods.base import ORACLE
from w2s_data.forecast.options import Choice, Difference
from w2s_data.utils.intervals import Estimate

if TYPE_CHECKING:
    from w2s_data.finetune.gain.kept import KeptStudent
    from w2s_data.finetune.student import Student

_MOST_SHOWN = 12  # methods in the text, which should fit a screen
_SPLITS_SHOWN = 3  # columns of it
_GAINS_SHOWN = ("macro_f1", "auroc", "log_loss", "worst_group", "worst_split", "calibration_error")


@dataclass(frozen=True)
class Reference:
    """Something that students are compared with: a teacher, or a student of gold labels."""

    name: str
    scores: Mapping[str, Measurement]  # by metric; empty where it could not be measured
    groups: Mapping[str, Measurement]  # accuracies
    reason: str = ""  # why there are no scores


@dataclass(frozen=True)
class StudentGain:
    """Scores and gains of one method's student, or of a control of it."""

    name: str  # of the method in the table, or of the control; "oracle" is a reference, no control
    control_of: str  # the method that it is a control of; empty for methods
    rank_group: str  # letters: methods that share one do not differ significantly
    # accuracy, macro_f1, auroc, log_loss, calibration_error and, with groups or test splits,
    # worst_group and worst_split.
    scores: Mapping[str, Measurement]
    # Student minus teacher, paired by test item; below 0 is better of calibration_error, log_loss.
    gains: Mapping[str, Measurement]
    groups: Mapping[str, Measurement]  # accuracies
    group_gains: Mapping[str, Measurement]
    pgr: Measurement  # performance gap recovered, or why there is none
    opr: Measurement  # outperforming ratio, or why there is none
    lead: Measurement  # of a control: accuracy of its method minus its own
    over_labelled: Measurement  # student minus `labelled_only` in accuracy, paired likewise

    @property
    def gain(self) -> Measurement:
        """Student minus teacher in accuracy."""
        return self.gains["accuracy"]


@dataclass(frozen=True, repr=False)
class ForecastCheck(Estimate):
    """A forecast gain and its interval, compared with the measured gain of a plain student."""

    student: str = ""  # the naively trained method whose gain was measured
    measured: float = np.nan
    inside: bool | None = None  # whether the forecast's interval holds the measured gain

    def describe(self) -> str:
        """Return forecast and measured gain in one line.

        >>> ForecastCheck(0.03, -0.01, 0.07, 0.9, "naive", 0.05, True).describe()
        'forecast gain +0.030 (-0.010 to +0.070); naive gained +0.050, inside the interval'
        """
        line = f"forecast gain {self.value:+.3f} ({format_limits(self, '+')})"
        if not self.student:
            return f"{line}; no naive student was trained to compare it with"
        where = "inside" if self.inside else "outside"
        return f"{line}; {self.student} gained {self.measured:+.3f}, {where} the interval"


@dataclass(frozen=True, eq=False, repr=False)
class GainResult:
    """Weak-to-strong gain of several methods, measured on the same test rows.

    With several test splits the figures are about the one called "test" or, without such a one,
    about all test rows; `splits` has each of them.
    """

    students: tuple[StudentGain, ...]  # ranked by gain, each method followed by its controls
    teacher: Reference  # the mean of the teachers
    ceiling: Reference  # the same student, trained on gold labels of the pool
    labelled_only: Reference  # and on the labelled rows alone
    vote: Reference  # the label posterior of the test rows: teacher and students together at use
    vote_lead: Measurement  # its accuracy minus that of the advised option
    teachers: tuple[Reference, ...]  # each teacher, where there are several
    comparisons: tuple[Comparison, ...]  # every pair of methods
    # Use the teacher, train on gold labels, on weak labels, on both: in the order of their cost.
    options: tuple[MeasuredOption, ...]
    differences: tuple[Difference, ...]  # each pair of options, the dearer minus the cheaper one
    best: str  # the most accurate option
    advised: str  # the cheapest at most half a point behind the best, and not significantly
    lead: Estimate  # of the best option over the next
    failures: Mapping[str, str]  # reasons, of methods without a result
    forecast: ForecastCheck | None
    by_seed: pd.DataFrame  # returned by `to_frame`
    tuning: str
    seeds: tuple[int, ...]
    level: float  # coverage of the intervals
    class_names: tuple[object, ...]
    n_labelled: int
    n_pool: int
    n_test: int  # test rows that the figures are about
    main_split: str = ""  # their test split, "test" if there are others; empty for all test rows
    splits: tuple[SplitGain, ...] = ()  # each test split, unless "test" is the only one
    contrasts: tuple[str, ...] = ()  # where the splits disagree
    warnings: tuple[str, ...] = ()
    # By reference and method, the share of the seeds whose loss was still falling at the end.
    undertrained: Mapping[str, float] = field(default_factory=dict)
    penalties: Mapping[str, float] = field(default_factory=dict)  # l2 by method and reference
    diagnostics: Mapping[str, Any] = field(default_factory=dict)  # see `diagnose_seeds`
    by_item: pd.DataFrame | None = None  # returned by `predictions`
    # Students with their weights, by the name of the method; see `student`.
    by_method: Mapping[str, KeptStudent] = field(default_factory=dict)

    @property
    def methods(self) -> list[StudentGain]:
        """The students that are no controls, ranked by gain."""
        return [student for student in self.students if not student.control_of]

    def __getitem__(self, name: str) -> StudentGain:
        for student in self.methods:
            if student.name == name:
                return student
        raise KeyError(self.failures.get(name, name))

    @property
    def best_student(self) -> str:
        """Name of the most accurate student on the test rows, `labelled_only` among them.

        It was chosen by these rows, so that its accuracy there is slightly optimistic. Empty if
        none was trained.
        """
        accuracies = {s.name: s.scores["accuracy"].value for s in self.methods}
        gold = self.labelled_only
        if gold.scores and gold.name not in accuracies:
            accuracies[gold.name] = gold.scores["accuracy"].value
        return max(accuracies, key=lambda name: accuracies[name], default="")

    @property
    def roles(self) -> dict[str, str]:
        """Names of the students to use: the "best" one, and the best "naive" one, if trained."""
        naive = (name for name, kept in self.by_method.items() if kept.method.name == "naive")
        roles = {"best": self.best_student, "naive": next(naive, "")}
        return {role: name for role, name in roles.items() if name}

    def student(self, name: str = "best") -> Student:
        """Return a student with its weights, by the name of its method or as "best".

        Heads have all seeds, whole models the first. With a checkpoint the weights are read from
        its folder.
        """
        method = self.best_student if name == "best" else name
        if method not in self.by_method:
            trained = listing(self.by_method) or "none"
            raise KeyError(f"no student {name!r} was trained; there are {trained}")
        return self.by_method[method].load()

    def best_control(self, name: str) -> StudentGain | None:
        """Return the most accurate control of a method; None if it has none."""
        own = [s for s in self.students if s.control_of == name and s.name != ORACLE]
        return max(own, key=lambda s: s.scores["accuracy"].value, default=None)

    @property
    def reading(self) -> str:
        """The advised option, and its lead over the next or how far it is behind the best."""
        choice = Choice(self.options, self.differences, self.best, self.advised, self.lead)
        if not self.methods:
            return "no method has a result"
        about = f", on test split {self.main_split!r}" if self.main_split else ""
        if len(self.splits) > 1 and not about:
            about = f", on {len(self.splits)} test splits together"
        return choice.advise() + about

    def to_frame(self) -> pd.DataFrame:
        """Return one row per model and seed, with intervals over test items only.

        Columns: role (teacher, vote, ceiling, labelled_only, method, control, oracle), student,
        control_of, seed (missing for teachers and vote), each metric, `group_NAME` and `split_NAME`
        accuracies, gain, pgr, opr; limits of accuracy (Wilson) and gain (paired bootstrap) in
        `*_low` and `*_high`.
        """
        return self.by_seed.copy()

    def predictions(self) -> pd.DataFrame:
        """Return one row per item, in the order of the items.

        Columns: row, split, test_split (where there are several), label (gold); "teacher / label"
        and "teacher / proba"; and of each
        method "/ label" (most probable class of the mean over seeds), "/ proba" (mean probability
        of that class), "/ gold proba" (of the gold class) and "/ right" (share of the seeds that
        are right, so that its mean over the test rows is the accuracy). Shares and probabilities
        are float32 in [0, 1], missing where there is no gold label. Outside the test split heads
        predict, and of whole models the best method and the naive one, by the seed that is kept;
        nobody does where rows x classes exceed 20 million.
        """
        return pd.DataFrame() if self.by_item is None else self.by_item.copy()

    def table(self) -> pd.DataFrame:
        """Return one row per student, ranked: means with intervals for fresh items and seeds."""
        rows = []
        for student in self.students:
            gains = {f"{n}_gain": m for n, m in student.gains.items() if n in _GAINS_SHOWN}
            measured = {"gain": student.gain, **student.scores, **gains}
            measured |= {"pgr": student.pgr, "opr": student.opr, "lead": student.lead}
            row: dict[str, Any] = {
                "student": student.name,
                "control_of": student.control_of,
                "rank_group": student.rank_group,
            }
            for name, measurement in measured.items():
                row |= measurement.columns(name)
            row |= {"gain_se_items": student.gain.se_items, "gain_se_seeds": student.gain.se_seeds}
            row |= {"pgr_reason": student.pgr.reason, "opr_reason": student.opr.reason}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the tables by seed and by item, as dictionaries."""
        names = [name for name in self.__dataclass_fields__ if not name.startswith("by_")]
        return {name: _plain(getattr(self, name)) for name in [*names, "reading"]}

    def __repr__(self) -> str:
        lines = [
            f"GainResult: {len(self.methods)} methods x {len(self.seeds)} seeds, "
            f"tuning {self.tuning!r}, pool {self.n_pool:,}, test {self.n_test:,} items"
            + (f" of {self.main_split!r}" if self.main_split else ""),
            f"  {self.reading}",
        ]
        shown = [(o.name, o.accuracy, o.student) for o in self.options]
        for reference in (self.vote, self.ceiling):
            accuracy = reference.scores.get("accuracy", undefined(reference.reason))
            shown.append((reference.name, accuracy, ""))
        for name, accuracy, student in shown:
            measured = f"{accuracy.value:.3f}  ({format_limits(accuracy)})  {student}".rstrip()
            lines.append(f"  {name:<10} {accuracy.reason or measured}")
        lines += self._table_lines()
        lines += self._split_lines()
        reasons = (m.reason for s in self.methods for m in (s.pgr, s.opr) if m.reason)
        lines += [f"  {reason}" for reason in list(dict.fromkeys(reasons))[:2]]
        lines += [f"  failed: {name}: {reason}" for name, reason in self.failures.items()]
        lines += [f"  {self.forecast.describe()}"] if self.forecast is not None else []
        return "\n".join([*lines, *(f"  warning: {warning}" for warning in self.warnings)])

    def split_table(self) -> pd.DataFrame:
        """Return one row per test split and student, methods and references alike.

        Columns: split, n, student; accuracy, gain (minus the teacher's) and over_labelled (minus
        that of `labelled_only`), each with its limits; NaN where there is no such difference.
        """
        return pd.DataFrame([row for split in self.splits for row in split.rows()])

    def _split_lines(self) -> list[str]:
        """Accuracies and gains of teacher and methods with one column per test split."""
        if not self.splits:
            return []
        shown = self.splits[:_SPLITS_SHOWN]
        names = ["teacher", self.labelled_only.name, *(s.name for s in self.methods[:_MOST_SHOWN])]
        trained = {student.name for student in shown[0].students}
        names = [name for name in dict.fromkeys(names) if name in trained]
        width = max(10, *(len(name) for name in names))
        headings = (f"{split.name} ({split.n:,})" for split in shown)
        lines = [f"  {'':<{width}} " + " ".join(f"{heading:<32}" for heading in headings)]
        lines += [
            f"  {name:<{width}} " + " ".join(f"{split.cell(name):<32}" for split in shown)
            for name in names
        ]
        if len(self.splits) > len(shown):
            lines.append(f"  ... and {len(self.splits) - len(shown)} more test splits")
        return [*(line.rstrip() for line in lines), *(f"  {text}" for text in self.contrasts)]

    def _table_lines(self) -> list[str]:
        """One line per method below a heading."""
        methods = self.methods
        width = max([10, *(len(student.name) for student in methods)])
        headings = ("gain", f"{self.level:.0%} interval", "accuracy", "pgr", "opr")
        lines = ["  {:<{w}} {:>6}  {:<18} {:>8} {:>6} {:>6}  group".format("", *headings, w=width)]
        if len(self.students) > len(methods):
            lines[0] += "  lead over its best control"
        for s in methods[:_MOST_SHOWN]:
            line = (
                f"  {s.name:<{width}} {s.gain.value:>+6.3f}  {format_limits(s.gain, '+'):<18} "
                f"{s.scores['accuracy'].value:>8.3f} {_short(s.pgr)} {_short(s.opr)}  "
                f"{s.rank_group:<5}"
            )
            control = self.best_control(s.name)
            if control is not None:
                lead = f"{control.lead.value:+.3f} ({format_limits(control.lead, '+')})"
                line += f"  {lead} over {control.name}"
            lines.append(line.rstrip())
        if len(methods) > _MOST_SHOWN:
            lines.append(f"  ... and {len(methods) - _MOST_SHOWN} more: table() has them all")
        return lines


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _short(ratio: Measurement) -> str:
    return "     -" if ratio.reason else f"{ratio.value:>6.2f}"
