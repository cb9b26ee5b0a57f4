"""Summary of `w2s plan`."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from w2s_data.summaries.parts import Estimate, Summary

Trained = Literal["gold", "weak", "both"]


class MeasuredSize(TypedDict):
    """Accuracy of one option on a part of the labels."""

    option: Trained
    """The option."""
    n: int
    """Gold rows."""
    N: int
    """Pool rows."""
    accuracy: float
    """Accuracy on held-out gold rows. Higher is better."""


class Curve(TypedDict):
    """Draws of the parameters of a learning curve, one number per draw."""

    error: list[float]
    """Error at present sizes. Lower is better."""
    floor: list[float]
    """Part of it that no label removes."""
    pool_part: list[float]
    """Part of the rest that is due to the number of pool rows."""
    gold_rate: list[float]
    """Exponent of the number of gold rows."""
    pool_rate: list[float]
    """Exponent of the number of pool rows."""
    luck: list[float]
    """Luck of the labels that come, in standard deviations."""
    n: float
    """Gold rows at present."""
    N: float
    """Pool rows at present."""


class Outcome(TypedDict):
    """An earlier plan's forecast, beside what came."""

    option: Trained
    """The option that was planned for."""
    before: list[int]
    """Gold rows and pool rows before."""
    after: list[int]
    """Gold rows and pool rows after."""
    forecast: Estimate
    """Accuracy that was forecast."""
    came: Estimate
    """Accuracy that came."""
    gain_forecast: Estimate
    """Gain in accuracy that was forecast."""
    gain: Estimate
    """Gain that came."""


class Prices(TypedDict):
    """Money and prices, in one currency."""

    budget: float
    """Money to spend."""
    gold: float
    """Price of one gold label."""
    weak: float
    """Price of one weak label."""


class TeacherNow(TypedDict):
    """The teacher used as it is."""

    accuracy: Estimate
    """Its accuracy on the gold rows. Higher is better."""
    lead: Estimate
    """Its accuracy minus that of the present student. Above 0 the teacher is better."""


class Purchase(TypedDict):
    """One thing to buy with the whole budget."""

    name: str
    """Gold labels, weak labels, or a teacher or student by its name."""
    number: int | None
    """Labels that it buys; null for a model."""
    price: float | None
    """Its price; null where it is unknown."""
    gain: Estimate
    """Accuracy that it is expected to add. Higher is better."""
    guess: bool
    """Whether it lies beyond twice the present size, where a forecast is a guess."""
    per_unit: Estimate | None
    """Gain for a price of 1; null where the price is unknown."""


class Split(TypedDict):
    """A division of the budget."""

    gold: int
    """Gold labels to buy."""
    weak: int
    """Weak labels to buy."""
    spent: float
    """Money that it takes."""
    accuracy: Estimate
    """Accuracy that it leads to. Higher is better."""
    gain: Estimate
    """Accuracy that it adds."""
    guess: bool
    """Whether it lies beyond twice the present size, where a forecast is a guess."""


class Step(TypedDict):
    """Expected accuracies for one amount of money; limits are `_low` and `_high`."""

    spent: float
    """Money spent."""
    gold: int
    """Gold labels of the best division."""
    weak: int
    """Weak labels of the best division."""
    best: float
    """Accuracy of the best division."""
    best_low: float
    """Lower limit."""
    best_high: float
    """Upper limit."""
    gold_only: float
    """Accuracy where all of it buys gold labels."""
    gold_only_low: float
    """Lower limit."""
    gold_only_high: float
    """Upper limit."""
    weak_only: float
    """Accuracy where all of it buys weak labels."""
    weak_only_low: float
    """Lower limit."""
    weak_only_high: float
    """Upper limit."""


class Sizes(TypedDict):
    """Numbers of rows."""

    n: float
    """Gold rows."""
    N: float
    """Pool rows."""


class Contour(TypedDict):
    """Expected accuracy over both sizes."""

    n: list[float]
    """Gold rows, one number per column of `accuracy`."""
    N: list[float]
    """Pool rows, one number per row of `accuracy`."""
    accuracy: list[list[float]]
    """Expected accuracies."""
    line: list[Sizes]
    """Sizes that divisions of the budget reach."""


class PlanSummary(Summary):
    """Advice on the next money: gold labels, weak labels or another model."""

    n: int
    """Gold rows at present."""
    N: int
    """Pool rows at present, each with a weak label."""
    option: Trained
    """The best way to train now, for which the plan is made."""
    accuracies: dict[str, Estimate]
    """Accuracy at present sizes, by option. Higher is better."""
    leads: dict[str, Estimate]
    """By other teacher or student, its accuracy minus that of the present one. Above 0 it is
    better."""
    teacher: TeacherNow
    """The teacher used as it is, beside the present student."""
    measured: list[MeasuredSize]
    """Accuracies on parts of the labels, from which the curves are fitted."""
    curves: dict[str, Curve]
    """The learning curve of each option."""
    history: list[Outcome]
    """Earlier plans, and what came."""
    pace: Estimate
    """How fast labels have helped, as a multiple of what was forecast; 1 is as forecast, higher is
    better."""
    notes: list[str]
    """Remarks on the curves."""
    prices: Prices
    """Money and prices."""
    now: Estimate
    """Present accuracy by that option."""
    purchases: list[Purchase]
    """Things that the whole budget can buy, each by itself."""
    exchange: Estimate
    """Weak labels that are worth one gold label; its value is null where none are worth one."""
    split: Split
    """The best division of the budget."""
    stop: float | None
    """Spending after which no step is worth its doubt; null where the budget does not reach it."""
    path: list[Step]
    """Expected accuracies over money spent."""
    contour: Contour
    """Expected accuracy over gold rows and pool rows."""
    advice: str
    """The advice in a sentence."""
    buys: str
    """The thing to buy: `labels`, a model by its name, or nothing (empty)."""
    warnings: list[str]
    """Reasons why the plan is less certain."""
    level: float
    """Coverage of every interval, such as .95."""
    plans: list[dict[str, Any]]
    """Plans made before this one, with their `n`, `N`, `option`, `accuracies` and `curves`."""
