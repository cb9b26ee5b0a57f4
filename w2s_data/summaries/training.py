"""Summary of `w2s gain` where labels are classes."""

from __future__ import annotations

from typing import Any, NotRequired

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


class Scores(TypedDict):
    """Scores on the test rows, or differences of them."""

    accuracy: Measured
    """Share of test rows that are right. Higher is better."""
    macro_f1: Measured
    """Mean F1 of the classes. Higher is better."""
    auroc: Measured
    """Area under the ROC curve; of more than two classes, the mean of each against all others.
    Chance is .5. Higher is better."""
    log_loss: Measured
    """Mean negative log likelihood of the right class. Lower is better."""
    calibration_error: Measured
    """Mean distance of stated and observed chance. Lower is better."""
    worst_group: NotRequired[Measured]
    """Least accuracy of any group, on average too low; missing without groups."""
    worst_split: NotRequired[Measured]
    """Least accuracy on any test split, likewise; missing with one split."""


class Reference(TypedDict):
    """A teacher, or a student that others are compared with."""

    name: str
    """Its name."""
    scores: dict[str, Measured]
    """Its scores by metric, the same as those of a student; empty where there are none."""
    groups: dict[str, Measured]
    """Its accuracy by group; empty without groups."""
    reason: str
    """Why there are no scores; empty where there are."""


class StudentGain(TypedDict):
    """The student of one method, or of a control of it."""

    name: str
    """Name of the method or control."""
    control_of: str
    """The method that it is a control of; empty for methods."""
    rank_group: str
    """Letters: methods that share one are not significantly different. Empty for controls."""
    scores: Scores
    """Its scores by metric."""
    gains: Scores
    """Its scores minus those of the teacher, paired by test row. Above 0 is better; of log loss and
    calibration error, below 0."""
    groups: dict[str, Measured]
    """Its accuracy by group; empty without groups."""
    group_gains: dict[str, Measured]
    """Its accuracy minus that of the teacher, by group."""
    pgr: Measured
    """Performance gap recovered: share of the gap between teacher and ceiling that it closes."""
    opr: Measured
    """Outperforming ratio: error of the student of labelled rows alone, over its own. Above 1 it is
    better."""
    lead: Measured
    """For a control, accuracy of its method minus its own. Above 0 the method is better."""
    over_labelled: Measured
    """Its accuracy minus that of the student of labelled rows alone. Above 0 it is better."""


class Comparison(TypedDict):
    """Two methods compared."""

    first: str
    """One method."""
    second: str
    """The other."""
    difference: Measured
    """Accuracy of `first` minus that of `second`, paired; all intervals hold together."""


class MeasuredOption(TypedDict):
    """One of four ways to a model, measured."""

    name: OptionName
    """Name of the option; they are in the order of their cost."""
    accuracy: Measured
    """Accuracy of its best method. Higher is better. Its value is null where none of its methods
    was trained."""
    student: str
    """That method; empty for the teacher, and where there is none."""


class ForecastCheck(Estimate):
    """The gain that was forecast, beside the measured one."""

    student: str
    """Method whose gain it is compared with; empty where none was trained naively."""
    measured: float | None
    """Gain of that method."""
    inside: bool | None
    """Whether the interval of the forecast holds it; null where nothing was measured."""


class SplitStudent(TypedDict):
    """A model on one of several test splits."""

    name: str
    """Teacher, ceiling, labelled_only, vote, or a method."""
    accuracy: Measured
    """Its accuracy. Higher is better."""
    gain: Measured
    """Its accuracy minus that of the teacher. Above 0 it is better."""
    over_labelled: Measured
    """Its accuracy minus that of the student of labelled rows alone."""
    sign: int
    """Sign of the gain where it is significant on all splits together, else 0."""


class SplitGain(TypedDict):
    """Results on one of several test splits."""

    name: str
    """The split."""
    n: int
    """Its test rows."""
    students: list[SplitStudent]
    """Teacher, references and methods."""
    comparisons: list[Comparison]
    """Every two methods compared."""
    best: OptionName
    """The most accurate option."""
    advised: OptionName
    """The cheapest option that is at most .005 behind the best, and not significantly."""
    reading: str
    """The result in words."""


class KeptSize(TypedDict):
    """Size of the students that the run keeps."""

    parameters: NotRequired[int]
    """Parameters of a model."""
    trained: NotRequired[int]
    """Parameters of it that were trained."""
    students: int
    """Bytes of the kept students."""
    checkpoints: int
    """Bytes of the checkpoints, which may be deleted."""


class GainSummary(Summary):
    """Teacher, students and ceiling on the same test rows."""

    students: list[StudentGain]
    """One record per method, ranked by gain, and per control below its method."""
    teacher: Reference
    """The teacher; of several, their mean."""
    ceiling: Reference
    """A student of gold labels of the pool, or the `reason` why there is none."""
    labelled_only: Reference
    """A student of the labelled rows alone."""
    vote: Reference
    """Teacher and models asked together."""
    vote_lead: Measured
    """Accuracy of the vote minus that of the advised option. Above 0 the vote is better."""
    teachers: list[Reference]
    """Each of several teachers; empty with one."""
    comparisons: list[Comparison]
    """Every two methods compared."""
    options: list[MeasuredOption]
    """The four options, in the order of their cost."""
    differences: list[Difference]
    """Every two options compared."""
    best: OptionName
    """The most accurate option."""
    advised: OptionName
    """The option to take: the cheapest that is at most .005 behind the best, and not significantly.
    Do not act on it where a data warning withholds the advice of the gain."""
    lead: Estimate | Measured
    """Accuracy of the best option minus that of the next."""
    failures: dict[str, str]
    """Methods that could not be trained, and why."""
    forecast: ForecastCheck | None
    """The gain that was forecast, beside the measured one; null without a forecast."""
    tuning: str
    """`head`, `lora` or `full`."""
    seeds: list[int]
    """Seeds of the students."""
    level: float
    """Coverage of every interval, such as .95."""
    class_names: list[str]
    """Classes in the order of every list of probabilities."""
    n_labelled: int
    """Labelled rows."""
    n_pool: int
    """Pool rows."""
    n_test: int
    """Test rows with a gold label."""
    main_split: str
    """Test split that the numbers above are about, where there are several; empty for all."""
    splits: list[SplitGain]
    """The same on each of several test splits."""
    contrasts: list[str]
    """Where test splits disagree, one sentence each."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
    undertrained: dict[str, float]
    """By method, the share of seeds whose loss was still falling at the end. Lower is better."""
    penalties: dict[str, float]
    """Penalty of each method's training, chosen by cross-validation."""
    diagnostics: dict[str, dict[str, Any]]
    """By method, numbers of its training, such as the share of labels that it `kept`."""
    reading: str
    """The advice in words, with its numbers."""
    data_warnings: list[DataWarning]
    """Warnings about the rows themselves."""
    kept: Kept
    """Methods whose students the run keeps, for `w2s apply`."""
    kept_size: NotRequired[KeptSize]
    """Size of these, where whole models are trained."""
    teacher_names: NotRequired[list[str]]
    """Names of the teachers, in the order of `teachers`, where the run taught them."""
