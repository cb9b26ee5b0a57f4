"""Summaries of `w2s forecast`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import (
    DataWarning,
    Difference,
    Estimate,
    Option,
    OptionName,
    Summary,
)

# Null or empty where labelled rows say too little of the pool.
Choice = OptionName | Literal[""]


class OptionIngredients(TypedDict):
    """Measurements of the options teacher, gold, weak and both, in this order."""

    cv: list[float]
    """Accuracies on held-out labelled rows. Higher is better."""
    plug: list[float]
    """Accuracies on the pool, with posteriors in place of labels. Higher is better."""
    se: list[list[float]]
    """Standard errors of the differences of `cv`, option by option."""
    disagreement: list[list[float]]
    """Shares of the pool where two options differ, option by option."""


class Ingredients(TypedDict):
    """Estimates that the forecast of the gain is blended from."""

    cv: float
    """Gain on held-out labelled rows."""
    plug: float
    """Gain on the pool, with posteriors in place of labels."""
    sim: float | None
    """Gain in simulated worlds; null with ready-made weak labels, which have none."""
    se: float
    """Standard error of `cv`."""
    disagreement: float
    """Share of the pool where held-out student and teacher differ."""
    weight: float | None
    """Weight in [0, 1] of the mean of `cv` and `plug`, the rest being that of `sim`; null without
    `sim`."""
    options: OptionIngredients
    """The same of all four options."""


class ForecastSummary(Summary):
    """Accuracies that are expected before any training, and the option to take."""

    n: int
    """Labelled rows."""
    N: int
    """Pool rows."""
    n_classes: int
    """Classes."""
    effective_size: float
    """Labelled rows that they are worth for this pool; `n` where nothing is shifted. Higher is
    better."""
    uncovered: float
    """Share of the pool that no labelled row covers. Lower is better."""
    teacher: Estimate
    """Accuracy of the teacher. Higher is better."""
    student: Estimate
    """Accuracy of a student of weak labels alone. Higher is better."""
    gain: Estimate
    """Accuracy of the student minus that of the teacher. Above 0 the student is better."""
    ceiling: Estimate
    """Accuracy of a student of gold labels of the whole pool."""
    pgr: float | None
    """Share of the gap between teacher and ceiling that the student closes; null where the gap is
    below .05."""
    pgr_reason: str
    """Why `pgr` is null; empty where it is known."""
    chance_w2s_helps: float | None
    """Chance that the student of weak labels beats the teacher; null where it is unknown."""
    options: list[Option]
    """The four options, in the order of their cost."""
    differences: list[Difference]
    """Every two options compared."""
    best: Choice
    """The option that is expected to be most accurate; empty where accuracies are unknown."""
    advised: Choice
    """The cheapest option that is at most .01 behind the best, and not significantly; empty where
    accuracies are unknown. Do not act on it where the verdict is `label first`."""
    lead: Estimate
    """Accuracy of the best option minus that of the next."""
    verdict: str
    """The advice in a few words; `label first` where it is withheld."""
    reading: str
    """The verdict as a sentence, with its numbers."""
    level: float
    """Coverage of every interval, such as .95."""
    ingredients: Ingredients
    """Estimates that the forecast is blended from."""
    warnings: list[str]
    """Reasons why the forecast is less certain than its intervals say."""
    teacher_fits: int
    """Teachers that were fitted for it."""
    student_fits: int
    """Students that were fitted for it."""
    data_warnings: list[DataWarning]
    """Warnings about the rows themselves."""


class ValueOption(TypedDict):
    """One of four ways to a model of values, with the errors that are expected of it."""

    name: OptionName
    """Name of the option; they are in the order of their cost."""
    mse: Estimate
    """Mean squared error, in squared units of the values. Lower is better."""
    rmse: Estimate
    """Root of the mean squared error, in units of the values. Lower is better."""
    r2: Estimate
    """Share of the values' variance that is explained, at most 1. Higher is better."""


class ValueForecastSummary(Summary):
    """Errors that are expected before any training, and the option to take."""

    task: Literal["regression"]
    """Labels are values."""
    metric: Literal["mse"]
    """Measure of the options, the mean squared error."""
    n: int
    """Labelled rows."""
    N: int
    """Pool rows."""
    effective_size: float
    """Labelled rows that they are worth for this pool; `n` where nothing is shifted. Higher is
    better."""
    variance: float
    """Variance of the values, which is the error of a model that knows their mean only."""
    options: list[ValueOption]
    """The four options, in the order of their cost."""
    differences: list[Difference]
    """Every two options compared; below 0 the dearer one is better."""
    best: Choice
    """The option that is expected to have the least error; empty where errors are unknown."""
    advised: Choice
    """The cheapest option whose error is at most 2 % above the least, and not significantly; empty
    where advice is withheld."""
    gain: Estimate
    """Error of the teacher minus that of a student of weak values alone. Above 0 the student is
    better."""
    chance_w2s_helps: float | None
    """Chance that the student of weak values beats the teacher; null where it is unknown."""
    verdict: str
    """The advice in a few words; `label first` where it is withheld."""
    reading: str
    """The verdict as a sentence, with its numbers."""
    level: float
    """Coverage of every interval, such as .95."""
    warnings: list[str]
    """Reasons why the forecast is less certain than its intervals say."""
    data_warnings: list[DataWarning]
    """Warnings about the rows themselves."""


class Spectrum(TypedDict):
    """Variance along the components of features."""

    leading: list[float]
    """The largest variances, in falling order."""
    n_values: int
    """Number of all components."""
    total: float
    """Sum of all variances."""


class Prediction(TypedDict):
    """Squared errors that the theory expects at this run's sizes, in units of the label noise."""

    n: int
    """Labelled rows."""
    N: int
    """Pool rows."""
    d_s: int
    """Dimensions of the strong features."""
    d_w: int
    """Dimensions of the weak features."""
    d_sw: float
    """Dimensions that both share."""
    noise: float
    """Variance of the label noise, which is the unit."""
    teacher: float
    """Error of the teacher. Lower is better."""
    student: Estimate
    """Error of the student of weak labels. Lower is better."""
    sft: float | None
    """Error of a strong model of the labelled rows alone; null where they do not determine it."""
    ceiling: float
    """Error of a strong model of gold labels of all rows."""
    pgr: Estimate
    """Share of the gap between teacher and ceiling that the student closes."""
    opr: Estimate
    """Error of the strong model of the labelled rows, over that of the student. Above 1 the student
    is better."""
    reading: str
    """The prediction in words."""


class NeededPool(TypedDict):
    """Pool rows for a part of the possible gain."""

    share: float
    """The part: .5, .8 or .9."""
    N: float | None
    """Pool rows that it takes; null where none are enough."""
    reason: str
    """The same in words, or why there is no number."""


class ValueModel(TypedDict):
    """Parts of a model's squared error, in squared units of the values."""

    model: str
    """Teacher, student, gold alone or ceiling."""
    mse: Estimate
    """Mean squared error on the test rows. Lower is better."""
    noise: float
    """Part that no model explains."""
    variance: float
    """Part due to the noise of the labels that it learned from."""
    rest: float
    """The rest, due to what its features cannot show."""


class MeasuredParts(TypedDict):
    """Squared errors on the test rows beside the parts that the theory explains."""

    n: int
    """Labelled rows."""
    N: int
    """Pool rows."""
    n_test: int
    """Test rows."""
    models: list[ValueModel]
    """One record per model."""
    inherited: float | None
    """Share of the teacher's variance that its student inherits. Lower is better."""
    reading: str
    """The result in words."""


class DiscrepancySummary(Summary):
    """How much of the teacher's error a student can undo, by the dimensions that both share."""

    task: NotRequired[Literal["regression"]]
    """Only of values."""
    n: int
    """Labelled rows."""
    N: int
    """Pool rows."""
    n_rows: NotRequired[int]
    """Rows whose features were compared. This and all that follows from it is missing without weak
    features."""
    d_w: NotRequired[int]
    """Dimensions of the weak features."""
    d_s: NotRequired[int]
    """Dimensions of the strong features."""
    correlation_dimension: NotRequired[Estimate]
    """Dimensions that both share. The fewer, the less of the teacher's error the student
    inherits."""
    sensitivity: NotRequired[list[dict[str, Any]]]
    """The same and its predictions under other ways to count dimensions, one record per
    `criterion`."""
    weak_spectrum: NotRequired[Spectrum]
    """Variance along the weak features' components."""
    strong_spectrum: NotRequired[Spectrum]
    """Variance along the strong features' components."""
    canonical_correlations: NotRequired[list[float]]
    """Correlations of both sides' directions, 1 for a shared one."""
    break_even: NotRequired[float | None]
    """Pool rows from which the student is expected to beat the teacher; null where it never
    does."""
    prediction: Prediction | None
    """Expected errors at this run's sizes; null where nothing can be predicted."""
    curve: NotRequired[list[dict[str, float | None]] | None]
    """The same errors over sizes `N` of the pool, with `_low` and `_high` as limits."""
    needed_pool: NotRequired[list[NeededPool] | None]
    """Pool rows for half, 80 and 90 percent of the possible gain."""
    settings: NotRequired[dict[str, Any]]
    """Settings that the numbers were computed with."""
    reading: str
    """The result in words."""
    unknown: list[str]
    """Why numbers are missing; empty where all are there."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
    risks: NotRequired[dict[str, float | None] | None]
    """Only of values: the expected errors in squared units of the values, by model, with the
    `noise` that no model explains; null where nothing can be predicted."""
    measured: NotRequired[MeasuredParts | None]
    """Only of values: errors on the test rows, split into parts; null without such rows or weak
    features."""
