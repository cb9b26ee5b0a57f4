"""What is known of a group, and the predictions with intervals that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.spurious.model import GroupGeometry, GroupRisks
from w2s_data.spurious.theory import ROUNDING, mixture_risks
from w2s_data.utils.intervals import Estimate, student_interval
from w2s_data.utils.jackknife import chance_below_zero, jackknife_error

GRID = np.linspace(0, 1, 101)  # shares among which the best is looked for


@dataclass(frozen=True, repr=False)
class PredictedRisks(GroupRisks):
    """Expected squared errors of teacher and student under one test share, with intervals.

    Attributes
    ----------
    teacher, student : float
        At least 0, lower is better.
    teacher_interval, student_interval, gain_interval, relative_gain_interval : (float, float)
    chance_fails : float
        That the student is no better than its teacher, in [0, 1].
    """

    teacher_interval: tuple[float, float]
    student_interval: tuple[float, float]
    gain_interval: tuple[float, float]
    relative_gain_interval: tuple[float, float]
    chance_fails: float

    def to_dict(self) -> dict[str, float]:
        """Every estimate with `_low` and `_high`, and the chance."""
        result: dict[str, float] = {}
        for name in ("teacher", "student", "gain", "relative_gain"):
            low, high = getattr(self, f"{name}_interval")
            result |= {name: getattr(self, name), f"{name}_low": low, f"{name}_high": high}
        return result | {"chance_fails": self.chance_fails}

    def __repr__(self) -> str:
        low, high = self.gain_interval
        return (
            f"PredictedRisks(teacher={self.teacher:.4g}, student={self.student:.4g}, "
            f"gain={self.gain:.4g}, {low:.4g} to {high:.4g})"
        )


@dataclass(frozen=True)
class GroupEvidence:
    """A group's geometry, the same with parts of the rows left out, and what turns both into risks.

    Shares are those of the rows at hand, hence known; uncertain is what the features say.

    Attributes
    ----------
    left_out : GroupGeometry of arrays (J,), or None
        None gives NaN intervals.
    eta_l : float
    freedom : int
        Of Student's t.
    """

    geometry: GroupGeometry
    left_out: GroupGeometry | None
    eta_l: float
    freedom: int
    level: float

    def risks(
        self, eta_u: float, eta_t: float, gamma: float, nu: float, noise: float = 1.0
    ) -> PredictedRisks:
        """Risks on a test with share eta_t."""
        setting = eta_u, eta_t, gamma, nu
        left_out = None
        if self.left_out is not None:
            left_out = mixture_risks(self.left_out, self.eta_l, *setting, noise=noise)
        return self._predicted(
            mixture_risks(self.geometry, self.eta_l, *setting, noise=noise), left_out
        )

    def worst(self, eta_u: float, gamma: float, nu: float, noise: float = 1.0) -> PredictedRisks:
        """Risk of either model where it is worst, for each its own worst of group and others."""

        def larger(geometry: GroupGeometry) -> GroupRisks:
            parts = [
                mixture_risks(geometry, self.eta_l, eta_u, eta_t, gamma, nu, noise=noise)
                for eta_t in (0.0, 1.0)
            ]
            teacher, student = (
                np.maximum(*(getattr(part, role) for part in parts))
                for role in ("teacher", "student")
            )
            return GroupRisks(teacher, student)

        left_out = larger(self.left_out) if self.left_out is not None else None
        return self._predicted(larger(self.geometry), left_out)

    def optimum(self, nu: float) -> Estimate:
        """Share in the pool with the lowest risk where both groups count alike.

        The interval spans all shares whose risk the rows cannot tell from the lowest: the paired
        difference's interval reaches 0.
        """
        risk = mixture_risks(self.geometry, self.eta_l, GRID, 0.5, 1.0, nu).student
        best = int(np.argmin(risk))
        if self.left_out is None:
            return Estimate(float(GRID[best]), np.nan, np.nan)
        left_out = self._students(GRID, nu)
        error = jackknife_error(left_out - left_out[:, [best]])
        low, _ = student_interval(risk - risk[best], error, self.freedom, self.level)
        possible = GRID[low <= ROUNDING * risk[best]]
        return Estimate(float(GRID[best]), float(possible[0]), float(possible[-1]))

    def saving(self, eta_u: float, other: float, nu: float) -> Estimate:
        """Part of the student's risk that another share in the pool saves, both groups alike."""
        shares = np.array([eta_u, other])
        now, then = mixture_risks(self.geometry, self.eta_l, shares, 0.5, 1.0, nu).student
        value = float(1 - then / now)
        if self.left_out is None:
            return Estimate(value, np.nan, np.nan)
        left_out = self._students(shares, nu)
        return self._estimate(value, 1 - left_out[:, 1] / left_out[:, 0])

    def shifts(self) -> dict[str, Estimate]:
        """Shift of the mean on either side in standard deviations, and shared dimensions."""
        most = min(self.geometry.d_w, self.geometry.d_s)
        found = {}
        for name, attribute, power, limit in (
            ("shift_teacher", "m_t", 0.5, np.inf),
            ("shift_student", "m_s", 0.5, np.inf),
            ("shared", "shared", 1.0, most),
        ):
            left_out = None
            if self.left_out is not None:
                left_out = getattr(self.left_out, attribute) ** power
            value = float(getattr(self.geometry, attribute) ** power)
            found[name] = self._estimate(value, left_out, 0.0, limit)
        return found

    def _students(self, shares: Any, nu: float) -> Any:
        """Student's risks (J, shares) with each part of the rows left out."""
        columns = self.left_out
        assert columns is not None
        return np.stack(
            [mixture_risks(columns, self.eta_l, share, 0.5, 1.0, nu).student for share in shares],
            axis=1,
        )

    def _estimate(
        self, value: float, left_out: Any, low: float = -np.inf, high: float = np.inf
    ) -> Estimate:
        if left_out is None:
            return Estimate(value, np.nan, np.nan)
        error = jackknife_error(left_out)
        limits = student_interval(value, error, self.freedom, self.level, low, high)
        return Estimate(value, *map(float, limits))

    def _predicted(self, risks: GroupRisks, left_out: GroupRisks | None) -> PredictedRisks:
        intervals = {}
        for name, low in {
            "teacher": 0.0,
            "student": 0.0,
            "gain": -np.inf,
            "relative_gain": -np.inf,
        }.items():
            replicates = None if left_out is None else getattr(left_out, name)
            found = self._estimate(float(getattr(risks, name)), replicates, low)
            intervals[f"{name}_interval"] = found.low, found.high
        error = np.nan if left_out is None else float(jackknife_error(left_out.gain))
        rounding = ROUNDING * float(risks.teacher)
        return PredictedRisks(
            float(risks.teacher),
            float(risks.student),
            chance_fails=chance_below_zero(float(risks.gain), error, self.freedom, rounding),
            **intervals,
        )
