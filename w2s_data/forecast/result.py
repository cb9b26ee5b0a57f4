"""Result of a forecast: accuracies of the options, gain and ceiling, and a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.forecast.options import ADVICE, Choice, Difference, Option, scaled
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.weighting import FEWEST_EFFECTIVE, widened

ESTIMATES = ("teacher", "student", "gain", "ceiling")
# Share of the pool without labelled rows like it from which on intervals are wider than the
# differences between options.
MOST_UNCOVERED = 0.1
HEADROOM = 0.05  # ceiling minus teacher below which recovered performance has no meaning
WITHHELD = "label first"  # the verdict where the labelled rows allow no other


@dataclass(frozen=True)
class OptionIngredients:
    """Measurements of the options teacher, gold, weak and both, in this order.

    Attributes
    ----------
    cv : tuple of float
        Accuracies on held-out labelled rows.
    plug : tuple of float
        Accuracies on the pool, with posteriors in place of labels.
    se : tuple of tuples of float
        Standard errors of the differences of cv between options.
    disagreement : tuple of tuples of float
        Shares of the pool where two options differ.
    """

    cv: tuple[float, ...]
    plug: tuple[float, ...]
    se: tuple[tuple[float, ...], ...]
    disagreement: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Ingredients:
    """The estimates that a forecast is blended from.

    Attributes
    ----------
    cv : float
        Gain on held-out labelled rows.
    plug : float
        Gain on the pool, with posteriors in place of labels.
    sim : float
        Gain in simulated worlds; NaN with ready-made weak labels, which have none.
    se : float
        Standard error of cv.
    disagreement : float
        Share of the pool where held-out student and teacher differ.
    weight : float
        Weight of (cv + plug) / 2 against sim; NaN without.
    options : OptionIngredients
    """

    cv: float
    plug: float
    sim: float
    se: float
    disagreement: float
    weight: float
    options: OptionIngredients

    @property
    def gain(self) -> float:
        """Blend of the three estimates of the gain."""
        return self.weight * (self.cv + self.plug) / 2 + (1 - self.weight) * self.sim


@dataclass(frozen=True, repr=False)
class GainForecast:
    """Expected accuracies of four options before training, and which of them to take.

    Attributes
    ----------
    n, N, n_classes : int
        Labelled rows, pool rows, classes.
    effective_size : float
        Labelled rows that weighted ones are worth; n without weights.
    uncovered : float
        Share of the pool that no labelled row covers, by weights; 0 without.
    teacher, student, ceiling : Estimate
        Accuracies in [0, 1] on fresh rows like the labelled ones, or like the pool if those were
        weighted; the student learns from weak labels alone, the ceiling is the student trained on
        gold labels of the pool.
    gain : Estimate
        Student minus teacher, in [-1, 1].
    pgr : float
        gain / (ceiling - teacher), an order of magnitude; NaN if the headroom is below .05.
    pgr_reason : str
        Why, where pgr is NaN.
    chance_w2s_helps : float
        Probability that the gain is above 0.
    options : tuple of Option
        Expected accuracy of teacher, gold, weak and both, in the order of their cost.
    differences : tuple of Difference
        Each pair of options, the dearer minus the cheaper one.
    best, advised : str
        The option with the highest expected accuracy; the cheapest that is at most .01 behind it,
        and not significantly. Empty, and all estimates NaN, where weighted rows are worth fewer
        than 30.
    lead : Estimate
        The best option minus the next.
    verdict : str
        "use the teacher", "train on the gold labels", "train on weak labels", "train on both", or
        "label first" where advice is withheld.
    reading : str
        The verdict as a sentence.
    level : float
        Coverage of the intervals.
    ingredients : Ingredients
    warnings : tuple of str
        Reasons why this forecast is less certain than its intervals say.
    teacher_fits, student_fits : int
        Cost of the forecast.
    """

    n: int
    N: int
    n_classes: int
    effective_size: float
    uncovered: float
    teacher: Estimate
    student: Estimate
    gain: Estimate
    ceiling: Estimate
    pgr: float
    pgr_reason: str
    chance_w2s_helps: float
    options: tuple[Option, ...]
    differences: tuple[Difference, ...]
    best: str
    advised: str
    lead: Estimate
    verdict: str
    reading: str
    level: float
    ingredients: Ingredients
    warnings: tuple[str, ...]
    teacher_fits: int
    student_fits: int

    def scaled(self, learned: float, reachable: float) -> GainForecast:
        """Return the forecast for rows of which only a part is in classes of the labelled rows.

        `learned` is the share of rows whose class teacher and student can predict, `reachable`
        that of rows whose class gold labels of the pool show: on all others they are wrong.
        """
        if not self.advised:
            return self
        teacher, student, gain = (
            scaled(e, learned) for e in (self.teacher, self.student, self.gain)
        )
        ceiling = scaled(self.ceiling, reachable)
        choice = Choice(self.options, self.differences, self.best, self.advised, self.lead)
        pgr, pgr_reason = recovered(gain.value, ceiling.value - teacher.value)
        note = (
            f"{1 - learned:.0%} of the test rows are of classes that the labelled rows do not "
            "show: teacher and student count as wrong there"
        )
        return replace(
            self,
            teacher=teacher,
            student=student,
            gain=gain,
            ceiling=ceiling,
            pgr=pgr,
            pgr_reason=pgr_reason,
            warnings=(*self.warnings, note),
            **chosen(choice.scaled(learned)),
        )

    @property
    def doubt(self) -> str:
        """Why labelled rows from elsewhere allow no advice; an empty text if they do."""
        if self.effective_size < FEWEST_EFFECTIVE and self.effective_size < self.n:
            return (
                f"the pool comes from elsewhere, and {self.n:,} gold rows are worth "
                f"{self.effective_size:,.0f} for it (fewer than {FEWEST_EFFECTIVE})"
            )
        if self.uncovered >= MOST_UNCOVERED:
            return f"{self.uncovered:.0%} of the pool is unlike any gold row"
        return ""

    def weighted(self, note: str, uncovered: float) -> GainForecast:
        """Return the forecast with intervals that hold whatever uncovered rows of the pool do."""
        options = tuple(Option(o.name, widened(o.accuracy, uncovered)) for o in self.options)
        differences = tuple(
            Difference(d.name, d.other, widened(d.difference, uncovered, -1))
            for d in self.differences
        )
        found = replace(
            self,
            uncovered=uncovered,
            teacher=widened(self.teacher, uncovered),
            student=widened(self.student, uncovered),
            gain=widened(self.gain, uncovered, -1),
            ceiling=widened(self.ceiling, uncovered),
            warnings=(*self.warnings, note),
            **chosen(Choice.among(options, differences)),
        )
        if not found.doubt:
            return found
        too_few = found.effective_size < FEWEST_EFFECTIVE
        return found.unknown(found.doubt) if too_few else found.withheld(found.doubt)

    def unknown(self, reason: str) -> GainForecast:
        """Return the forecast without estimates, for a pool of which labelled rows say too little.

        Whatever they say of themselves would be read as said of the pool.
        """
        nothing = Estimate(np.nan, level=self.level)
        return replace(
            self,
            teacher=nothing,
            student=nothing,
            gain=nothing,
            ceiling=nothing,
            pgr=np.nan,
            pgr_reason=f"not defined: {reason}",
            chance_w2s_helps=np.nan,
            options=tuple(Option(option.name, nothing) for option in self.options),
            differences=tuple(Difference(d.name, d.other, nothing) for d in self.differences),
            best="",
            advised="",
            lead=nothing,
            verdict=WITHHELD,
            reading=f"The forecast is withheld: {reason}",
        )

    def withheld(self, reason: str) -> GainForecast:
        """Return the forecast with a reason in place of its advice; a first reason stays."""
        if self.verdict == WITHHELD:
            return self
        return replace(
            self, verdict=WITHHELD, reading=f"{self.reading}, which is no advice: {reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name; estimates and ingredients as dictionaries."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per option, and of student, gain and ceiling: value, low, high, level."""
        rows = {option.name: option.accuracy.to_dict() for option in self.options}
        rows |= {name: getattr(self, name).to_dict() for name in ESTIMATES if name not in rows}
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        lines = [f"GainForecast: {self.verdict}"]
        lines.append(fill(self.reading, 100, initial_indent="  ", subsequent_indent="  "))
        lines.append(f"  n={self.n:,} labelled, N={self.N:,} pool rows, {self.n_classes} classes")
        rows = [(option.name, option.accuracy, "") for option in self.options]
        rows += [("ceiling", self.ceiling, ""), ("gain", self.gain, "+")]
        lines += [
            f"  {name:<8} {found.value:{sign}.3f}  "
            f"({self.level:.0%}: {found.low:{sign}.3f} to {found.high:{sign}.3f})"
            for name, found, sign in rows
        ]
        lines.append(f"  pgr      {self.pgr_reason or f'about {self.pgr:.1f}'}")
        lines.append(
            f"  chance that weak labels alone beat the teacher: {self.chance_w2s_helps:.2f}"
        )
        lines.extend(f"  warning: {warning}" for warning in self.warnings)
        return "\n".join(lines)


def chosen(choice: Choice) -> dict[str, Any]:
    """Return the fields of a forecast that a choice decides."""
    fields = {name: getattr(choice, name) for name in Choice.__dataclass_fields__}
    return fields | {"verdict": ADVICE[choice.advised], "reading": choice.describe()}


def recovered(gain: float, headroom: float) -> tuple[float, str]:
    """Return the recovered part of the headroom, or NaN and the reason."""
    if headroom < HEADROOM:
        where = f"only {headroom:+.3f} above" if headroom > 0 else f"{-headroom:.3f} below"
        return np.nan, (
            f"not defined: the ceiling is {where} the teacher (at least {HEADROOM} needed)"
        )
    return gain / headroom, ""
