"""Summaries of `w2s groups`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import DataWarning, Estimate, Summary


class GroupRecord(TypedDict):
    """Counts, shares and accuracies of one group or source."""

    n: int
    """Rows."""
    n_labelled: int
    """Labelled rows."""
    n_pool: int
    """Pool rows."""
    eta_labelled: Estimate
    """Its share of the labelled rows."""
    eta_pool: Estimate
    """Its share of the pool."""
    n_scored: int
    """Rows with a region."""
    overlap_density: Estimate
    """Share of overlap points. Higher is better, compared between groups of one run."""
    weak_confidence: NotRequired[Estimate]
    """Mean confidence of the weak model, from 0 to 1; not of values."""
    n_gold: int
    """Rows with a gold label."""
    weak_accuracy: NotRequired[Estimate]
    """Accuracy of the weak labels. Higher is better. Not of values."""
    student_accuracy: NotRequired[Estimate]
    """Accuracy of the student. Higher is better. Not of values."""
    calibration_error: NotRequired[Estimate]
    """Mean distance of the weak model's confidence and the share that is right. Lower is better.
    Not of values."""
    classes_from: NotRequired[str]
    """Whether the classes below are those of `gold` labels or of weak ones (`pseudo`)."""
    largest_class: NotRequired[str | None]
    """Its most frequent class; null where it has none."""
    largest_class_share: NotRequired[Estimate]
    """Share of that class."""
    class_balance: NotRequired[float | None]
    """Entropy over its classes, from 0 (one class) to 1 (all alike); null where it is unknown."""
    purity: NotRequired[Estimate]
    """Mean share of its rows' neighbours with the same label. Not of values."""
    weak_mse: NotRequired[Estimate]
    """Only of values: mean squared error of the weak values. Lower is better."""
    weak_offset: NotRequired[Estimate]
    """Only of values: mean of gold minus weak values, in their units. Above 0 these are too low."""
    student_mse: NotRequired[Estimate]
    """Only of values: mean squared error of the student. Lower is better."""
    student_offset: NotRequired[Estimate]
    """Only of values: mean of gold minus the student's values. Above 0 these are too low."""
    n_duplicates: int
    """Rows with a near-duplicate."""
    n_leaking: int
    """Rows with a near-duplicate in another split. Lower is better."""
    nearest_group: str | None
    """The group or source that is most like it; null where there is one only."""
    nearest_cosine: float | None
    """Cosine similarity of both centres."""
    unknown: str
    """Why some of these numbers are unknown or uncertain; empty where none is."""


class Group(GroupRecord):
    """A group, given or discovered."""

    group: str
    """Name of the group."""


class Source(GroupRecord):
    """A source of rows."""

    source: str
    """Name of the source."""


class Association(TypedDict):
    """How far group and label go together in one split."""

    split: str
    """The split."""
    labels: str
    """Whether labels are `gold` or weak ones (`pseudo`)."""
    n: int
    """Rows."""
    cramers_v: Estimate
    """Cramér's V, 0 for not at all and 1 for completely."""
    nmi: Estimate
    """Normalised mutual information, between 0 and 1 likewise."""
    reason: str
    """Why they are unknown; empty where they are known."""


class Duplicates(TypedDict):
    """Counts of near-duplicate pairs."""

    n_pairs: int
    """All pairs."""
    n_leaking: int
    """Pairs across splits. Lower is better."""
    n_labels_differ: int
    """Pairs with different labels. Lower is better."""
    n_neighbors: int
    """Neighbours of each row that were looked at."""
    of: NotRequired[Literal["prompts"]]
    """Only of pairs that are compared by their prompts: their responses may differ."""
    noise: NotRequired[float]
    """Only of values: the difference above which labels count as different, in their units."""


class Telling(TypedDict):
    """A value that is more frequent in a group than elsewhere."""

    name: str
    """The value: a class, a source or a range."""
    share: float
    """Share of the group's rows that have it."""
    elsewhere: float
    """Share of all other rows that have it."""


class Portrait(TypedDict):
    """Typical rows of a group, and what sets it apart."""

    group: str
    """Name of the group."""
    name: str
    """Description of the group in a few words."""
    typical: list[str]
    """Ids of its most typical rows."""
    surprising: list[str]
    """Ids of rows that one would not expect in it."""
    surprise: str
    """Why these are surprising: by their `label`, or by their `distance` to the others."""
    words: list[str]
    """Words of its texts that set it apart; empty where items are no texts."""
    telling: dict[str, Telling | None]
    """By role (class, source, value), the value that sets it apart; null where there is none."""
    pixels: list[list[float]] | None
    """Mean brightness of its images minus that of all others, on a coarse grid; null where items
    are no images."""


class GroupsSummary(Summary):
    """Groups and sources: shares, accuracies, and rows that leak between splits."""

    task: NotRequired[Literal["regression"]]
    """Only of values."""
    level: float
    """Coverage of every interval, such as .95."""
    discovery: str
    """How groups were discovered; `given` where the data name them, `none` where nothing was
    found."""
    reading: str
    """The result in words."""
    warnings: list[str]
    """Findings to act on, such as leaks."""
    minority: list[str]
    """Groups that are rare in the labelled set."""
    duplicate_threshold: float
    """Cosine similarity from which two rows are near-duplicates."""
    groups: list[Group]
    """One record per group."""
    sources: list[Source] | None
    """One record per source; null without sources."""
    similarity: list[list[float]]
    """Cosine similarity of the groups' centres, in the order of `groups`."""
    settings: dict[str, Any]
    """Settings that the numbers were computed with."""
    association: NotRequired[list[Association]]
    """How far group and label go together, by split; not of values."""
    index: dict[str, Any]
    """The index of neighbours, with its `recall`, the share of true neighbours that it finds."""
    notes: list[str]
    """Remarks that change no number."""
    student: str | None
    """Method of the student whose accuracies are shown; null without a student."""
    duplicates: Duplicates
    """Near-duplicate pairs, above all those that leak."""
    data_warnings: list[DataWarning]
    """Warnings about the rows themselves."""
    portraits: list[Portrait]
    """Each group's typical rows; empty where groups are given."""


class Risks(TypedDict):
    """Squared errors that the theory expects on one test, in units of the label noise."""

    teacher: Estimate
    """Error of the teacher. Lower is better."""
    student: Estimate
    """Error of the student. Lower is better."""
    gain: Estimate
    """Error of the teacher minus that of the student. Above 0 the student is better."""
    relative_gain: Estimate
    """The same as a part of the teacher's error, at most 1."""
    chance_fails: float | None
    """Chance that the student is no better than its teacher; null where it is unknown."""


class RisksByPart(TypedDict):
    """Expected errors by the part of the test that they are about."""

    others: Risks
    """Outside the group."""
    inside: Risks
    """In the group."""
    average: Risks
    """Both alike."""
    worst: Risks
    """For each model, where it is worse."""


class Fails(TypedDict):
    """Whether the student is expected to be no better than its teacher."""

    others: bool
    """Outside the group."""
    inside: bool
    """In the group."""
    average: bool
    """Both alike."""


class FailChances(TypedDict):
    """Chance that the student is no better than its teacher; null where it is unknown."""

    others: float | None
    """Outside the group."""
    inside: float | None
    """In the group."""
    average: float | None
    """Both alike."""


class JudgedGroup(TypedDict):
    """A group whose shares of labelled set and pool differ, and what that costs."""

    group: str
    """Name of the group."""
    n_rows: int
    """Its labelled and pool rows."""
    eta_labelled: Estimate
    """Its share of the labelled rows."""
    eta_pool: Estimate
    """Its share of the pool."""
    shift_teacher: Estimate
    """Distance of its mean weak features from those of all others, in standard deviations."""
    shift_student: Estimate
    """The same of the strong features."""
    shared: Estimate
    """Dimensions that weak and strong features share."""
    risks: RisksByPart
    """Expected errors of teacher and student."""
    fails: Fails
    """Where the student is expected to be no better than its teacher."""
    optimal_eta_pool: Estimate
    """Share of the group in the pool at which the student's average error is least."""
    saving: Estimate
    """Part of the student's average error that this share saves. Lower means less to win."""
    remedy: Literal["none", "unclear", "reweight"]
    """Consequence: none where the saving is little, unclear where its interval reaches 0, or
    reweight."""
    covariance_difference: float
    """Mean squared difference of the features' covariances in the group and outside, as a part of
    them; 0 where the group shifts means only, as the theory takes it."""
    advice: str
    """The same in a sentence."""


class CurvePoint(RisksByPart):
    """Expected errors at one share of the group in the pool."""

    group: str
    """Name of the group."""
    eta_labelled: float
    """Its share of the labelled rows."""
    eta_pool: float
    """Its share of the pool."""
    eta_test: float
    """Its share of the test in `average`."""
    n: int
    """Labelled rows."""
    N: int
    """Pool rows."""
    noise: float
    """Variance of the label noise, which is the unit of the errors."""
    level: float
    """Coverage of the intervals."""


class Unjudged(TypedDict):
    """A group that could not be judged."""

    group: str | None
    """Name of the group; null for all."""
    reason: str
    """Why it could not be judged."""


class SpuriousSummary(Summary):
    """Cost of groups whose shares in labelled set and pool differ.

    Keys of numbers are missing where no group could be judged.
    """

    task: NotRequired[Literal["regression"]]
    """Only of values."""
    n_labelled: NotRequired[int]
    """Labelled rows."""
    n_pool: NotRequired[int]
    """Pool rows."""
    d_w: NotRequired[int]
    """Dimensions of the weak features."""
    d_s: NotRequired[int]
    """Dimensions of the strong features."""
    level: NotRequired[float]
    """Coverage of every interval, such as .95."""
    groups: list[JudgedGroup]
    """One record per group, the one that gains least first."""
    worst_group: str | None
    """The group of which the student gains least; null where none was judged."""
    curve: NotRequired[list[CurvePoint]]
    """Expected errors over that group's share of the pool."""
    optimal_eta_pool: NotRequired[Estimate]
    """Share of that group in the pool at which the student's average error is least."""
    fails: NotRequired[Fails]
    """The same of that group: where the student is expected to be no better than its teacher."""
    chance_fails: NotRequired[FailChances]
    """The chance of that."""
    advice: NotRequired[str | None]
    """Advice on that group, in a sentence."""
    settings: NotRequired[dict[str, Any]]
    """Settings that the numbers were computed with."""
    reading: str
    """The result in words."""
    unknown: list[Unjudged]
    """Groups that could not be judged, and why."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
