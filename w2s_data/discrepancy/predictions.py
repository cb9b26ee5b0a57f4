"""What `DiscrepancyAnalyzer` predicts: variances at one size, and the pool a goal needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from w2s_data.discrepancy.theory import Risks
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
        """All fields by name."""
        return asdict(self)

    def __repr__(self) -> str:
        return (
            f"GainPrediction(n={self.n}, N={self.N}, teacher={self.teacher:.4g}, "
            f"student={self.student.value:.4g}, sft={self.sft:.4g}, ceiling={self.ceiling:.4g}, "
            f"pgr={self.pgr.value:.3g}, opr={self.opr.value:.3g})"
        )


@dataclass(frozen=True, repr=False)
class PoolSize:
    """Pseudo-labels needed for a share of the gain that an endless pool would give.

    Attributes
    ----------
    share : float
    N : float
        Whole rows; inf if no pool is large enough, NaN if there is no gain to share.
    reason : str
        One sentence; why, where N is not finite.
    """

    share: float
    N: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"PoolSize(share={self.share:g}, N={self.N:g}, reason={self.reason!r})"


def reading(
    N: int, d_w: int, shared: tuple[float, float, float], break_even: float, risks: Risks
) -> str:
    """One sentence on a prediction; `shared` is d_sw with its limits, all clipped."""
    d_sw, _, high = shared
    if d_sw == d_w:
        return no_gain(d_w)
    if break_even >= N:
        return (
            f"N = {N} is not above the break-even {break_even:.0f}: the student has no less "
            "variance than its teacher"
        )
    said = f"the student keeps {risks.student / risks.teacher:.0%} of the teacher's variance"
    return f"{said}, but d_sw = d_w, gain 0, lies inside the interval" if high == d_w else said


def no_gain(d_w: int) -> str:
    """What to say where d_sw = d_w."""
    return (
        f"the student sees all {d_w} directions the teacher uses (d_sw = d_w), so it inherits the "
        "teacher's whole variance: gain 0, whatever the pool"
    )
