"""Predictions of `DiscrepancyAnalyzer`: variances at one size, and the pool for a goal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from w2s_data.discrepancy.theory import Risks, plain
from w2s_data.utils.intervals import Estimate


@dataclass(frozen=True, repr=False)
class GainPrediction:
    """Predicted variances of the four models at one size of labelled set and pool.

    Attributes
    ----------
    n, N : int
    d_s, d_w : int
    d_sw : float
        Clipped to [0, min(d_s, d_w)].
    noise : float
        Variance of the label noise; all risks are proportional to it.
    teacher, sft, ceiling : float
        Expected squared errors to the noiseless target, without approximation error; inf where
        rows are too few for a finite expectation, NaN where least squares is undetermined.
    student, pgr, opr : Estimate
        Error and ratios of the student, see `theory.Risks`. The intervals follow from that of
        d_sw; all other quantities are taken as known.
    reading : str
        One sentence.
    """

    n: int
    N: int
    d_s: int
    d_w: int
    d_sw: float
    noise: float
    teacher: float
    student: Estimate
    sft: float
    ceiling: float
    pgr: Estimate
    opr: Estimate
    reading: str

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name."""
        return asdict(self)

    def __repr__(self) -> str:
        return (
            f"GainPrediction(n={self.n}, N={self.N}, teacher={self.teacher:.4g}, "
            f"student={self.student.value:.4g}, sft={self.sft:.4g}, ceiling={self.ceiling:.4g}, "
            f"pgr={self.pgr.value:.3g}, opr={self.opr.value:.3g})"
        )


@dataclass(frozen=True, repr=False)
class PoolSize:
    """Pool size that gives a share of the gain of an endless pool.

    Attributes
    ----------
    share : float
    N : float
        Whole rows; inf if no pool is large enough, NaN if there is no gain to share.
    reason : str
        One sentence, in particular where N is not finite.
    """

    share: float
    N: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name."""
        return asdict(self)

    @classmethod
    def of(cls, share: float, wanted: float, d_w: int) -> Self:
        """Round the wanted rows up, and give the reason where they are not finite."""
        if np.isnan(wanted):
            return cls(share, np.nan, no_gain(d_w))
        if np.isinf(wanted):
            return cls(share, np.inf, "only an endless pool gives the whole gain")
        # A size that is whole but for rounding must not become the next larger one.
        rows = float(np.ceil(wanted - 1e-9 * wanted))
        return cls(
            share, rows, f"{rows:,.0f} pseudo-labels give {share:.0%} of the attainable gain"
        )

    def __repr__(self) -> str:
        return f"PoolSize(share={self.share:g}, N={self.N:g}, reason={self.reason!r})"


def reading(
    N: int, d_w: int, shared: tuple[float, float, float], break_even: float, risks: Risks
) -> str:
    """Explain a prediction in one sentence; `shared` is d_sw with its limits, all clipped."""
    d_sw, _, high = shared
    if d_sw == d_w:
        return no_gain(d_w)
    if break_even >= N:
        return (
            f"N = {N} is not above the break-even {break_even:.0f}: the student has no less "
            "variance than its teacher"
        )
    kept = f"{risks.student / risks.teacher:.0%}"
    text = f"the student keeps {kept} of the error that label noise causes its teacher"
    return f"{text}, but the interval includes d_sw = d_w, no gain" if high == d_w else text


def no_gain(d_w: int) -> str:
    """Explain that d_sw = d_w leaves no gain."""
    return (
        f"the student sees all {d_w} directions that the teacher uses (d_sw = d_w) and inherits "
        "the teacher's whole variance: no gain, whatever the pool"
    )


def student_limits(low: Risks, high: Risks) -> dict[str, tuple[Any, Any]]:
    """Return limits of the student's numbers from the risks at those of d_sw."""
    # Below the break-even a larger d_sw helps the student, so that the limits swap.
    ends = {name: (getattr(low, name), getattr(high, name)) for name in ("student", "pgr", "opr")}
    return {
        name: (plain(np.minimum(*pair)), plain(np.maximum(*pair))) for name, pair in ends.items()
    }
