"""Summaries of `w2s score` where labels are values."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from w2s_data.summaries.parts import Estimate, SquaredError, Summary
from w2s_data.summaries.scoring import OverlapSummary


class Scale(TypedDict):
    """The line from the weak values of one teacher to the gold values."""

    name: str
    """Name of the teacher."""
    n: int
    """Gold rows with a weak value of it."""
    slope: Estimate
    """Slope of the line; 1 on the same scale. Null for a teacher that learned the scale."""
    offset: Estimate
    """Offset of the line, in units of the values; 0 on the same scale."""
    bias: Estimate
    """Mean of gold minus weak values; 0 on the same scale."""
    far: bool
    """Whether slope or bias are significantly and clearly off."""
    applied: bool
    """Whether the line was applied, as recalibration does."""


class ValueOverlapSummary(OverlapSummary):
    """Overlap density of a pool of values, with errors of the weak values.

    Accuracies are null, and squared errors stand in their place.
    """

    task: Literal["regression"]
    """Labels are values."""
    targets: dict[str, dict[str, float | None]]
    """By split, the number `n` of gold values and their spread, in units of the values."""
    weak_mse: SquaredError | None
    """Error of the weak values on the pool. Null without gold values there."""
    gold_mse: SquaredError | None
    """Error of the weak values on the labelled split. Null without gold values there."""
    scales: list[Scale]
    """The scale of each teacher's weak values."""


class ValuePosteriorSummary(Summary):
    """A better value of each pool row, from gold values and all views together."""

    task: Literal["regression"]
    """Labels are values."""
    unknown: str
    """Why there is no posterior; empty where there is one. All that follows but warnings and notes
    is missing then."""
    weights: NotRequired[dict[str, float]]
    """Weight of each view in the joined values."""
    view_errors: NotRequired[dict[str, float | None]]
    """Root mean squared error of each view on gold rows, in units of the values. Lower is
    better."""
    error: NotRequired[float]
    """Root mean squared error of the joined values on held-out gold rows, likewise."""
    n_gold: NotRequired[int]
    """Gold rows that it learned from."""
    n_pool: NotRequired[int]
    """Pool rows."""
    n_known: NotRequired[int]
    """Pool rows with a gold value, on which errors are measured."""
    level: NotRequired[float]
    """Coverage of every interval, such as .95."""
    mse: NotRequired[Estimate | None]
    """Mean squared error of the joined values on the pool. Lower is better. Null without gold
    values there."""
    weak_mse: NotRequired[Estimate | None]
    """Mean squared error of the weak values on the pool."""
    lead: NotRequired[Estimate | None]
    """Squared error of the weak values minus that of the joined ones. Above 0 joining pays."""
    warnings: list[str]
    """Reasons why the numbers are less certain."""
    notes: list[str]
    """Remarks that change no number."""
