"""What `DiscrepancyAnalyzer` predicts: variances at one size, and the pool a goal needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class GainPrediction:
    """Predicted variances of the four models at one size of labelled set and pool.

    Attributes
    ----------
    n, N : int
    d_w, d_s : int
    d_sw : float
        Clipped to [0, min(d_w, d_s)].
    noise : float
        Variance of the label noise; all risks are proportional to it.
    teacher, student, sft, ceiling : float
        Expected squared errors to the noiseless target, without approximation error; inf where
        rows are too few for a finite expectation, NaN where least squares is undetermined.
    pgr, opr : float
        See `theory.Risks`.
    student_interval, pgr_interval, opr_interval : (float, float)
        What the interval of d_sw implies; all other quantities are taken as known.
    level : float
    reading : str
        One sentence.
    """

    n: int
    N: int
    d_w: int
    d_s: int
    d_sw: float
    noise: float
    teacher: float
    student: float
    sft: float
    ceiling: float
    pgr: float
    opr: float
    student_interval: tuple[float, float]
    pgr_interval: tuple[float, float]
    opr_interval: tuple[float, float]
    level: float
    reading: str

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)

    def __repr__(self) -> str:
        return (
            f"GainPrediction(n={self.n}, N={self.N}, teacher={self.teacher:.4g}, "
            f"student={self.student:.4g}, sft={self.sft:.4g}, ceiling={self.ceiling:.4g}, "
            f"pgr={self.pgr:.3g}, opr={self.opr:.3g})"
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
