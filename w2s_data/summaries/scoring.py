"""Summaries of `w2s score` where labels are classes."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import Counted, DataWarning, Estimate, SquaredError, Summary


class RegionShare(TypedDict):
    """Points of one region."""

    n: int
    """Points that the region got."""
    share: Estimate
    """Share of the points; of a mixture, not exactly their part of the count."""
    weak_accuracy: Counted | None
    """Accuracy of their weak labels. Higher is better. Null without gold labels."""
    weak_mse: NotRequired[SquaredError | None]
    """Only of values: mean squared error of their weak values; null without gold values."""


class Threshold(Estimate):
    """A threshold between two kinds of points."""

    explained: float
    """Share of the variance that the threshold explains. Below .75 the threshold is doubtful."""


class Mixture(TypedDict):
    """The fitted mixture of easy, hard and overlap points."""

    kind: str
    """How the types are spread: `additive`, where patterns of overlap points are those of easy and
    hard ones together, or `separate`, each by itself."""
    directions: list[int]
    """How many main directions of the strong features were looked at; with several numbers, shares
    are the mean of as many mixtures."""
    agreement: float
    """Cohen's kappa of the types that two halves of the points find, among points of which the
    weak model says the same; at most 1, and 0 by chance. Higher is better."""
    less_confident: float
    """Chance (AUC) that the weak model is less confident of a hard-only point than of another one.
    Higher is better."""
    density: Estimate
    """Overlap density by the mixture."""


class Breakdown(TypedDict):
    """Shares and accuracies of one source, or of one group; limits are `_low` and `_high`."""

    name: str
    """The source or group."""
    n: int
    """Its scored rows."""
    density: float | None
    """Share of overlap points. Higher is better, compared between sources that were scored
    together. Null where regions are undefined."""
    density_low: float | None
    """Lower limit."""
    density_high: float | None
    """Upper limit."""
    hard_only: float | None
    """Share of points of which the weak model is unsure."""
    hard_only_low: float | None
    """Lower limit."""
    hard_only_high: float | None
    """Upper limit."""
    easy_only: float | None
    """Share of points with nothing but what the weak model knows."""
    easy_only_low: float | None
    """Lower limit."""
    easy_only_high: float | None
    """Upper limit."""
    confident: float | None
    """Share of points of which the weak model is sure."""
    confident_low: float | None
    """Lower limit."""
    confident_high: float | None
    """Upper limit."""
    weak_accuracy: float | None
    """Accuracy of the weak labels. Higher is better. Null without gold labels."""
    weak_accuracy_low: float | None
    """Lower limit."""
    weak_accuracy_high: float | None
    """Upper limit."""
    confident_accuracy: float | None
    """Accuracy of the weak labels of which the weak model is sure. Higher is better."""
    confident_accuracy_low: float | None
    """Lower limit."""
    confident_accuracy_high: float | None
    """Upper limit."""
    weak_mse: NotRequired[SquaredError | None]
    """Only of values: mean squared error of the weak values; null without gold values."""


class OverlapSummary(Summary):
    """Overlap density of the pool, of its sources and groups."""

    n_items: int
    """Rows of the run."""
    n_scored: int
    """Rows that were scored."""
    scored_split: str
    """Split of the scored rows."""
    class_names: list[str]
    """Classes in the order of every list of probabilities; of values, none."""
    level: float
    """Coverage of every interval, such as .95."""
    density: Estimate
    """Share of overlap points. Higher is better, compared between sources that were scored
    together. Its value is null where regions are undefined."""
    regions: dict[str, RegionShare]
    """Points by region: `hard-only`, `easy-only` and `overlap`."""
    quantified_by: str
    """How shares were computed: by a `mixture` of the types, or by a `count` of points."""
    regions_by: str
    """How each point got its region: by the `mixture`, or by the two `thresholds`."""
    objection: str
    """Why no level of the density can be relied on; empty where it can."""
    range: list[float] | None
    """Lowest and highest density that the data allow, where there is an objection."""
    mixture: Mixture | None
    """The fitted mixture; null where shares are counted."""
    n_anchors: int
    """Points whose likeness is compared with every other point."""
    precision: str
    """Number format of the comparisons."""
    settings: dict[str, Any]
    """Settings that the numbers were computed with."""
    confidence_threshold: Threshold
    """Confidence of the weak model from which a point counts as easy or overlap."""
    alignment_threshold: Threshold
    """Likeness to unsure points from which a sure point counts as overlap."""
    weak_accuracy: Counted | None
    """Accuracy of the weak labels on scored rows. Higher is better. Null without gold labels."""
    confident: Estimate
    """Share of points of which the weak model is sure."""
    confident_accuracy: Counted | None
    """Accuracy of the weak labels on these. Higher is better. Null without gold labels."""
    by_source: list[Breakdown]
    """One record per source; empty without sources."""
    by_group: list[Breakdown]
    """One record per group; empty without groups."""
    reading: str
    """The result in words."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
    data_warnings: list[DataWarning]
    """Warnings about the rows themselves."""


class ReliabilityBin(TypedDict):
    """Weak labels with about the same stated chance of being right."""

    n: int
    """Labels in it."""
    confidence: float
    """Mean of the stated chance."""
    accuracy: float
    """Share that is right."""
    accuracy_low: float
    """Lower limit."""
    accuracy_high: float
    """Upper limit."""


class PosteriorSummary(Summary):
    """Chance that each weak label is right, from gold labels and all views together."""

    unknown: str
    """Why there is no posterior; empty where there is one. All that follows but warnings and notes
    is missing then."""
    n_gold: NotRequired[int]
    """Gold rows that it learned from."""
    n_pool: NotRequired[int]
    """Pool rows."""
    n_learned: NotRequired[int]
    """Pool rows that its student learned from."""
    level: NotRequired[float]
    """Coverage of every interval, such as .95."""
    equal_weights: NotRequired[bool]
    """Whether all views had to be trusted alike, for want of gold rows."""
    weights: NotRequired[dict[str, float]]
    """How far each view is trusted, on the scale of log odds; 0 is not at all."""
    offsets: NotRequired[dict[str, float]]
    """By class, what is added to its log odds."""
    accuracy: NotRequired[Estimate]
    """Accuracy of the joined labels on the pool. Higher is better."""
    weak_accuracy: NotRequired[Estimate]
    """Accuracy of the weak labels on the pool. Higher is better."""
    student_accuracy: NotRequired[Estimate]
    """Accuracy of a student on the pool. Higher is better."""
    teacher_accuracies: NotRequired[dict[str, Estimate]]
    """Accuracy of each teacher on the pool. Higher is better."""
    accuracy_by: NotRequired[str]
    """Whether accuracies are measured on gold rows of the pool (`pool labels`) or follow from the
    posterior's `calibration`."""
    n_known: NotRequired[int]
    """Pool rows with a gold label that they are measured on."""
    lead: NotRequired[Estimate]
    """Accuracy of the joined labels minus that of the weak labels, on pool rows that have one.
    Above 0 joining pays."""
    voted_accuracy: NotRequired[Estimate]
    """Accuracy of the joined labels on pool rows that have a weak label; missing where all have
    one. Higher is better."""
    calibration_error: NotRequired[float]
    """Mean distance of stated chance and observed share. Lower is better."""
    reliability: NotRequired[list[ReliabilityBin]]
    """Stated chance beside observed share, in ten bins at most."""
    n_abstained: NotRequired[int]
    """Pool rows without a weak label."""
    n_doubtful: NotRequired[int]
    """Weak labels that are more probably wrong than right."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
    notes: list[str]
    """Remarks that change no number."""


class TeacherPart(TypedDict):
    """A weak model on a part of the rows."""

    name: str
    """The class, source or group."""
    n: int
    """Rows of it."""
    coverage: float
    """Share of the rows that it labels. Higher is better."""
    n_gold: int
    """Gold rows that it labels."""
    accuracy: Estimate
    """Accuracy on these. Higher is better."""


class TeacherReliability(TypedDict):
    """One of several weak models, judged by gold rows."""

    name: str
    """Name of the weak model."""
    n: int
    """Pool rows."""
    coverage: float
    """Share of them that it labels. Higher is better."""
    n_gold: int
    """Gold rows that it labels."""
    accuracy: Estimate
    """Accuracy on these. Higher is better."""
    calibration_error: float | None
    """Mean distance of its confidence and the share that is right. Lower is better."""
    weight: float | None
    """Its share of the evidence for the right class, of all weak models together; null where it is
    unknown."""
    coefficient: float | None
    """Its weight in the posterior, on the scale of log odds; null without a posterior."""
    beyond: str
    """The other weak model that repeats most of its labels."""
    added: Estimate
    """Evidence for the right class that it adds to that one, in nats per gold row. Above 0 it
    helps."""
    adds_nothing: bool
    """Whether that is next to nothing, on 100 gold rows or more."""
    by_class: list[TeacherPart]
    """The same on gold rows of each class."""
    by_source: list[TeacherPart]
    """The same by source; empty without sources."""
    by_group: list[TeacherPart]
    """The same by group; empty without groups."""


class TeacherPair(TypedDict):
    """Two weak models compared."""

    first: str
    """One weak model."""
    second: str
    """The other."""
    n: int
    """Rows that both label."""
    agreement: float | None
    """Share of these on which they agree."""
    copies: bool
    """Whether one is a copy of the other."""
    n_gold: int
    """Gold rows that both label."""
    dependence: Estimate
    """Correlation of their errors within classes, from -1 to 1; 0 where they are independent."""
    p_value: float | None
    """P-value of no dependence; null where it is unknown."""


class ReliabilitySummary(Summary):
    """Several weak models side by side."""

    n_gold: int
    """Gold rows."""
    level: float
    """Coverage of every interval, such as .95."""
    teachers: list[TeacherReliability]
    """One record per weak model."""
    pairs: list[TeacherPair]
    """One record per two weak models."""
    notes: list[str]
    """Remarks that change no number."""
