"""What `measure_gain` answers: teacher, students and ceiling on the same test items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.finetune.gain.intervals import Measurement

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Reference:
    """Something that students are compared with: a teacher, or a student of gold labels.

    Attributes
    ----------
    name : str
    scores : dict from metric to Measurement
        Empty where it could not be measured.
    groups : dict from group to Measurement
        Accuracies.
    reason : str
        Why there are no scores.
    """

    name: str
    scores: Mapping[str, Measurement]
    groups: Mapping[str, Measurement]
    reason: str = ""


@dataclass(frozen=True)
class StudentGain:
    """What one method's student, or a control of it, reached.

    Attributes
    ----------
    name : str
        Of the method in the table, or of the control.
    control_of : str
        The method that it is a control of; empty for methods.
    rank_group : str
        Letters: two methods that share one are not told apart. Empty for controls.
    scores : dict from metric to Measurement
        accuracy, macro_f1, calibration_error and, with groups, worst_group.
    gains : dict from metric to Measurement
        Student minus teacher, paired by test item; below 0 is the better calibration_error.
    groups, group_gains : dict from group to Measurement
        Accuracies, and student minus teacher.
    pgr, opr : Measurement
        Performance gap recovered and outperforming ratio, or why there is none.
    lead : Measurement
        Of a control: accuracy of the method minus that of the control.
    """

    name: str
    control_of: str
    rank_group: str
    scores: Mapping[str, Measurement]
    gains: Mapping[str, Measurement]
    groups: Mapping[str, Measurement]
    group_gains: Mapping[str, Measurement]
    pgr: Measurement
    opr: Measurement
    lead: Measurement

    @property
    def gain(self) -> Measurement:
        """Student minus teacher in accuracy."""
        return self.gains["accuracy"]


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same items and seeds: accuracy of the first minus the second.

    The intervals of all comparisons hold together at the result's level (Bonferroni).
    """

    first: str
    second: str
    difference: Measurement


@dataclass(frozen=True)
class ForecastCheck:
    """A gain that was forecast, beside the one that a plain student had.

    Attributes
    ----------
    value, low, high : float
        The forecast and its interval.
    student : str
        The method whose gain it is held against: the one trained naively; empty if there is none.
    measured : float
    inside : bool or None
        Whether the forecast's interval holds the measured gain.
    """

    value: float
    low: float
    high: float
    student: str = ""
    measured: float = np.nan
    inside: bool | None = None


@dataclass(frozen=True, eq=False, repr=False)
class GainResult:
    """Weak-to-strong gain of several methods, measured on one test split.

    Attributes
    ----------
    students : tuple of StudentGain
        Ranked by gain, the controls of a method behind it.
    teacher, ceiling, labelled_only : Reference
        The mean of the teachers; the same student trained on gold labels of the pool; and on the
        labelled rows alone, for as many steps.
    teachers : tuple of Reference
        Each teacher, where there are several.
    comparisons : tuple of Comparison
        Every pair of methods.
    failures : dict from method to reason
        Methods without a result.
    forecast : ForecastCheck or None
    by_seed, by_item : DataFrame
        What `to_frame` and `predictions` return.
    tuning : {"head", "lora", "full"}
    level : float
        Coverage of the intervals.
    reading : str
        One sentence.
    diagnostics : dict from method to dict
        Weights of teachers by step (`raven`), assignment of teachers (`cosupervised`), points that
        were kept; see `gain.diagnostics.diagnose_seeds`.
    """

    students: tuple[StudentGain, ...]
    teacher: Reference
    ceiling: Reference
    labelled_only: Reference
    teachers: tuple[Reference, ...]
    comparisons: tuple[Comparison, ...]
    failures: Mapping[str, str]
    forecast: ForecastCheck | None
    by_seed: pd.DataFrame
    tuning: str
    seeds: tuple[int, ...]
    level: float
    class_names: tuple[object, ...]
    n_labelled: int
    n_pool: int
    n_test: int
    reading: str
    warnings: tuple[str, ...] = ()
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    by_item: pd.DataFrame | None = None

    def __getitem__(self, name: str) -> StudentGain:
        """The student of a method."""
        for student in self.students:
            if student.name == name and not student.control_of:
                return student
        raise KeyError(self.failures.get(name, name))

    def best_control(self, name: str) -> StudentGain | None:
        """The most accurate control of a method; None if it has none."""
        own = [student for student in self.students if student.control_of == name]
        return max(own, key=lambda s: s.scores["accuracy"].value, default=None)

    @property
    def _has_controls(self) -> bool:
        return any(student.control_of for student in self.students)

    def to_frame(self) -> pd.DataFrame:
        """A row a model and seed, with intervals over test items only.

        Columns: role (teacher, ceiling, labelled only, method, control), student, control_of, seed
        (missing for teachers), each metric, `group_NAME` accuracies, gain, pgr, opr; limits of
        accuracy (Wilson) and gain (paired bootstrap) in `*_low` and `*_high`.
        """
        return self.by_seed.copy()

    def predictions(self) -> pd.DataFrame:
        """A row an item, in the order of the items: what teacher and students say of it.

        Columns: row, split, label (gold); "teacher / label" and "teacher / proba"; and of each
        method "/ label" (most probable class of the mean over seeds), "/ proba" (mean probability
        of that class), "/ gold proba" (of the gold class) and "/ right" (share of the seeds that
        are right, so that its mean over the test rows is the accuracy). Shares and probabilities
        are float32 in [0, 1], missing where there is no gold label. Outside the test split a
        student of tuning "head" is asked, unless rows x classes exceed 20 million.
        """
        import pandas as pd

        return pd.DataFrame() if self.by_item is None else self.by_item.copy()

    def table(self) -> pd.DataFrame:
        """A row a student, ranked: means over seeds with intervals for fresh items and seeds."""
        import pandas as pd

        rows = []
        for student in self.students:
            measured: dict[str, Measurement] = {"gain": student.gain, **student.scores}
            measured |= {f"{name}_gain": m for name, m in student.gains.items() if name in _SHOWN}
            measured |= {"pgr": student.pgr, "opr": student.opr, "lead": student.lead}
            row: dict[str, Any] = {
                "student": student.name,
                "control_of": student.control_of,
                "rank_group": student.rank_group,
            }
            for name, found in measured.items():
                row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
            row |= {"gain_se_items": student.gain.se_items, "gain_se_seeds": student.gain.se_seeds}
            row |= {"pgr_reason": student.pgr.reason, "opr_reason": student.opr.reason}
            rows.append(row)
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """All fields but `by_seed` and `by_item`, as dictionaries."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del fields["by_seed"], fields["by_item"]
        return {name: _plain(value) for name, value in fields.items()}

    def __repr__(self) -> str:
        methods = [student for student in self.students if not student.control_of]
        lines = [
            f"GainResult: {len(methods)} methods x {len(self.seeds)} seeds, "
            f"tuning {self.tuning!r}, pool {self.n_pool:,}, test {self.n_test:,} items",
            f"  {self.reading}",
        ]
        for reference in (self.teacher, self.ceiling, self.labelled_only):
            shown = reference.reason or _interval(reference.scores["accuracy"], "")
            lines.append(f"  {reference.name:<16} {shown}")
        width = max([10, *(len(student.name) for student in methods)])
        headings = ("gain", f"{self.level:.0%} interval", "accuracy", "pgr", "opr")
        header = "  {:<{w}} {:>6}  {:<18} {:>8} {:>6} {:>6}  group".format("", *headings, w=width)
        lines.append(header + ("  lead over its best control" if self._has_controls else ""))
        lines += [
            f"  {s.name:<{width}} {s.gain.value:>+6.3f}  {_limits(s.gain, '+'):<18} "
            f"{s.scores['accuracy'].value:>8.3f} {_short(s.pgr)} {_short(s.opr)}  {s.rank_group:<5}"
            f"{_lead(self.best_control(s.name))}".rstrip()
            for s in methods[:_MOST]
        ]
        if len(methods) > _MOST:
            lines.append(f"  ... and {len(methods) - _MOST} more: table() has them all")
        reasons = dict.fromkeys(m.reason for s in methods for m in (s.pgr, s.opr) if m.reason)
        lines += [f"  {reason}" for reason in list(reasons)[:2]]
        lines += [f"  failed: {name}: {reason}" for name, reason in self.failures.items()]
        if self.forecast is not None:
            lines.append(f"  {describe_forecast(self.forecast)}")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


_SHOWN = ("macro_f1", "worst_group", "calibration_error")
_MOST = 12


def describe_forecast(check: ForecastCheck) -> str:
    """One line: what was forecast, and what came.

    >>> describe_forecast(ForecastCheck(0.03, -0.01, 0.07, "naive", 0.05, True))
    'forecast gain +0.030 (-0.010 to +0.070); naive gained +0.050, inside the interval'
    """
    line = f"forecast gain {check.value:+.3f} ({check.low:+.3f} to {check.high:+.3f})"
    if not check.student:
        return f"{line}; no naive student was trained to hold it against"
    where = "inside" if check.inside else "outside"
    return f"{line}; {check.student} gained {check.measured:+.3f}, {where} the interval"


def read_gain(students: tuple[StudentGain, ...], level: float) -> str:
    """One sentence: the best method, whether it beats the teacher, and what equals it."""
    methods = [student for student in students if not student.control_of]
    if not methods:
        return "no method has a result"
    best = methods[0]
    gain = f"{best.gain.value:+.3f} ({level:.0%}: {_limits(best.gain, '+')})"
    if best.gain.low > 0:
        said = f"{best.name} gains most over the teacher, {gain}"
    elif best.gain.high < 0:
        said = f"every student falls behind the teacher; {best.name} loses least, {gain}"
    else:
        said = f"no student clearly beats the teacher; {best.name} comes first with {gain}"
    equal = [s.name for s in methods[1:] if set(s.rank_group) & set(best.rank_group)]
    return f"{said}; not told apart from it: {', '.join(equal)}" if equal else said


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _interval(found: Measurement, sign: str) -> str:
    return f"{found.value:{sign}.3f}  ({_limits(found, sign)})"


def _limits(found: Measurement, sign: str) -> str:
    return f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"


def _lead(control: StudentGain | None) -> str:
    if control is None:
        return ""
    lead = control.lead
    return f"  {lead.value:+.3f} ({_limits(lead, '+')}) over {control.name}"


def _short(found: Measurement) -> str:
    return "     -" if found.reason else f"{found.value:>6.2f}"
