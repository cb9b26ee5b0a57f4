"""Result of a forecast: accuracies, gain and ceiling with intervals, and a verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.utils.intervals import Estimate

ESTIMATES = ("teacher", "student", "gain", "ceiling")
HEADROOM = 0.05  # ceiling minus teacher below which recovered performance has no meaning
WITHHELD = "label first"  # the verdict where the labelled rows allow no other


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
        Gain in simulated worlds.
    se : float
        Standard error of cv.
    disagreement : float
        Share of the pool where held-out student and teacher differ.
    weight : float
        Weight of (cv + plug) / 2 against sim.
    teacher_cv, teacher_plug : float
        Accuracies of the teacher on held-out labelled rows, and on the pool by posteriors.
    ceiling : float
        Accuracy of the student on gold labels, the best of three estimates.
    """

    cv: float
    plug: float
    sim: float
    se: float
    disagreement: float
    weight: float
    teacher_cv: float
    teacher_plug: float
    ceiling: float


@dataclass(frozen=True, repr=False)
class GainForecast:
    """Expected accuracy of teacher and student before training.

    Attributes
    ----------
    n, N, n_classes : int
        Labelled rows, pool rows, classes.
    teacher, student, ceiling : Estimate
        Accuracies in [0, 1] on fresh rows like the labelled ones; the ceiling is the student
        trained on gold labels.
    gain : Estimate
        Student minus teacher, in [-1, 1].
    pgr : float
        gain / (ceiling - teacher), an order of magnitude; NaN if the headroom is below .05.
    pgr_reason : str
        Why, where pgr is NaN.
    chance_w2s_helps : float
        Probability that the gain is above 0.
    verdict : str
        "train it", "undecided", "keep the teacher", or "label first" where advice is withheld.
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
    teacher: Estimate
    student: Estimate
    gain: Estimate
    ceiling: Estimate
    pgr: float
    pgr_reason: str
    chance_w2s_helps: float
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
        teacher, student, gain = (
            _scaled(e, learned) for e in (self.teacher, self.student, self.gain)
        )
        ceiling = _scaled(self.ceiling, reachable)
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
            reading=f"{expected(gain)}: {self.reading.partition(': ')[2]}",
            warnings=(*self.warnings, note),
        )

    def withheld(self, reason: str) -> GainForecast:
        """Return the forecast with a reason in place of its advice."""
        return replace(
            self, verdict=WITHHELD, reading=f"{expected(self.gain)}, which is no advice: {reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name; estimates and ingredients as dictionaries."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """Return one row each for teacher, student, gain and ceiling: value, low, high, level."""
        rows = {name: getattr(self, name).to_dict() for name in ESTIMATES}
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        lines = [f"GainForecast: {self.verdict}"]
        lines.append(f"  {self.reading}")
        lines.append(f"  n={self.n:,} labelled, N={self.N:,} pool rows, {self.n_classes} classes")
        for name in ESTIMATES:
            estimate: Estimate = getattr(self, name)
            sign = "+" if name == "gain" else ""
            lines.append(
                f"  {name:<8} {estimate.value:{sign}.3f}  "
                f"({self.level:.0%}: {estimate.low:{sign}.3f} to {estimate.high:{sign}.3f})"
            )
        lines.append(f"  pgr      {self.pgr_reason or f'about {self.pgr:.1f}'}")
        lines.append(f"  chance that the student beats its teacher: {self.chance_w2s_helps:.2f}")
        lines.extend(f"  warning: {warning}" for warning in self.warnings)
        return "\n".join(lines)


def expected(gain: Estimate) -> str:
    """Say the expected gain with its interval."""
    interval = f"({gain.level:.0%} interval {gain.low:+.3f} to {gain.high:+.3f})"
    return f"expected gain {gain.value:+.3f} {interval}"


def recovered(gain: float, headroom: float) -> tuple[float, str]:
    """Return the recovered part of the headroom, or NaN and the reason."""
    if headroom < HEADROOM:
        return np.nan, (
            f"not defined: the ceiling is only {headroom:+.3f} above the teacher (at least "
            f"{HEADROOM} needed)"
        )
    return gain / headroom, ""


def _scaled(estimate: Estimate, share: float) -> Estimate:
    low, high = share * estimate.low, share * estimate.high
    return Estimate(share * estimate.value, low, high, estimate.level)
