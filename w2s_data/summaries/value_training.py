"""Summary of `w2s gain` where labels are values."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import (
    DataWarning,
    Difference,
    Estimate,
    Kept,
    Measured,
    OptionName,
    Summary,
)


class Errors(TypedDict):
    """Errors on the test rows."""

    mse: Measured
    """Mean squared error, in squared units of the values. Lower is better."""
    rmse: Measured
    """Root of the mean squared error, in units of the values. Lower is better."""
    mae: Measured
    """Mean absolute error, in units of the values. Lower is better."""
    r2: Measured
    """Share of the values' variance that is explained, at most 1. Higher is better."""


class Target(TypedDict):
    """The spread of the gold values of the test rows, in their units."""

    mean: float
    """Mean."""
    sd: float
    """Standard deviation."""
    low: float
    """Least value."""
    high: float
    """Largest value."""


class ValueReference(TypedDict):
    """A teacher, or a model that students are compared with; without errors where there is none."""

    reason: str
    """Why there are no errors; empty where there are."""
    mse: NotRequired[Measured]
    """Mean squared error, in squared units of the values. Lower is better."""
    rmse: NotRequired[Measured]
    """Root of the mean squared error, in units of the values. Lower is better."""
    mae: NotRequired[Measured]
    """Mean absolute error, in units of the values. Lower is better."""
    r2: NotRequired[Measured]
    """Share of the values' variance that is explained, at most 1. Higher is better."""


class MethodGain(Errors):
    """The student of one method."""

    name: str
    """The method."""
    rank_group: str
    """Letters: methods that share one are not significantly different."""
    gain: Measured
    """Squared error of the teacher minus that of the student. Above 0 the student is better."""
    relative_gain: Measured
    """The same as a part of the teacher's error, at most 1."""
    pgr: Measured | None
    """Performance gap recovered: share of the gap between teacher and ceiling that it closes; null
    where it is unknown."""
    pgr_reason: str
    """Why `pgr` is unknown; empty where it is known."""
    over_labelled: Measured
    """Squared error of the student of labelled rows alone minus its own. Above 0 it is better."""
    opr: Measured | None
    """Outperforming ratio: error of the student of labelled rows alone, over its own. Above 1 it is
    better. Null where it is unknown."""
    opr_reason: str
    """Why `opr` is unknown; empty where it is known."""


class MeasuredValueOption(ValueReference):
    """One of four ways to a model of values, measured."""

    name: OptionName
    """Name of the option; they are in the order of their cost."""
    student: str
    """Its best method; empty for the teacher, and where there is none."""


class SplitMethod(Errors):
    """The student of one method on one of several test splits."""

    name: str
    """The method."""
    gain: Measured
    """Squared error of the teacher minus that of the student. Above 0 the student is better."""


class ValueSplit(TypedDict):
    """Results on one of several test splits."""

    name: str
    """The split."""
    n: int
    """Its test rows."""
    teacher: Errors
    """Errors of the teacher."""
    methods: list[SplitMethod]
    """One record per method."""
    advised: OptionName
    """The cheapest option whose error is at most 2 % above the least, and not significantly."""
    sentence: str
    """The advice in words."""


class ValueGroup(TypedDict):
    """Results in one group."""

    name: str
    """The group."""
    n: int
    """Its test rows."""
    teacher: Measured
    """Mean squared error of the teacher. Lower is better."""
    student: NotRequired[Measured]
    """Mean squared error of the best student. Lower is better."""
    gain: NotRequired[Measured]
    """Squared error of the teacher minus that of the student. Above 0 the student is better."""


class ValueGainSummary(Summary):
    """Errors of teacher, students and ceiling on the same test rows."""

    task: Literal["regression"]
    """Labels are values."""
    metric: Literal["mse"]
    """Measure of the options, the mean squared error."""
    level: float
    """Coverage of every interval, such as .95."""
    n_labelled: int
    """Labelled rows."""
    n_pool: int
    """Pool rows."""
    n_test: int
    """Test rows with a gold value."""
    seeds: list[int]
    """Seeds of the students."""
    tuning: str
    """`head`, `lora` or `full`."""
    head: str
    """Kind of head: `ridge`, `ridgeless`, `squared` or `huber`."""
    target: Target
    """The spread of the gold values of the test rows."""
    teacher: ValueReference
    """The teacher; of several, their mean."""
    ceiling: ValueReference
    """A student of gold values of the pool, or the `reason` why there is none."""
    labelled_only: ValueReference
    """A student of the labelled rows alone."""
    posterior: ValueReference
    """The values that the posterior joins from all views, the teacher among them."""
    methods: list[MethodGain]
    """One record per method, that of the least error first."""
    options: list[MeasuredValueOption]
    """The four options, in the order of their cost."""
    differences: list[Difference]
    """Every two options compared; below 0 the dearer one is better."""
    best: OptionName
    """The option with the least error."""
    advised: OptionName
    """The option to take: the cheapest whose error is at most 2 % above the least, and not
    significantly. Do not act on it where a data warning withholds the advice of the gain."""
    sentence: str
    """The advice in words, with its numbers."""
    splits: list[ValueSplit]
    """The same on each of several test splits; empty with one."""
    groups: list[ValueGroup]
    """One record per group; empty without groups."""
    worst_group: dict[str, Estimate]
    """By teacher and method, the largest squared error of any group, on average too high."""
    failures: dict[str, str]
    """Methods that could not be trained, and why."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
    data_warnings: list[DataWarning]
    """Warnings about the rows themselves."""
    kept: Kept
    """Methods whose students the run keeps, for `w2s apply`."""
